"""Generating cases: grow a world, tell it, summarize it, and plant flaws in the summary."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import ceil
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.case import Case, Split
from kilter.testbeds.stories.fill import Memory, fill
from kilter.testbeds.stories.grow import grow
from kilter.testbeds.stories.lexicon import Lexicon, lexicon
from kilter.testbeds.stories.plant import PLANTERS, Draft, begin, placed
from kilter.testbeds.stories.summary import Unit, Written, compose, main_points, write
from kilter.testbeds.stories.tell import Telling, tell
from kilter.testbeds.stories.world import World

TYPES = tuple(PLANTERS)
_LENGTHS = (200, 20_000)  # words of a story
_PER_PLOT = {"train": 272, "test": 238}  # words of a plot in a story of middle fullness
_TRIES = 12
_CLOSE = 0.06  # how far from the length asked for is close enough to stop trying


def generate(
    n: int,
    seed: int,
    split: Split = "train",
    *,
    words: int | None = None,
    summary_words: int | None = None,
    difficulty: float = 0.5,
    flawed: float = 0.5,
) -> list[Case]:
    """`n` stories with a summary each, the same for the same arguments on every machine.

    Args:
        n: how many; a longer list begins with the shorter one of the same seed.
        seed: which.
        split: "train" or "test"; they share no plot, no name and no wording.
        words: length of the stories, 200 to 20,000; by default it grows with the difficulty, from 200 to 20,000.
        summary_words: length of the summaries; by default it grows with the story's, from 80 to 400. A summary is
            longer where its main points need it.
        difficulty: from 0 to 1: fewer flaws, replaced values nearer to the right ones, more time left relative.
        flawed: share of the summaries that have flaws.

    Raises `DataError` for a length, difficulty or share out of range.
    """
    for name, share in (("difficulty", difficulty), ("flawed", flawed)):
        if not 0 <= share <= 1:
            raise DataError(f"{name} lies between 0 and 1, not at {share}.")
    words = round(200 * 100**difficulty) if words is None else words
    _check(n, words, summary_words)
    wanted = summary_words or round(80 * (words / 200) ** 0.35)
    cases = []
    for index in range(n):
        rng = random.Random(f"stories/{split}/{seed}/{index}")
        story = _story(lexicon(split), words, wanted, difficulty, rng)
        cases.append(_case(story, split, wanted, difficulty, rng.random() < flawed, rng))
    return cases


def _check(n: int, words: int, summary_words: int | None) -> None:
    if n < 0:
        raise DataError(f"The stories testbed cannot generate {n} stories; ask for 0 or more.")
    if not _LENGTHS[0] <= words <= _LENGTHS[1]:
        raise DataError(
            f"Stories have {_LENGTHS[0]:,} to {_LENGTHS[1]:,} words, not {words:,}; set words between them."
        )
    if summary_words is not None and not 30 <= summary_words <= words:
        raise DataError(
            f"A summary of {summary_words:,} words of a story of {words:,} cannot be written; take 30 words or more, "
            "and no more than the story has."
        )


@dataclass(frozen=True)
class _Story:
    """A world with its text and the units of its correct summary."""

    world: World
    telling: Telling
    units: list[Unit]


def _story(words: Lexicon, length: int, wanted: int, difficulty: float, rng: random.Random) -> _Story:
    """Of a few stories the one whose length is nearest to the one asked for."""
    plots = max(1, round(length / _PER_PLOT[words.split]))
    best: _Story | None = None
    for _ in range(_TRIES):
        world = grow(words, plots, rng, lean=length < 230)
        telling = _tell_in(world, length, 0.1 + 0.6 * difficulty, rng.getrandbits(32))
        units = compose(world, wanted, rng)
        if units is None:
            continue
        if best is None or abs(telling.words - length) < abs(best.telling.words - length):
            best = _Story(world, telling, units)
        if abs(best.telling.words - length) <= _CLOSE * length:
            break
        plots = max(1, round(plots * length / telling.words))
    if best is None:
        raise DataError("The stories testbed grew no story that can be summarized; take another seed.")
    return best


def _tell_in(world: World, length: int, relative: float, seed: int) -> Telling:
    """The story told with as many of its optional sentences as the length allows."""
    ends = [tell(world, fullness, relative, seed) for fullness in (0.0, 1.0)]
    if not ends[0].words < length < ends[1].words:
        return ends[0] if length <= ends[0].words else ends[1]
    share = (length - ends[0].words) / (ends[1].words - ends[0].words)
    between = tell(world, share, relative, seed)
    return min([*ends, between], key=lambda telling: abs(telling.words - length))


def _case(story: _Story, split: Split, wanted: int, difficulty: float, flawed: bool, rng: random.Random) -> Case:
    world, telling = story.world, story.telling
    correct, right = write(world, story.units)
    draft = begin(world, telling, story.units, difficulty, rng)
    if flawed:
        _spoil(draft, rng)
    response, written = write(world, draft.units)
    flaws = [placed(slot, one) for slot, one in zip(draft.slots, written, strict=True)]
    task = rng.choice(world.words.wordings["task"])
    return Case(
        testbed="stories",
        structure=world.plots[0].schema.name,
        split=split,
        difficulty=difficulty,
        task=fill(task, [{"count": str(10 * ceil(wanted / 10))}], Memory("note"))[0],
        source=telling.text,
        response=response,
        flaws=tuple(flaw for flaw in flaws if flaw is not None),
        correct=correct,
        units=tuple((one.start, one.end) for one in written),
        hidden=_hidden(story, right, written),
    )


def _spoil(draft: Draft, rng: random.Random) -> None:
    """Plant one flaw, or up to three where the case is to be easy."""
    count = 1 + sum(rng.random() < 0.6 * (1 - draft.difficulty) for _ in range(2))
    for type in rng.sample(TYPES, len(TYPES)):
        count -= PLANTERS[type](draft)
        if count <= 0:
            return


def _hidden(story: _Story, right: list[Written], written: list[Written]) -> dict[str, Any]:
    """The truth behind a case: facts, what each sentence states, and what each unit claims."""
    return {
        "facts": story.world.facts(),
        "main": main_points(story.world),
        "chief": story.world.chief().id,
        "sentences": [[one.start, one.end, list(one.events)] for one in story.telling.sentences],
        "claims": [[list(claim) for claim in one.claims] for one in written],
        "correct_claims": [[list(claim) for claim in one.claims] for one in right],
    }
