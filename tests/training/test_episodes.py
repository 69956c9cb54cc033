from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kilter.errors import DataError, SettingsError
from kilter.models import LanguageModel, Response, sample
from kilter.models.flops import Compute, decode_flops
from kilter.training import GRPOSettings, LoraSettings, train_grpo
from kilter.training.episodes import Episode, between_replies, play
from kilter.training.loop import Loop, read_metrics
from kilter.training.policy import Policy
from kilter.training.rollout import sample_responses

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
FAST: dict[str, Any] = {
    "lr": 0.02, "steps": 60, "prompts": 2, "samples": 64, "max_new_tokens": 1, "lora": LORA, "warmup": 0.0, "seed": 1,
    "min_entropy": 0.0, "max_kl": 1e6, "kl_coef": 0.0, "turns": 2,
}  # fmt: skip


def low(text: str) -> float:
    """How low the first byte is: 1 for the lowest, 0 where there is none."""
    return 1 - min(ord(text[0]), 300) / 400 if text else 0.0


class Told:
    """After any first reply it says what the second should be: a low byte, or a high one."""

    def reset(self, prompt: Any) -> None:
        self.wanted, self.asked = prompt, False

    def step(self, response: str) -> tuple[str, float, bool]:
        if not self.asked:
            self.asked = True
            return self.wanted * 3, 0.0, False
        return "", low(response) if self.wanted == "l" else 1 - low(response), True


class Patient:
    """Ends by itself after `ends` replies; notes what it was told."""

    ends = 2
    said: ClassVar[list[list[str]]] = []

    def reset(self, prompt: Any) -> None:
        self.heard = [str(prompt)]
        Patient.said.append(self.heard)

    def step(self, response: str) -> tuple[str, float, bool]:
        self.heard.append(response)
        return f"reply {len(self.heard)}", 0.5, len(self.heard) > self.ends


