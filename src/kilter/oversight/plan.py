"""Who judges which item with which help: every rater has every arm equally often, within one, and so has every item."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from kilter.errors import DataError
from kilter.oversight.assistance import Arm


@dataclass(frozen=True)
class Trial:
    """One item judged by one rater; `place` counts from 0 in the rater's session."""

    rater: int
    item: int
    arm: Arm
    place: int


def latin_square(
    raters: int, items: int, arms: Sequence[Arm], *, items_per_rater: int | None = None, seed: int = 0
) -> list[Trial]:
    """Deal items to raters and arms to both, in random order.

    Items stand in a random ring, and each rater judges a stretch of it that begins where the one before ended. No two
    arms differ by more than one in how often a rater has them, nor in how often an item comes with them; so every item
    meets every arm where raters x items per rater are at least items x arms, and cannot where they are fewer.

    Raises:
        DataError: fewer items than arms for a rater, fewer raters than arms, or more items per rater than there are.
    """
    each = items if items_per_rater is None else items_per_rater
    if not len(arms) <= each <= items:
        raise DataError(
            f"A rater judges each of the {len(arms)} arms at least once, so between {len(arms)} and {items} items, not "
            f"{each}. Take more items, or fewer arms."
        )
    if raters < len(arms):
        raise DataError(
            f"With {raters} raters and {len(arms)} arms no item is judged with all of them. Take at least {len(arms)} "
            "raters, or fewer arms."
        )
    rng = random.Random(f"plan/{seed}")
    ring = list(range(items))
    rng.shuffle(ring)
    pairs = [(number // each, number % items) for number in range(raters * each)]  # rater, place in the ring
    wishes = [(number % items + number // items) % len(arms) for number in range(raters * each)]
    dealt = balanced(pairs, wishes, len(arms))
    trials = []
    for rater in range(raters):
        own = slice(rater * each, (rater + 1) * each)
        stretch = [(ring[place], arms[arm]) for (_, place), arm in zip(pairs[own], dealt[own], strict=True)]
        rng.shuffle(stretch)
        trials += [Trial(rater, item, arm, number) for number, (item, arm) in enumerate(stretch)]
    return trials


def balanced(pairs: Sequence[tuple[int, int]], wishes: Sequence[int], arms: int) -> list[int]:
    """An arm for each pair of a rater and an item, so that of each rater and each item no two differ by more than one.

    There always is such a plan: an equitable edge coloring of a bipartite graph (de Werra 1971), found as in the proof
    of Koenig's theorem. The trials of a rater, and those of an item, are taken in groups of as many as there are arms,
    and in a group each arm comes once at most. Where a wish is taken, an arm that is free for the rater and one that is
    free for the item change places along the path of trials that stand in the way.

    Args:
        pairs: each at most once.
        wishes: the arm that each gets if it is free for both.
    """
    had: Counter[tuple[str, int]] = Counter()
    groups: defaultdict[tuple[str, int, int], dict[int, int]] = defaultdict(dict)  # arm -> number of the pair
    ends: list[tuple[dict[int, int], dict[int, int]]] = []
    given: list[int] = []
    for (rater, item), wish in zip(pairs, wishes, strict=True):
        own, its = (groups[(*one, had[one] // arms)] for one in (("rater", rater), ("item", item)))
        had.update([("rater", rater), ("item", item)])
        arm = wish
        if arm in own or arm in its:
            arm, other = (next(one for one in range(arms) if one not in group) for group in (own, its))
            _exchange(its, arm, other, ends, given)
        own[arm] = its[arm] = len(given)
        given.append(arm)
        ends.append((own, its))
    return given


def _exchange(
    group: dict[int, int], arm: int, other: int, ends: Sequence[tuple[dict[int, int], dict[int, int]]], given: list[int]
) -> None:
    """Free `arm` in an item's group that has no `other`, by exchanging both along the path that begins there."""
    path, here, wanted = [], group, arm
    while wanted in here:
        pair = here[wanted]
        path.append(pair)
        here = next(end for end in ends[pair] if end is not here)
        wanted = other if wanted == arm else arm
    for pair in path:
        for end in ends[pair]:
            if end.get(given[pair]) == pair:
                del end[given[pair]]
    for pair in path:
        given[pair] = other if given[pair] == arm else arm
        for end in ends[pair]:
            end[given[pair]] = pair
