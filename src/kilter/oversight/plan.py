"""Who judges which item with which help: every rater has every arm equally often, and so does every item."""

from __future__ import annotations

import random
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

    Items stand in a random ring, and each rater judges a stretch of it that begins where the one before ended. The arm
    goes round with the item's number in the ring and the rater's: of any A raters in a row who judge an item, each has
    it with another arm, and of any A items in a row of a rater, each comes with another arm.

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
    trials = []
    for rater in range(raters):
        places = [(rater * each + step) % items for step in range(each)]
        shift = rng.randrange(len(arms)) if each < items else rater
        dealt = [(ring[place], arms[(place + shift) % len(arms)]) for place in places]
        rng.shuffle(dealt)
        trials += [Trial(rater, item, arm, number) for number, (item, arm) in enumerate(dealt)]
    return trials
