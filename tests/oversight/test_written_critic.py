"""The critic that writes: reference critiques in its form, and the chain from fine-tuning to reward to a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_cases import made_case

from kilter.errors import DataError
from kilter.models import LanguageModel, load
from kilter.models.chat import ChatModel
from kilter.oversight import PromptedCritic, RaterSettings, prompted
from kilter.oversight.critics import (
    GainReward,
    TruthReward,
    WrittenCritic,
    critique_rewards,
    reference_critique,
    reference_critiques,
    reward_written_critic,
    train_written_critic,
    written_critic,
    written_quality,
)
from kilter.oversight.critics.written_critic import named_types
from kilter.oversight.findings import Mark, compare
from kilter.oversight.prompted import Problem, question, read_problems
from kilter.testbeds import TESTBEDS, Case, Flaw, generate
from kilter.training import GRPOSettings, SFTSettings
from kilter.training.loop import read_metrics

TYPES = ["even", "odd"]
ROOM = 20


def brief_case(number: int, wrong: int) -> Case:
    """Four passages, of which one is wrong, with a note of a letter: a tiny model learns every byte of it."""
    case = made_case(number, wrong=(wrong,), units=4)
    return replace(case, flaws=(replace(case.flaws[0], note="x"),))


def brief_question(case: Case, types: Sequence[str], help_: str = "") -> str:
    """The passages alone: of the whole question a tiny model would read a thousand bytes, a token each."""
    return "\n".join(f"{number}. {case.response[start:end]}" for number, (start, end) in enumerate(case.units, 1))


CASES = [brief_case(number, number % 4) for number in range(48)]
SECOND = [brief_case(500 + number, 1) for number in range(8)]
HELD_OUT = [brief_case(1000 + number, 1) for number in range(8)]


@pytest.mark.parametrize("name", list(TESTBEDS))
def test_what_is_written_reads_back_as_the_planted_flaws(name: str) -> None:
    cases = generate(name, 20, 0, "train", flawed=0.8, words=200 if name == "stories" else None)
    types = named_types(cases)
    assert {bool(case.flaws) for case in cases} == {True, False}
    for case in cases:
        problems = read_problems(reference_critique(case), case, types)
        assert problems is not None
        assert [(one.type, one.reason) for one in problems] == [
            (flaw.type, " ".join(flaw.note.split())) for flaw in sorted(case.flaws, key=lambda flaw: flaw.start)
        ]
        findings = compare(case, [Mark(*case.units[one.unit], one.type) for one in problems])
        assert (findings.found, findings.false) == (len(case.flaws), ())


def test_flaws_that_share_passages_are_named_at_passages_of_their_own_as_far_as_there_are() -> None:
    note = "Not so:\nit is | otherwise."
    flaws = (Flaw(0, 25, "odd", "major", "First."), Flaw(2, 8, "even", "minor", note), Flaw(3, 5, "odd", "minor", "no"))
    case = made_case(wrong=(), units=4)
    case = Case(**{**vars(case), "flaws": (flaws[1], flaws[0], flaws[2])})
    assert read_problems(reference_critique(case), case, TYPES) == [
        Problem(0, "even", "Not so: it is | otherwise."), Problem(1, "odd", "First.")
    ]  # fmt: skip
    assert reference_critique(made_case(wrong=())) == "none"


def test_it_learns_to_answer_what_a_prompted_critic_is_asked(tiny_lm: Callable[..., LanguageModel]) -> None:
    lm = tiny_lm()
    [item] = reference_critiques(lm, [CASES[1]], TYPES)
    assert item.prompt == lm.encode_prompt(question(CASES[1], TYPES))
    assert item.responses == [[*lm.encode_text("2 | odd | x"), lm.eos]]
    with pytest.raises(DataError, match="no case has one"):
        named_types([made_case(wrong=())])


def test_the_chain_from_reference_critiques_to_rewards_to_a_study(
    tiny_lm: Callable[..., LanguageModel], serve: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (prompted, written_critic, critique_rewards):
        monkeypatch.setattr(module, "question", brief_question)
    lm = tiny_lm()
    before = written_quality(WrittenCritic(lm, TYPES, max_new_tokens=ROOM), HELD_OUT)
    assert before.unreadable.value == 1
    assert before.gain.value == before.found.value == before.invented.value == 0
    sft = SFTSettings(lr=0.01, epochs=10, batch_size=8, lora=None)
    critic, result = train_written_critic(lm, CASES, sft, tmp_path / "sft", heldout=HELD_OUT, max_new_tokens=ROOM)
    assert result["heldout_loss_after"] < result["heldout_loss_before"]
    tuned = written_quality(critic, HELD_OUT)
    assert tuned.unreadable.value < 0.5
    drawing = WrittenCritic(lm, TYPES, temperature=1.0, max_new_tokens=ROOM)
    drawn = [drawing.problems(CASES, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    settings = GRPOSettings(
        lr=1e-3, steps=12, prompts=4, samples=16, max_new_tokens=ROOM, lora=None, max_kl=1000, min_entropy=0, warmup=0,
        kl_coef=0,
    )  # fmt: skip
    learn, judge = [CASES[0], *SECOND], RaterSettings(sees=0.3, trust=0.9)
    rewards: list[TruthReward | GainReward] = [TruthReward(learn, 0.25), GainReward(learn, judge, times=2)]
    for reward in rewards:  # nearly always the second passage is wrong: that is quickly found out
        folder = tmp_path / type(reward).__name__
        start = load(tmp_path / "sft" / "model", dtype="float32")
        rewarded, _ = reward_written_critic(start, reward, settings, folder)
        earned = [row["reward"] for row in read_metrics(folder / "metrics.jsonl")]
        assert sum(earned[-3:]) > sum(earned[:3])
        quality = written_quality(rewarded, HELD_OUT)
        assert quality.named.value > max(tuned.named.value, 0.5)
        assert quality.unreadable.value < 0.5
    chat = ChatModel(serve(load(folder / "model", dtype="float32"), "critic"), max_tokens=ROOM)
    answers = PromptedCritic(chat, TYPES).criticize_all(HELD_OUT, 0)
    chat.close()
    assert [one.claims for one in answers] == [one.claims for one in rewarded.criticize_all(HELD_OUT)]
    assert any(one.claims for one in answers)


class Saying(WrittenCritic):
    """Answers that were written before."""

    def __init__(self, *answers: list[Problem] | None) -> None:
        self._answers = list(answers)

    def problems(self, cases: object, seed: int = 0) -> list[list[Problem] | None]:
        return self._answers


def test_quality_of_what_is_written_is_held_against_chance() -> None:
    cases = [made_case(number, wrong=(1,), units=4) for number in range(4)]
    right = made_case(9, wrong=(), units=4)
    first, second, third = (Problem(unit, "odd", "so") for unit in range(3))
    said = Saying([second], [second, third], None, [], [first])
    quality = written_quality(said, [*cases, right])
    assert quality.named.value == (1 + 0.5 + 0.25 + 0.25) / 4
    assert quality.chance.value == 0.25
    assert quality.gain.value == quality.named.value - 0.25
    assert quality.found.value == 2 / 4
    assert quality.invented.value == 2 / 5
    assert quality.unreadable.value == 1 / 5
    assert (quality.found.n, quality.unreadable.n) == (4, 5)
