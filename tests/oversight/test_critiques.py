"""Critics that are models, rewards for them, and critiques of critiques."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_cases import WIDTH, made_case
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from kilter.errors import DataError, ModelError
from kilter.models import LanguageModel, load
from kilter.models.chat import ChatModel
from kilter.oversight import ProgramCritic, PromptedCritic, oracle
from kilter.oversight.assistance import NOTHING, Assistance, claim_at, misleading
from kilter.oversight.critics import gdc, surprise_critic
from kilter.oversight.critics.critique_cases import after_critique, critique_case, is_true, looked_over
from kilter.oversight.critics.critique_rewards import UNREADABLE, GainReward, TruthReward
from kilter.oversight.critics.gdc import gdc_by_model, gdc_gap
from kilter.oversight.critics.passage_critic import PassageCritic, demonstrations, question
from kilter.oversight.critics.quality import critic_quality, flawed_units
from kilter.oversight.critics.several import agreed, best_of, surest
from kilter.oversight.critics.surprise_critic import Curve, SurpriseCritic, fit_curve
from kilter.oversight.critics.training import train_surprise_critic
from kilter.oversight.critics.written_critic import claims_of
from kilter.oversight.prompted import NEXT_SEED, Problem
from kilter.oversight.prompted import question as prompted_question
from kilter.oversight.simulated_rater import RaterSettings
from kilter.testbeds import TESTBEDS, Case, generate
from kilter.training import SFTSettings, train_sft
from kilter.training.rewards import content_of

CASES = [made_case(number, wrong=(number % 4, number % 4 + 3), units=8) for number in range(6)]
HELD_OUT = [made_case(1000 + number, wrong=(number % 8, (number + 5) % 8)) for number in range(24)]
TYPES = ("even", "odd")


def test_every_passage_is_a_demonstration_of_one_reading(tiny_lm: Callable[..., LanguageModel]) -> None:
    lm = tiny_lm()
    items = demonstrations(lm, CASES)
    for case, item in zip(CASES, items, strict=True):
        assert lm.decode(item.prompt).count(question(case)) == 1
        said = [lm.decode(one) for one in item.responses]
        assert len(said) == 8
        wrong = {unit for flaw in case.flaws for unit in case.units_of(flaw)}
        assert {number for number, text in enumerate(said) if "Wrong:" in text} == wrong
        assert item.learn is not None
        passages = [case.response[slice(*unit)] for unit in case.units]
        for one, text, learn, passage in zip(item.responses, said, item.learn, passages, strict=True):
            learned = lm.decode([token for token, is_learned in zip(one, learn, strict=True) if is_learned])
            assert text.startswith(f"{passage}\n")
            assert learned.startswith(("Right.", "Wrong:"))
    flaw = CASES[0].flaws[0]
    assert f"{flaw.type}. {flaw.note}" in lm.decode(items[0].responses[0])


def test_a_model_gives_each_passage_a_chance_and_the_threshold_decides(tiny_lm: Callable[..., LanguageModel]) -> None:
    critic = PassageCritic(tiny_lm(), threshold=0.0, most=2, max_new_tokens=5)
    chances = critic.probabilities(CASES)
    assert all(len(each) == 8 and all(0 < one < 1 for one in each) for each in chances)
    said = critic.criticize_all(CASES, 0)
    for case, each, one in zip(CASES, chances, said, strict=True):
        named = sorted(range(8), key=lambda unit: -each[unit])[:2]
        assert [(claim.start // WIDTH, claim.probability) for claim in one.claims] == [
            (unit, each[unit]) for unit in named
        ]
        assert all(claim.applies_to(case.response) for claim in one.claims)
    critic.threshold = 1.0
    assert [one.claims for one in critic.criticize_all(CASES, 0)] == [()] * 6


def test_the_gap_of_a_random_model_has_three_shares(tiny_lm: Callable[..., LanguageModel]) -> None:
    found = gdc_gap(tiny_lm(), CASES)
    for one in (found.generator, found.discriminator, found.critic):
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert one.n == 6
    assert found.dc.value == pytest.approx(found.critic.value - found.discriminator.value)
    with pytest.raises(DataError, match="there are none"):
        gdc_gap(tiny_lm(), [made_case(wrong=())])


def test_a_trained_critic_beats_chance_on_cases_it_has_not_seen(
    tiny_lm: Callable[..., LanguageModel], tmp_path: Path
) -> None:
    lm = tiny_lm()
    before = critic_quality(PassageCritic(lm), HELD_OUT)
    assert before.chance.value == pytest.approx(0.25)
    assert before.gain.value == pytest.approx(before.named.value - 0.25)
    cases = [made_case(number, wrong=(number % 8, (number + 3) % 8)) for number in range(64)]
    settings = SFTSettings(lr=3e-3, epochs=6, batch_size=8, lora=None)
    train_sft(lm, demonstrations(lm, cases, notes=False), settings, tmp_path)
    after = critic_quality(PassageCritic(lm), HELD_OUT)
    assert after.gain.low > 0.3
    assert after.ranked.value > 0.9
    with pytest.raises(DataError, match="there are none"):
        critic_quality(PassageCritic(lm), [made_case(wrong=())])


def test_a_critic_that_learned_what_is_right_is_surprised_by_what_is_wrong(
    tiny_lm: Callable[..., LanguageModel], tmp_path: Path
) -> None:
    lm = tiny_lm()
    cases = [made_case(number, wrong=(number % 8, (number + 3) % 8)) for number in range(80)]
    settings = SFTSettings(lr=3e-3, epochs=6, batch_size=8, lora=None)
    critic, result = train_surprise_critic(lm, cases, settings, tmp_path, heldout=HELD_OUT)
    assert result["heldout_loss_after"] < result["heldout_loss_before"]
    assert result["slope"] > 0
    quality = critic_quality(critic, HELD_OUT)
    assert quality.gain.low > 0.3
    assert quality.ranked.value > 0.9
    critic.threshold = 0.0
    for case, one in zip(HELD_OUT, critic.criticize_all(HELD_OUT), strict=True):
        assert len(one.claims) == 3
        assert all(claim.applies_to(case.response) for claim in one.claims)
        quoted = one.claims[0].text.split("'")[1]
        assert quoted in case.response
    again = SurpriseCritic.open(tmp_path / "model")
    # it is read in the processor's own precision, and was trained in float32
    assert critic_quality(again, HELD_OUT).ranked.value == pytest.approx(quality.ranked.value, abs=0.05)


def test_a_critic_of_surprise_needs_a_curve_and_both_kinds_of_passages(
    tiny_lm: Callable[..., LanguageModel], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="holds no critic"):
        SurpriseCritic.open(tmp_path)
    (tmp_path / "critic.json").write_text('{"slope": 1}')
    with pytest.raises(ModelError, match="damaged"):
        SurpriseCritic.open(tmp_path)
    with pytest.raises(DataError, match="one kind is missing"):
        fit_curve(tiny_lm(), [made_case(wrong=())])
    with pytest.raises(DataError, match="one kind is missing"):
        train_surprise_critic(tiny_lm(), [made_case(wrong=()), *CASES[1:]][:5], SFTSettings(), tmp_path)
    assert not (tmp_path / "model").exists()
    with pytest.raises(DataError, match="there are 3"):
        train_surprise_critic(tiny_lm(), CASES[:3], SFTSettings(), tmp_path)


def test_the_curve_is_that_of_most_likelihood(
    tiny_lm: Callable[..., LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    wrong = [[unit in flawed_units(case) for unit in range(8)] for case in HELD_OUT]
    surprise = [[float(rng.normal(2.5 + one, 0.8)) for one in each] for each in wrong]
    given = [[torch.full((3,), one) for one in each] for each in surprise]
    monkeypatch.setattr(surprise_critic, "_surprises", lambda lm, cases: given)
    curve = fit_curve(tiny_lm(), HELD_OUT)
    known = LogisticRegression(C=1e4).fit(np.concatenate(surprise)[:, None], np.concatenate(wrong))
    assert curve.slope == pytest.approx(known.coef_[0, 0], rel=0.01)
    assert curve.intercept == pytest.approx(known.intercept_[0], rel=0.01)
    assert curve(-curve.intercept / curve.slope) == pytest.approx(0.5)


def test_a_case_that_is_too_long_for_the_model_is_said(tiny_lm: Callable[..., LanguageModel]) -> None:
    long = [made_case(units=60)]
    for critic in (PassageCritic(tiny_lm()), SurpriseCritic(tiny_lm(), Curve(1.0, 0.0))):
        with pytest.raises(DataError, match="more than the 512"):
            critic.probabilities(long)


def lines(*units: int) -> str:
    return "\n".join(f"{unit + 1} | {'odd' if unit % 2 else 'even'} | because" for unit in units) or "none"


def test_the_truth_pays_for_flaws_and_charges_for_inventions() -> None:
    reward = TruthReward(CASES, false_cost=0.25)
    assert reward.prompts == [prompted_question(case, TYPES) for case in CASES]
    said = [lines(1, 4), lines(1, 2), lines(), "Well."]
    assert reward([reward.prompts[1]] * 4, said) == [2.0, 0.75, 0.0, UNREADABLE]
    with pytest.raises(DataError, match="no case has one"):
        TruthReward([made_case(wrong=())])


def test_the_judges_gain_is_more_from_true_critiques_than_from_false_ones() -> None:
    reward = GainReward(CASES, RaterSettings(sees=0.4, trust=0.5), times=40)
    true, none, false = reward([reward.prompts[1]] * 3, [lines(1, 4), lines(), lines(0, 2, 3)])
    assert true > 0.3
    assert none == 0
    assert false < 0


def test_another_reward_makes_another_run() -> None:
    judge = RaterSettings(sees=0.4)
    rewards: list[TruthReward | GainReward] = [
        TruthReward(CASES), TruthReward(CASES, 1.0), TruthReward(CASES[1:]), GainReward(CASES, judge),
        GainReward(CASES[1:], judge), GainReward(CASES, RaterSettings(sees=0.5)), GainReward(CASES, judge, 9),
    ]  # fmt: skip
    contents = [content_of(one) for one in rewards]
    assert len({json.dumps(one) for one in contents}) == len(contents)
    assert content_of(TruthReward(list(CASES))) == contents[0]
    assert content_of(GainReward(CASES, RaterSettings(sees=0.4))) == contents[3]


def test_a_critique_is_a_case_whose_false_claims_are_flaws() -> None:
    case = CASES[1]
    bad = critique_case(case, misleading(case, 0))
    assert len(bad.flaws) == len(bad.units) == len(misleading(case, 0).claims)
    good = critique_case(case, oracle(case))
    assert not good.flaws
    assert good.correct == good.response
    assert [good.response[slice(*unit)] for unit in good.units] == good.response.split("\n")


def test_a_critique_of_a_critique_takes_the_false_claims_out() -> None:
    case = CASES[1]
    mixed = Assistance("critiques", "mixed", (*oracle(case).claims, *misleading(case, 0).claims))
    second = ProgramCritic(1.0, 0.0).criticize(critique_case(case, mixed), 0)
    left = after_critique(mixed, second)
    assert left.claims == oracle(case).claims
    assert all(is_true(case, one) for one in left.claims)
    assert after_critique(mixed, NOTHING).claims == mixed.claims


def test_critiques_go_to_depth_two() -> None:
    first = critique_case(CASES[1], misleading(CASES[1], 0))
    second = critique_case(first, ProgramCritic(1.0, 0.0).criticize(first, 0))
    assert not second.flaws
    with pytest.raises(DataError, match="depth 2"):
        critique_case(second, ProgramCritic(0.0, 3.0).criticize(second, 0))
    with pytest.raises(DataError, match="no claims"):
        critique_case(first, NOTHING)


def test_the_best_of_n_is_the_surest() -> None:
    unsure, sure = (
        Assistance("critiques", name, tuple(replace(one, probability=chance) for one in oracle(CASES[0]).claims))
        for name, chance in (("unsure", 0.3), ("sure", 0.9))
    )
    assert surest([unsure, sure, NOTHING]) is sure
    assert surest([unsure, NOTHING]) is NOTHING


def test_a_claim_that_is_surely_false_weighs_against_a_critique() -> None:
    first, second = oracle(CASES[0]).claims
    torn = Assistance("critiques", "torn", (replace(first, probability=0.0), replace(second, probability=0.6)))
    assert surest([torn, NOTHING]) is NOTHING


def told(*units: int) -> Assistance:
    problems = [Problem(unit, "odd", "because") for unit in units]
    return Assistance("critiques", "written", claims_of(CASES[0], problems))


def test_of_critiques_that_do_not_say_how_sure_they_are_the_one_that_others_agree_with_is_taken() -> None:
    assert surest([told(2, 3), told(1), told(5), told(1)]) == told(1)
    assert surest([told(1, 2, 3), told(1, 2), told(1, 2, 5)]) == told(1, 2)


def test_the_best_of_n_draws_by_n_seeds_and_chooses_case_by_case() -> None:
    said = {3: [told(1), told()], 3 + NEXT_SEED: [told(2), told(4)], 3 + 2 * NEXT_SEED: [told(1), told(4)]}
    asked: list[int] = []

    def criticize_all(cases: Sequence[Case], seed: int) -> list[Assistance]:
        asked.append(seed)
        return said[seed]

    assert best_of(criticize_all, CASES[:2], 3, seed=3) == [told(1), told(4)]
    assert asked == list(said)
    with pytest.raises(DataError, match="ask for 1 or more"):
        best_of(criticize_all, CASES[:2], 0)


def test_claims_that_enough_critiques_make_are_told_with_how_many_do() -> None:
    mumbled = Assistance("critiques", "written", readable=False, said="Hm.")
    several = [told(2), mumbled, told(1, 2), told(1, 2), told(3, 2)]
    assert [units_of(agreed(several, least)) for least in (1.0, 0.5, 0.25)] == [[2], [2, 1], [2, 1, 3]]
    assert [one.probability for one in agreed(several, 0.25).claims] == [1.0, 0.5, 0.25]
    assert agreed([mumbled, mumbled], 0.5) is not None
    assert not agreed([mumbled, mumbled], 0.5).readable
    assert surest([mumbled, told(1)]) == told(1)


def units_of(one: Assistance) -> list[int]:
    return [claim.start // WIDTH for claim in one.claims]


def test_critiques_are_looked_over_and_so_are_the_looks() -> None:
    case = CASES[1]
    mixed = Assistance("critiques", "mixed", (*oracle(case).claims, *misleading(case, 0).claims))

    def calls_all_false(cases: Sequence[Case], seed: int) -> list[Assistance]:
        return [Assistance("critiques", "all", tuple(claim_at(one, *unit, "wrong", "No.", None) for unit in one.units))
                for one in cases]  # fmt: skip

    def knows(cases: Sequence[Case], seed: int) -> list[Assistance]:
        return [ProgramCritic(1.0, 0.0).criticize(one, seed) for one in cases]

    def hasty(cases: Sequence[Case], seed: int) -> list[Assistance]:
        first_look = cases[0].hidden["critique_depth"] == 1
        return (calls_all_false if first_look else knows)(cases, seed)

    cases, made = [CASES[0], case], [NOTHING, mixed]
    assert looked_over(hasty, cases, made, 0) == made
    assert looked_over(knows, cases, made, 1)[1].claims == oracle(case).claims
    assert not looked_over(hasty, cases, made, 1)[1].claims
    assert looked_over(hasty, cases, made, 2)[1].claims == oracle(case).claims
    assert looked_over(hasty, cases, made, 2)[0] is NOTHING


def test_a_prompted_critic_of_a_temperature_draws_other_critiques_by_other_seeds(pretend: Callable[..., str]) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, {"data": [{"id": "m"}]}
        bodies.append(body)
        return 200, {"choices": [{"message": {"content": lines(1 if body["seed"] else 3)}}]}

    chat = ChatModel(pretend(answer), temperature=0.8)
    best = best_of(PromptedCritic(chat, TYPES).criticize_all, CASES[:1], 3)
    chat.answer("Well?", 0, temperature=0.0)
    chat.close()
    drawn = [(number * NEXT_SEED, 0.8) for number in range(3)]
    assert [(one["seed"], one["temperature"]) for one in bodies] == [*drawn, (0, 0.0)]
    assert [claim.start // WIDTH for claim in best[0].claims] == [1]


class Counting:
    """Says of a response that is cut into more passages that it is surer wrong; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Case] = []

    def probabilities(self, cases: Sequence[Case]) -> list[list[float]]:
        self.asked += cases
        return [[len(case.units) / 1000] * len(case.units) for case in cases]


