"""Generating cases: grow a world, write its encyclopedia, answer a question about one thing, and plant flaws."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.case import Case, Flaw, Split
from kilter.testbeds.facts.answer import Statement, compose, write
from kilter.testbeds.facts.articles import View, cut, full
from kilter.testbeds.facts.claim import Claim, atoms, needed, plain
from kilter.testbeds.facts.grow import grow
from kilter.testbeds.facts.plant import PLANTERS, Draft
from kilter.testbeds.facts.world import World

TYPES = tuple(PLANTERS)
_FEW = 4  # relations of a thing that is worth an answer


def generate(
    n: int,
    seed: int,
    split: Split = "train",
    *,
    articles: int = 32,
    statements: int = 6,
    cut_share: float | None = None,
    difficulty: float = 0.5,
    flawed: float = 0.5,
) -> list[Case]:
    """`n` encyclopedias with a short answer about one of their articles each, the same for the same arguments.

    Args:
        n: how many; a longer list begins with the shorter one of the same seed.
        seed: which.
        split: "train" or "test"; they share no kind of thing, no relation, no name and no wording.
        articles: articles of each encyclopedia, 24 to 2,000.
        statements: of each answer, 3 to 12; fewer where not so much is known.
        cut_share: share of the passages that the judge's view leaves out; from 0.2 to 0.8 with the difficulty if
            not set. `source` is the whole encyclopedia; `judge_view(case)` is the judge's.
        difficulty: from 0 to 1: fewer flaws, more and longer chains of facts, wrong values nearer to the right ones.
        flawed: share of the answers that have flaws.

    Raises `DataError` for a setting out of range.
    """
    _check(n, statements, difficulty=difficulty, flawed=flawed, cut_share=cut_share or 0.0)
    share = 0.2 + 0.6 * difficulty if cut_share is None else cut_share
    cases = []
    for index in range(n):
        rng = random.Random(f"facts/{split}/{seed}/{index}")
        world = grow(articles, rng.getrandbits(32), split)
        told = rng.getrandbits(32)
        views = (full(world, told), cut(world, told, share))
        cases.append(_case(world, views, statements, difficulty, rng.random() < flawed, rng))
    return cases


def _check(n: int, statements: int, **shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise DataError(f"{name} lies between 0 and 1, not at {share}.")
    if n < 0:
        raise DataError(f"The facts testbed cannot generate {n} cases; ask for 0 or more.")
    if not 3 <= statements <= 12:
        raise DataError(f"An answer has 3 to 12 statements, not {statements}; set statements between them.")


def _case(
    world: World, views: tuple[View, View], count: int, difficulty: float, flawed: bool, rng: random.Random
) -> Case:
    subject = rng.choice([name for name in world.things if len(world.known(name)) >= _FEW])
    right = compose(world, subject, count, difficulty, rng)
    draft = Draft(world, list(right), difficulty, rng, {})
    if flawed:
        _spoil(draft)
    correct, _ = write(world, right)
    response, units = write(world, draft.statements)
    return Case(
        testbed="facts",
        structure=world.things[subject].kind,
        split=world.schema.split,
        difficulty=difficulty,
        task=rng.choice(world.schema.wordings["task"]).replace("{s}", subject),
        source=views[0].text,
        response=response,
        flaws=_flaws(draft, right, response, units, views[0]),
        correct=correct,
        units=tuple(units),
        hidden=_hidden(world, views, right, draft.statements),
    )


def _spoil(draft: Draft) -> None:
    """Plant one flaw, or up to three where the case is to be easy."""
    count = 1 + sum(draft.rng.random() < 0.6 * (1 - draft.difficulty) for _ in range(2))
    order = draft.rng.sample(TYPES, len(TYPES))
    order.sort(key=lambda type: type != "swapped_relation" or draft.rng.random() < 0.5)  # few answers allow it
    for type in order:
        count -= PLANTERS[type](draft)
        if count <= 0:
            return


def _flaws(
    draft: Draft, right: Sequence[Statement], response: str, units: Sequence[tuple[int, int]], view: View
) -> tuple[Flaw, ...]:
    """The planted flaws at the characters where their words came to stand."""
    flaws = []
    for number, planted in sorted(draft.planted.items()):
        start, end = units[number]
        at = response.lower().rfind(planted.focus.lower(), start, end) if planted.focus else -1
        if at >= 0:
            start, end = at, at + len(planted.focus)
        facts = [] if planted.type == "unsupported_claim" else needed(draft.world, right[number].claim)
        flaws.append(Flaw(start, end, planted.type, planted.severity, planted.note, view.passages(facts)))
    return tuple(flaws)


def _hidden(
    world: World, views: tuple[View, View], right: Sequence[Statement], said: Sequence[Statement]
) -> dict[str, Any]:
    """The truth behind a case, and what the judge's view leaves out of the source."""
    whole, seen = views
    kept = {one.fact for one in seen.sentences}
    return {
        "facts": {name: dict(facts) for name, facts in world.facts.items()},
        "kinds": {name: thing.kind for name, thing in world.things.items()},
        "sentences": [[one.start, one.end, *one.fact] for one in whole.sentences],
        "cut": [[one.start, one.end] for one in whole.sentences if one.fact not in kept],
        "suffices": [_suffices(world, seen, one.claim) for one in said],
        "claims": [plain(one.claim) for one in said],
        "correct_claims": [plain(one.claim) for one in right],
    }


def _suffices(world: World, view: View, claim: Claim) -> bool:
    """Whether a view is enough to check a claim; that something is not said shows only in a whole article."""
    silent = [one for one in atoms(claim) if world.follow(one.subject, one.path) is None]
    return view.states(needed(world, claim)) and all(one.subject in view.whole for one in silent)


def judge_view(case: Case) -> str:
    """The source of a case as its judge may see it: without the passages in `hidden["cut"]`."""
    text, end = "", 0
    for first, last in [*case.hidden["cut"], [len(case.source), len(case.source)]]:
        text, end = text + case.source[end:first], last
    return re.sub(r" +", " ", re.sub(r" *\n *", "\n", text)).strip()
