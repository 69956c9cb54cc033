"""Native kernels for the CPU: the small passes between the matrix products, compiled on first use.

`takes` says whether they can compute with given tensors; where it says no, callers compute the same with PyTorch.
"""

from kilter.models.native.calls import (
    attend,
    gated,
    gated_backward,
    gather,
    norm,
    norm_backward,
    rotate,
    scatter,
    softmax,
    softmax_backward,
    takes,
)

__all__ = [
    "attend",
    "gated",
    "gated_backward",
    "gather",
    "norm",
    "norm_backward",
    "rotate",
    "scatter",
    "softmax",
    "softmax_backward",
    "takes",
]
