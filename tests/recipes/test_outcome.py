"""What a blind check comes to, from planted judgments."""

from __future__ import annotations

from typing import Any

import pytest

from kilter.recipes.outcome import LEAST, outcome


def line(*won: float, side: int = 0, principal: str = "human") -> dict[str, Any]:
    """A row of a check; none won: nobody was asked, or nobody said anything."""
    said = [{"won": one, "side": (side + number) % 2, "principal": principal} for number, one in enumerate(won)]
    return {"asked": True, "said": said}


SAME = {"asked": False, "said": []}


def test_wins_ties_and_losses_make_the_rate() -> None:
    lines = [line([1, 1, 0.5, 0][number % 4], side=number // 4 % 2) for number in range(16)]
    found = outcome(lines)
    rate = found["figures"]["people_win_rate"]
    assert (found["wins"], found["ties"], found["losses"], found["judged"]) == (8, 4, 4, 16)
    assert rate["value"] == pytest.approx(0.625)
    assert rate["low"] < 0.625 < rate["high"]
    assert rate["n"] == 16
    assert found["figures"]["people_position_effect"]["value"] == pytest.approx(0)
    assert not found["refused"]
    assert not found["simulated"]


def test_equal_responses_are_ties_that_nobody_was_asked_about() -> None:
    lines = [line(1, side=number % 2) for number in range(10)] + [SAME] * 10
    found = outcome(lines)
    assert found["same"] == 10
    assert found["ties"] == 0
    assert found["figures"]["people_win_rate"]["value"] == pytest.approx(0.75)
    assert found["figures"]["people_win_rate"]["n"] == 20


def test_each_prompt_has_the_same_say_however_many_judge_it() -> None:
    lines = [line(1, 1) for _ in range(10)] + [SAME] * 10
    assert outcome(lines)["figures"]["people_win_rate"]["value"] == pytest.approx(0.75)


def test_judgments_of_one_prompt_belong_together() -> None:
    alone = outcome([line(float(number % 3 > 0), side=number % 2) for number in range(36)])
    together = outcome([line(*[float(number % 3 > 0)] * 3, side=number % 2) for number in range(12)])
    widths = [one["figures"]["people_win_rate"]["high"] - one["figures"]["people_win_rate"]["low"]
              for one in (alone, together)]  # fmt: skip
    assert widths[1] > 1.3 * widths[0]


@pytest.mark.parametrize(("judged", "same"), [(0, 20), (LEAST - 1, 11), (0, 0)])
def test_too_few_are_refused_with_the_reason(judged: int, same: int) -> None:
    found = outcome([line(1, side=number % 2) for number in range(judged)] + [SAME] * same)
    assert not found["figures"]
    reason = found["refused"]["people_win_rate"]
    assert f"{judged} prompts were judged" in reason
    assert (f"{same} both models wrote the same" in reason) == (same > 0)


def test_skipped_prompts_do_not_count() -> None:
    lines = [line(1, side=number % 2) for number in range(12)] + [line()] * 3
    assert outcome(lines)["figures"]["people_win_rate"]["n"] == 12


def test_a_position_effect_that_cannot_be_had_says_why() -> None:
    found = outcome([line(number % 2) for number in range(12)])
    assert "same side" in found["refused"]["people_position_effect"]


def test_who_is_simulated_is_called_so() -> None:
    found = outcome([line(1, side=number % 2, principal="simulated") for number in range(12)])
    assert found["simulated"]
    assert "simulated_check_win_rate" in found["figures"]
    assert not any(name.startswith("people") for name in found["figures"])
