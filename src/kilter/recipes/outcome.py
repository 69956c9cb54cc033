"""What a blind check came to: how often people would rather have the response of the one model than of the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kilter.stats import win_rate

LEAST = 10
"""Prompts that people must have judged; fewer say nothing of how they would judge others."""


def outcome(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The win rate of the one after with what belongs to it, or why there is none.

    Returns:
        figures and refused by name, wins, ties, losses (of judgments), same (prompts with equal responses), judged
        (prompts), simulated.
    """
    said = [(number, one) for number, line in enumerate(lines) for one in line["said"]]
    same = [number for number, line in enumerate(lines) if not line["asked"]]
    judged = len({number for number, _ in said})
    simulated = any(one["principal"] == "simulated" for _, one in said)
    name = "simulated_check" if simulated else "people"
    counts = {
        word: sum(one["won"] == won for _, one in said) for word, won in (("wins", 1), ("ties", 0.5), ("losses", 0))
    }
    found: dict[str, Any] = {**counts, "same": len(same), "judged": judged, "simulated": simulated}
    found |= {"figures": {}, "refused": {}}
    if judged < LEAST:
        also = f", and to {len(same)} both models wrote the same" if same else ""
        found["refused"][f"{name}_win_rate"] = (
            f"the responses to {judged} prompts were judged{also}; a win rate needs {LEAST} or more."
        )
        return found
    won = [one["won"] for _, one in said]
    clusters, sides = [number for number, _ in said], [one["side"] for _, one in said]
    equal = same * max(Counter(clusters).values())  # each prompt has the same say, however many judge it
    rate = win_rate([*won, *[0.5] * len(equal)], [*clusters, *equal]).rate
    found["figures"][f"{name}_win_rate"] = rate.as_dict()
    effect = win_rate(won, clusters, sides)
    if effect.position_effect is not None:
        found["figures"][f"{name}_position_effect"] = effect.position_effect.as_dict()
    else:
        found["refused"][f"{name}_position_effect"] = effect.position_reason
    return found
