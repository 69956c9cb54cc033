"""Sampling: each prompt read once for its n samples, a static cache, finished rows leave the batch.

Prompts are prefilled as one packed row. Decoding runs all rows in step, one token each, against a cache that is
aligned to the right, so that every row writes the same column. Weights are laid out once for the processor's matrix
kernels (with the adapter merged in), which at small batches is most of the speed. The random numbers of a row
depend on the seed and the row alone: neither the batch it happens to share nor the rows that finish before it
change what it samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kilter.errors import DataError, SettingsError
from kilter.models.attention import DecodeLayout
from kilter.models.draw import Choice, seen_tokens
from kilter.models.language_model import LanguageModel
from kilter.models.pack import Item, pack

OnToken = Callable[[int, int], None]


@dataclass
class Response:
    """One sampled reply.

    Attributes:
        tokens: token ids, the end-of-sequence token included where it was sampled.
        logprobs: log-probability of each token under the model at the sampling temperature, before any truncation
            (top_k, top_p, min_p) or penalty.
        finished: whether it ended by itself, or by a stop string, rather than by running out of tokens.
        text: the tokens as text, special tokens left out, cut before a stop string.
    """

    tokens: list[int]
    logprobs: list[float]
    finished: bool
    text: str


class _Cache:
    """Keys and values of all rows, [B, G, T, D] per layer, the newest token always in column `column`."""

    def __init__(self, gather: Tensor, columns: int) -> None:
        self.gather = gather
        self.columns = columns
        self.column = -1
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store what a layer just computed; return what its new tokens attend to."""
        if self.column < 0:
            self.keys[layer], self.values[layer] = self._spread(key), self._spread(value)
            return key, value
        self.keys[layer][:, :, self.column] = key[:, :, 0]
        self.values[layer][:, :, self.column] = value[:, :, 0]
        used = self.column + 1
        return self.keys[layer][:, :, :used], self.values[layer][:, :, :used]

    def _spread(self, packed: Tensor) -> Tensor:
        """From the packed prompts [1, G, N, D] to one right-aligned row per sample [B, G, T, D]."""
        rows, width = self.gather.shape
        full = packed.new_zeros(rows, packed.shape[1], self.columns, packed.shape[3])
        chosen = packed[0].index_select(1, self.gather.flatten())
        full[:, :, :width] = chosen.view(-1, rows, width, packed.shape[3]).transpose(0, 1)
        return full

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but `rows`."""
        for store in (self.keys, self.values):
            for layer, tensor in store.items():
                store[layer] = tensor.index_select(0, rows)


def sample(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    n: int = 1,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    stop: Sequence[str] = (),
    seed: int = 0,
    max_rows: int = 128,
    on_token: OnToken | None = None,
) -> list[list[Response]]:
    """Sample `n` responses to each prompt with the active adapter.

    Args:
        prompts: token ids of each prompt, as `encode_chat` makes them.
        n: samples per prompt; the prompt is read once for all of them.
        max_new_tokens: a response that has not ended by then is cut off and not `finished`.
        temperature, top_p, top_k, min_p, repetition_penalty: see `Choice`; temperature 0 is greedy.
        stop: a response ends as soon as its text holds one of these.
        seed: with the same model, prompts and seed the result is the same, in any batch size of the same dtype's
            arithmetic.
        max_rows: samples decoded together.
        on_token: called with (row, token) as soon as a token is drawn; row counts prompts x n.

    Returns:
        For each prompt, its n responses.

    Raises:
        SettingsError: a setting is out of range.
        DataError: a prompt is empty, or prompt and response together exceed the model's context.
    """
    choice = Choice(temperature, top_k, top_p, min_p, repetition_penalty)
    _check(lm, prompts, n, max_new_tokens, max_rows, stop)
    uniforms = torch.rand(len(prompts) * n, max_new_tokens, generator=torch.Generator().manual_seed(seed))
    step = max(1, max_rows // n)
    results: list[list[Response]] = []
    with torch.inference_mode(), decoding_weights(lm):
        for first in range(0, len(prompts), step):
            some = prompts[first : first + step]
            rows = slice(first * n, (first + len(some)) * n)
            flat = _decode(lm, some, n, uniforms[rows], choice, tuple(stop), on_token, rows.start)
            results.extend(flat[index : index + n] for index in range(0, len(flat), n))
    return results


def _check(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], n: int, new: int, rows: int, stop: Sequence[str]
) -> None:
    if n < 1 or new < 1 or rows < 1:
        raise SettingsError(
            f"Sampling needs n, max_new_tokens and max_rows of at least 1; given: n={n}, max_new_tokens={new}, "
            f"max_rows={rows}."
        )
    if isinstance(stop, str) or not all(stop):
        raise SettingsError(f"stop must be a list of texts that are not empty, such as ['Human:']; given: {stop!r}.")
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise DataError(f"Prompt {index} is empty; a prompt needs at least one token.")
        if len(prompt) + new > lm.context:
            raise DataError(
                f"Prompt {index} has {len(prompt)} tokens; with {new} new ones that exceeds the model's context of "
                f"{lm.context}. Shorten the prompt or lower max_new_tokens."
            )


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with (a system message, usually); each keeps at least one of its own."""
    first, last = min(prompts, key=list), max(prompts, key=list)
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def _prefill(lm: LanguageModel, prompts: Sequence[Sequence[int]], n: int, steps: int) -> tuple[Tensor, _Cache, Tensor]:
    """Read the prompts as one packed row, what they share once.

    Returns:
        hidden [B, D] of each row's last prompt token, the filled cache, and the padding [B] left of each row.
    """
    device = lm.device
    shared = _common_prefix(prompts)
    packed = pack([Item(prompts[0][:shared], [list(prompt[shared:]) for prompt in prompts])], device)
    width = max(map(len, prompts))
    padding = torch.tensor([width - len(prompt) for prompt in prompts], device=device)
    place = (
        torch.arange(width, device=device) - padding[:, None]
    )  # [P, width] position in the prompt, negative: padding
    own = torch.tensor([segment.start for segment in packed.segments[-len(prompts) :]], device=device)
    gather = torch.where(place < shared, place, own[:, None] + place - shared).clamp_(min=0)
    cache = _Cache(gather.repeat_interleave(n, 0), width + steps)
    out = lm.model.base_model(
        input_ids=packed.tokens[None], position_ids=packed.positions[None], past_key_values=cache, use_cache=True,
        layout=packed.layout(lm.dtype),
    )  # fmt: skip
    last = out.last_hidden_state[0].index_select(0, packed.ends)
    return last.repeat_interleave(n, 0), cache, padding.repeat_interleave(n)


