"""Sampling: each prompt read once for its n samples, all rows in step, finished rows leave the batch.

Prompts of like length are read together as one packed row (`cache.py`), by a trunk that has the adapter merged in and
its weights laid out for the processor (`trunk.py`). The random numbers of a row depend on the seed and the row alone:
neither the batch it happens to share nor the rows that finish before it change what it samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kilter.errors import DataError, SettingsError
from kilter.models.cache import Bunch, Cache, bunches
from kilter.models.draw import Choice, seen_tokens
from kilter.models.language_model import LanguageModel
from kilter.models.trunk import Trunk, reading

OnToken = Callable[[int, int], None]
MAX_ROWS = 128
"""Samples decoded together, unless `sample` is told otherwise."""


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
    numbers: Sequence[int] | None = None,
    max_rows: int = MAX_ROWS,
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
        numbers: of each prompt in a longer list of which these are a part: it samples with the same random numbers
            there, and where the part is made of whole `batches`, the same responses to the last bit.
        max_rows: samples decoded together.
        on_token: called with (row, token) as soon as a token is drawn; row counts prompts x n.

    Returns:
        For each prompt, its n responses.

    Raises:
        SettingsError: a setting is out of range.
        DataError: a prompt is empty, or prompt and response together exceed the model's context.
    """
    choice = Choice(temperature, top_k, top_p, min_p, repetition_penalty)
    numbers = range(len(prompts)) if numbers is None else numbers
    _check(lm, prompts, n, max_new_tokens, max_rows, numbers, stop)
    # A row's numbers are at its own place of the seed's stream, so that a part takes the same ones as the whole.
    rows_before = (max(numbers, default=-1) + 1) * n
    stream = torch.rand(rows_before, max_new_tokens, generator=torch.Generator().manual_seed(seed))
    uniforms = stream.view(-1, n, max_new_tokens)[list(numbers)].flatten(0, 1)
    responses: list[Response] = []
    with reading(lm) as trunk:
        for batch in _batches(len(prompts), n, max_rows):
            rows = _Rows(batch, lm, stop, on_token)
            some = prompts[batch[0] // n : batch[-1] // n + 1]
            _decode(trunk, lm, some, rows, uniforms[batch.start : batch.stop], choice)
            responses += [rows.response(row) for row in batch]
    return [responses[first : first + n] for first in range(0, len(responses), n)]


def batches(prompts: int, n: int, max_rows: int = MAX_ROWS) -> list[range]:
    """Which of `prompts` prompts `sample` decodes together with `n` samples each; the parts it may be cut into."""
    found: list[range] = []
    for rows in _batches(prompts, n, max_rows):
        some = range(rows[0] // n, rows[-1] // n + 1)
        if not found or found[-1] != some:  # a prompt with more samples than `max_rows` has several batches
            found.append(some)
    return found


def _check(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    n: int,
    new: int,
    rows: int,
    numbers: Sequence[int],
    stop: Sequence[str],
) -> None:
    if n < 1 or new < 1 or rows < 1:
        raise SettingsError(
            f"Sampling needs n, max_new_tokens and max_rows of at least 1; given: n={n}, max_new_tokens={new}, "
            f"max_rows={rows}."
        )
    if len(numbers) != len(prompts) or min(numbers, default=0) < 0:
        raise SettingsError(f"{len(prompts)} prompts need as many numbers, of at least 0; given: {list(numbers)[:5]}.")
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


def _batches(prompts: int, n: int, max_rows: int) -> Iterator[range]:
    """Rows that are decoded together: whole prompts, or parts of one whose samples are too many."""
    step = n * (max_rows // n) or max_rows
    for first in range(0, prompts * n, step if n <= max_rows else n):
        if n <= max_rows:
            yield range(first, min(first + step, prompts * n))
        else:
            yield from (range(row, min(row + max_rows, first + n)) for row in range(first, first + n, max_rows))


def _read(trunk: Trunk, lm: LanguageModel, part: Bunch) -> Tensor:
    """Read a bunch's prompts into it; the hidden state [B, D] that each row is continued from."""
    packed = part.packed(lm.device)
    hidden = trunk.hidden(packed.tokens, packed.positions, part.reading(packed, lm.dtype))
    last = hidden.index_select(0, packed.ends)
    return last.repeat_interleave(part.n, 0)


class _Rows:
    """What has been drawn for the rows of a batch, in the order in which they lie in the cache."""

    def __init__(
        self, numbers: Sequence[int], lm: LanguageModel, stop: Sequence[str], on_token: OnToken | None
    ) -> None:
        self.alive = list(numbers)
        self.tokens: dict[int, list[int]] = {row: [] for row in numbers}
        self.logprobs: dict[int, list[float]] = {row: [] for row in numbers}
        self.done = dict.fromkeys(numbers, False)
        self._lm, self._stop, self._on_token = lm, stop, on_token

    def add(self, tokens: Sequence[int], logprobs: Sequence[float]) -> list[int]:
        """Note one drawn token per row that is alive; returns the places of those that go on."""
        for row, token, logprob in sorted(zip(self.alive, tokens, logprobs, strict=True)):
            if self.done[row]:
                continue
            self.tokens[row].append(token)
            self.logprobs[row].append(logprob)
            stopped = bool(self._stop) and _stopped(self._lm, self.tokens[row], self._stop) is not None
            self.done[row] = stopped or token in self._lm.eos_ids
            if self._on_token is not None:
                self._on_token(row, token)
        return [place for place, row in enumerate(self.alive) if not self.done[row]]

    def response(self, row: int) -> Response:
        tokens = self.tokens[row]
        text = self._lm.decode(tokens)[: _stopped(self._lm, tokens, self._stop)]
        return Response(tokens, self.logprobs[row], self.done[row], text)


def _decode(
    trunk: Trunk, lm: LanguageModel, prompts: Sequence[Sequence[int]], rows: _Rows, uniforms: Tensor, choice: Choice
) -> None:
    """Draw `rows`, which are n of each of `prompts` in order, until all have ended or `uniforms` [B, steps] run out."""
    steps, n, numbers = uniforms.shape[1], len(rows.alive) // len(prompts), rows.alive
    groups = bunches([len(prompt) for prompt in prompts])
    cache = Cache([Bunch([prompts[index] for index in group], n) for group in groups])
    hidden = torch.cat([_read(trunk, lm, part) for part in cache.parts])
    order = torch.tensor([index * n + sample for group in groups for index in group for sample in range(n)])
    rows.alive, uniforms = [numbers[place] for place in order.tolist()], uniforms[order].to(lm.device)
    seen = seen_tokens(prompts, n, len(lm.head), lm.device)[order] if choice.repetition_penalty != 1 else None
    for step in range(steps):
        chosen, logprobs = choice.draw(trunk.logits(hidden), uniforms[:, step], seen)
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        active = rows.add(chosen.tolist(), logprobs.tolist())
        if not active or step + 1 == steps:
            break
        if len(active) <= 0.8 * len(rows.alive):  # copying the cache costs about one step; leave when enough can
            cache.keep(active)
            rows.alive = [rows.alive[place] for place in active]
            keep = torch.tensor(active, device=lm.device)
            chosen, uniforms = chosen.index_select(0, keep), uniforms.index_select(0, keep)
            seen = None if seen is None else seen.index_select(0, keep)
        cache.advance()
        hidden = trunk.hidden(chosen, cache.positions(lm.device), cache)


def _stopped(lm: LanguageModel, tokens: Sequence[int], stop: Sequence[str]) -> int | None:
    """Where in the text the first stop string begins, or None."""
    text = lm.decode(tokens) if stop else ""
    return min((place for place in map(text.find, stop) if place >= 0), default=None)