def test_the_policy_learns_to_heed_what_the_environment_says(tiny_lm: Make, tmp_path: Path) -> None:
    train_grpo(tiny_lm(), ["l", "h"], Told, GRPOSettings(**FAST), tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert {row["turns"] for row in rows} == {2.0}
    # Without heeding it a policy of one mind earns one half on average, whichever byte it says.
    assert rows[0]["reward"] < 0.6
    assert sum(row["reward"] for row in rows[-4:]) / 4 > 0.7


def test_sampler_and_trainer_agree_over_all_turns(tiny_lm: Make, tmp_path: Path) -> None:
    settings = GRPOSettings(**{**FAST, "steps": 2, "max_new_tokens": 5, "samples": 4, "turns": 3, "minibatches": 2})
    monkey = type("Three", (Patient,), {"ends": 3})
    train_grpo(tiny_lm(), ["ab", "c"], monkey, settings, tmp_path)
    for row in read_metrics(tmp_path / "metrics.jsonl"):
        assert row["agreement"] == pytest.approx(1, abs=1e-4)
        assert row["disagreement"] < 1e-4
        assert row["reward"] == pytest.approx(1.5)


def test_an_episode_is_the_chat_that_the_template_writes(tiny_lm: Make) -> None:
    lm, Patient.said = tiny_lm(), []
    prompts = ["first", "second one"]
    encoded = [lm.encode_prompt(one) for one in prompts]

    def draw(contexts: Sequence[Sequence[int]], *, n: int, seed: int) -> list[list[Response]]:
        return sample(lm, contexts, n=n, max_new_tokens=6, seed=seed)

    groups = play(lm, draw, Patient, prompts, encoded, n=2, turns=5, room=6, seed=3)
    assert [len(group) for group in groups] == [2, 2]
    for game, heard in zip([one for group in groups for one in group], Patient.said, strict=True):
        assert (game.turns, game.reward) == (2, 1.0)
        assert len(game.learn) == len(game.tokens)
        assert sum(game.learn) == len(game.logprobs)
        chat = [
            {"role": "user", "content": heard[0]},
            {"role": "assistant", "content": heard[1]},
            {"role": "user", "content": "reply 2"},
        ]
        whole = lm.encode_chat(chat)  # type: ignore[arg-type]
        ids = [*encoded[prompts.index(heard[0])], *game.tokens]
        last = next(place for place in range(len(game.learn) - 1, -1, -1) if not game.learn[place]) + 1
        assert lm.tokenizer.decode(ids[: len(ids) - len(game.tokens) + last]) == lm.tokenizer.decode(whole)
        assert game.text == f"{heard[1]}\n\nreply 2\n\n{heard[2]}"


def test_an_end_that_was_sampled_is_not_told_again(tiny_lm: Make) -> None:
    lm = tiny_lm()
    between = between_replies(lm, "go on")
    assert between[0] == lm.eos
    encoded = [lm.encode_prompt("x")]

    def draw(contexts: Sequence[Sequence[int]], *, n: int, seed: int) -> list[list[Response]]:
        ids = lm.encode_response("hi")
        return [[Response(ids, [-1.0] * len(ids), True, "hi")] * n for _ in contexts]

    [[game]] = play(lm, draw, Patient, ["x"], encoded, n=1, turns=3, room=8, seed=0)
    reply = lm.encode_response("hi")
    assert game.tokens == [*reply, *between_replies(lm, "reply 2")[1:], *reply]
    assert game.finished


def test_an_episode_ends_where_the_context_does(tiny_lm: Make) -> None:
    lm = tiny_lm()
    encoded = [lm.encode_text("x" * 470)]

    def draw(contexts: Sequence[Sequence[int]], *, n: int, seed: int) -> list[list[Response]]:
        return sample(lm, contexts, n=n, max_new_tokens=16, seed=seed)

    [[game]] = play(lm, draw, type("Long", (Patient,), {"ends": 9}), ["x"], encoded, n=1, turns=9, room=16, seed=0)
    assert game.turns < 9
    assert 470 + len(game.tokens) <= lm.context


def test_a_prompt_with_room_for_one_reply_is_played_as_far_as_the_context_goes(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    prompt = "x" * 450
    room = lm.context - len(lm.encode_prompt(prompt))
    settings = {**FAST, "steps": 1, "samples": 2, "prompts": 1, "turns": 9, "max_kl": 1e6, "variant": "reinforce++"}
    train_grpo(lm, [prompt], Patient, GRPOSettings(**{**settings, "max_new_tokens": room}), tmp_path / "one")
    [row] = read_metrics(tmp_path / "one" / "metrics.jsonl")
    assert row["turns"] == 1
    with pytest.raises(DataError, match=f"more than the {lm.context}"):
        train_grpo(lm, [prompt], Patient, GRPOSettings(**{**settings, "max_new_tokens": room + 1}), tmp_path / "none")


def test_what_the_environment_says_is_not_counted_as_sampled(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    policy, loop = Policy(lm, None), Loop(tmp_path, "grpo", 1, "print", {})
    episode = Episode([5] * 10, [-1.0] * 4, True, "a", learn=[True] * 2 + [False] * 6 + [True] * 2)
    sample_responses(policy, [[1, 2, 3]], GRPOSettings(samples=1), 0, loop, play=lambda *_: [[episode]])
    assert loop.compute == Compute(decode_flops(lm, 4, 3 + 10 / 2), 4)


class Broken(Patient):
    def step(self, response: str) -> tuple[str, float, bool]:
        raise KeyError("tool")


class Wrong(Patient):
    given: Any = None

    def step(self, response: str) -> tuple[str, float, bool]:
        return self.given  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (Broken, "step failed with KeyError"),
        (type("Nothing", (Wrong,), {}), "gave None for the reply"),
        (type("NaN", (Wrong,), {"given": ("a", math.nan, True)}), "a finite number"),
        (type("Short", (Wrong,), {"given": ("a", 1.0)}), "whether the episode is done"),
        (type("Needy", (Patient,), {"__init__": lambda self, key: None}), "failed to begin episode 0"),
    ],
)
def test_a_wrong_environment_is_refused_with_words(tiny_lm: Make, tmp_path: Path, environment: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        train_grpo(tiny_lm(), ["a", "b"], environment, GRPOSettings(**{**FAST, "steps": 1}), tmp_path)


def test_turns_need_an_environment(tiny_lm: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="turns has no effect"):
        train_grpo(tiny_lm(), ["a"], lambda p, r: [low(one) for one in r], GRPOSettings(**FAST), tmp_path)