@pytest.mark.parametrize("name", list(TESTBEDS))
def test_flawed_and_right_responses_are_cut_by_one_rule(
    name: str, tiny_lm: Callable[..., LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gdc, "_generator", lambda lm, pairs: [0.5] * len(pairs))
    critic, words = Counting(), 200 if name == "stories" else None
    cases = generate(name, 6, 0, "train", flawed=1.0, difficulty=0.3, words=words)
    gdc_gap(tiny_lm(), cases, critic)
    right = critic.asked[-len(cases) :]
    for case, one in zip(cases, right, strict=True):
        assert one.response == case.correct
        assert abs(len(one.units) - len(case.units)) <= 3  # a flaw takes a line or two away, or adds them
        if name in ("code", "reasoning"):
            lines = [line.strip() for line in case.correct.splitlines() if line.strip()]
            assert [case.correct[slice(*unit)] for unit in one.units] == lines


def test_a_flawed_response_whose_passages_follow_no_rule_is_cut_anew(tiny_lm: Callable[..., LanguageModel]) -> None:
    critic = Counting()
    found = gdc_gap(tiny_lm(), [replace(case, units=((0, 39), (40, 79))) for case in CASES], critic)
    assert len(critic.asked) == 3 * len(CASES)
    assert {len(case.units) for case in critic.asked[len(CASES) :]} == {1}
    assert found.discriminator.value == 0.5


def test_the_gap_of_each_model_given(tiny_folder: Callable[..., Path]) -> None:
    names = [str(tiny_folder()), str(tiny_folder("qwen2"))]
    found = gdc_by_model(names, CASES)
    assert list(found) == names
    assert found[names[1]] == gdc_gap(load(names[1]), CASES)
    assert found[names[0]] != found[names[1]]


def test_passages_that_a_critic_is_as_sure_of_each_count_their_part() -> None:
    class Silent:
        def probabilities(self, cases: Sequence[Case]) -> list[list[float]]:
            return [[0.0] * len(case.units) for case in cases]

    quality = critic_quality(Silent(), HELD_OUT)
    assert quality.named.value == quality.chance.value == pytest.approx(0.25)
    assert quality.gain.value == 0
    assert quality.ranked.value == 0.5
