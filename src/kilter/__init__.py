"""Kilter: a workbench for aligning language models, on one record."""

import os

__version__ = "0.1.0"

# torch reads this at its first allocation: large tensors then lie in huge pages where the kernel leaves that to the
# program, which makes training on a CPU a tenth faster. Elsewhere it does nothing.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
