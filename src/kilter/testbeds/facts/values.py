"""Wrong values: of the same kind as the right one, as near to it as the difficulty asks, and never absurd."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from kilter.testbeds.facts.world import World


def wrong_value(
    world: World, name: str, path: Sequence[str], difficulty: float, rng: random.Random, taken: Collection[str] = ()
) -> str | None:
    """A value that the end of a path does not have, or None where nothing would do.

    Years keep the order of the years of their thing, so that no wrong one can be told without the encyclopedia;
    things are more often those that are mentioned nearby the more difficult it is to be.

    Args:
        world: where the right value is.
        name, path: what it is the value of.
        difficulty: 0, far from the right one, to 1, near.
        rng: decides.
        taken: values that must not be used.
    """
    at, relation = world.last(name, path)
    right = world.facts[at].get(relation.name)
    if relation.of in ("year", "number"):
        return _number(world, at, relation.name, relation.of == "year", difficulty, rng, taken)
    if relation.of == "word":
        values = list(world.schema.words[relation.rule["words"]])
    else:
        values = world.of_kind(relation.of)
        if rng.random() < difficulty:
            near = {name, *world.facts[at].values(), *world.facts.get(right or "", {}).values()}
            near |= {value for value in values if near & set(world.facts[value].values())}
            values = [value for value in values if value in near] or values
    values = [value for value in values if value not in (right, at, name) and value not in taken]
    return rng.choice(values) if values else None


def _number(
    world: World, at: str, relation: str, year: bool, difficulty: float, rng: random.Random, taken: Collection[str]
) -> str | None:
    facts = world.facts[at]
    if relation not in facts:  # the encyclopedia is silent: any value that another thing has
        others = [world.facts[one].get(relation) for one in world.of_kind(world.things[at].kind)]
        values = [value for value in others if value is not None and value not in taken]
        return rng.choice(values) if values else None
    right = int(facts[relation].replace(",", ""))
    reach = max(3, round((40 if year else 0.6 * right) * (1 - 0.9 * difficulty)))
    low, high = 2, right + reach
    if year:
        years = [int(facts[one.name]) for one in world.known(at) if one.of == "year" and one.name != relation]
        low = max((one for one in years if one <= right), default=0)
        high = min((one for one in years if one >= right), default=9_999)
    values = [
        text
        for value in range(max(low, right - reach), min(high, right + reach) + 1)
        if value != right and (text := str(value) if year else f"{value:,}") not in taken
    ]
    return rng.choice(values) if values else None