def _decode(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    n: int,
    uniforms: Tensor,
    choice: Choice,
    stop: tuple[str, ...],
    on_token: OnToken | None,
    first_row: int,
) -> list[Response]:
    device, steps = lm.device, uniforms.shape[1]
    hidden, cache, padding = _prefill(lm, prompts, n, steps)
    rows, width = len(prompts) * n, cache.columns - steps
    mask = torch.zeros(rows, 1, cache.columns, dtype=lm.dtype, device=device)
    mask.masked_fill_(torch.arange(cache.columns, device=device) < padding[:, None, None], float("-inf"))
    alive = torch.arange(rows, device=device)
    tokens: list[list[int]] = [[] for _ in range(rows)]
    logprobs: list[list[float]] = [[] for _ in range(rows)]
    done = [False] * rows
    eos = torch.tensor(sorted(lm.eos_ids), device=device)
    head = lm.model.get_output_embeddings()
    seen = seen_tokens(prompts, n, len(lm.head), device) if choice.repetition_penalty != 1 else None
    for step in range(steps):
        chosen, chosen_logprobs = choice.draw(head(hidden).float(), uniforms[alive.cpu(), step].to(device), seen)
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        ended = torch.isin(chosen, eos).tolist()
        for row, token, logprob, end in zip(
            alive.tolist(), chosen.tolist(), chosen_logprobs.tolist(), ended, strict=True
        ):
            if done[row]:
                continue
            tokens[row].append(token)
            logprobs[row].append(logprob)
            done[row] = end or (bool(stop) and _stopped(lm, tokens[row], stop) is not None)
            if on_token is not None:
                on_token(first_row + row, token)
        active = [index for index, row in enumerate(alive.tolist()) if not done[row]]
        if not active or step + 1 == steps:
            break
        if len(active) <= 0.8 * len(alive):  # copying the cache costs about one step; leave when enough can
            keep = torch.tensor(active, device=device)
            cache.keep(keep)
            alive, mask, padding, chosen = (x.index_select(0, keep) for x in (alive, mask, padding, chosen))
            seen = None if seen is None else seen.index_select(0, keep)
        cache.column = width + step
        hidden = lm.model.base_model(
            input_ids=chosen[:, None], position_ids=(cache.column - padding)[:, None], past_key_values=cache,
            use_cache=True, layout=DecodeLayout(mask[:, :, : cache.column + 1]),
        ).last_hidden_state[:, 0]  # fmt: skip
    texts = [lm.decode(one)[: _stopped(lm, one, stop)] for one in tokens]
    return [Response(*parts) for parts in zip(tokens, logprobs, done, texts, strict=True)]


def _stopped(lm: LanguageModel, tokens: Sequence[int], stop: Sequence[str]) -> int | None:
    """Where in the text the first stop string begins, or None."""
    text = lm.decode(tokens) if stop else ""
    return min((place for place in map(text.find, stop) if place >= 0), default=None)


@contextmanager
def decoding_weights(lm: LanguageModel) -> Iterator[None]:
    """Merge the active adapter into the weights and lay them out for small batches; undone on leaving.

    On CPU in bfloat16 a matrix product with few rows spends most of its time rearranging the weight; oneDNN's own
    layout, made once, removes that (1.5 to 2 times faster at 1 to 32 rows).
    """
    from kilter.models.lora import LoraLinear

    merged = lm.adapters.merged_weights()
    reorder = lm.device.type == "cpu" and lm.dtype == torch.bfloat16 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    changed: list[nn.Module] = []
    try:
        for module in lm.model.modules():
            if isinstance(module, LoraLinear) or (type(module) is nn.Linear and module.bias is None):
                weight = merged.get(module, module.weight.detach())
                module.forward = _prepared(weight, module.bias, reorder)  # type: ignore[method-assign, assignment]
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def _prepared(weight: Tensor, bias: Tensor | None, reorder: bool) -> Callable[[Tensor], Tensor]:
    if not reorder or bias is not None:
        return lambda x: nn.functional.linear(x, weight, bias)
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, 32)
    product = torch.ops.mkldnn._linear_pointwise
    return lambda x: product(x, laid_out, None, "none", [], "")
