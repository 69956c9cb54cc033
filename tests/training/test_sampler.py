"""Runs that sample on a server: Kilter's own, on a free port, over real HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import ModelError, ServerError, SettingsError
from kilter.models import LanguageModel, Response
from kilter.models.remote import NO_LOGPROBS
from kilter.serving import ServedModel, create_app, running
from kilter.settings import build
from kilter.training import (
    BestOfNSettings,
    GRPOSettings,
    LoraSettings,
    OnlineDPOSettings,
    PPOSettings,
    make_models,
    ppo,
    train_best_of_n,
    train_grpo,
    train_online_dpo,
    train_ppo,
)
from kilter.training import rollout_loop as loops
from kilter.training.importance import importance_weights
from kilter.training.loop import read_metrics
from kilter.training.rollout import Rollout
from kilter.training.sampler import FIXED, ServerSettings

Make = Callable[..., LanguageModel]
Serve = Callable[..., str]
LORA = LoraSettings(rank=4, alpha=8)
PROMPTS = ["ab", "c", "hello", "x y"]
FAST: dict[str, Any] = {
    "lr": 0.01, "steps": 4, "prompts": 4, "samples": 4, "max_new_tokens": 6, "lora": LORA, "warmup": 0.0, "seed": 1,
    "min_entropy": 0.0, "max_kl": 1e6,
}  # fmt: skip


def small_bytes(prompts: list[Any], responses: list[str]) -> list[float]:
    return [1 - (ord(one[0]) if one else 400) / 400 for one in responses]


def metrics(folder: Path) -> list[dict[str, float]]:
    return read_metrics(folder / "metrics.jsonl")


def assert_same_course(one: Path, other: Path, names: tuple[str, ...]) -> None:
    ours, theirs = metrics(one), metrics(other)
    assert len(ours) == len(theirs)
    for row, expected in zip(ours, theirs, strict=True):
        for name in names:
            assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), (row["step"], name)


@pytest.mark.parametrize("more", [{}, {"variant": "gspo"}, {"minibatches": 2, "epochs": 2, "temperature": 0.8}])
def test_grpo_takes_the_same_course_as_without_a_server(
    tiny_lm: Make, serve: Serve, tmp_path: Path, more: dict[str, Any]
) -> None:
    train_grpo(tiny_lm(), PROMPTS, small_bytes, GRPOSettings(**FAST, **more), tmp_path / "here")
    settings = GRPOSettings(**FAST, **more, server=serve(folder=tmp_path))
    result = train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "there")
    assert_same_course(
        tmp_path / "there", tmp_path / "here", ("reward", "policy_loss", "kl", "entropy", "grad_norm", "length")
    )
    for row in metrics(tmp_path / "there"):
        assert row["agreement"] == pytest.approx(1, abs=1e-4)
        assert row["importance"] == pytest.approx(1, abs=1e-4)
        assert row["importance_capped"] == 0
    assert "note" not in result
    left = {file.name for file in (tmp_path / "there").iterdir() if not file.name.startswith(".")}
    assert left == {"metrics.jsonl", "result.json", "model"}  # what was written for the server is gone
    assert "importance" not in metrics(tmp_path / "here")[0]


def test_all_weights_travel_where_all_are_trained(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    fast = {**FAST, "lora": None, "lr": 1e-3}
    train_grpo(tiny_lm(), PROMPTS, small_bytes, GRPOSettings(**fast), tmp_path / "here")
    settings = GRPOSettings(**fast, server=serve(folder=tmp_path))
    train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "there")
    assert_same_course(tmp_path / "there", tmp_path / "here", ("reward", "policy_loss", "kl"))
    assert all(row["agreement"] == pytest.approx(1, abs=1e-4) for row in metrics(tmp_path / "there"))


def test_online_dpo_and_best_of_n_take_the_same_course_too(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    address = serve(folder=tmp_path)
    for where, server in (("here", None), ("there", address)):
        settings = OnlineDPOSettings(**{**FAST, "lr": 0.03}, server=server)
        train_online_dpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "dpo" / where)
    assert_same_course(tmp_path / "dpo" / "there", tmp_path / "dpo" / "here", ("reward", "loss", "margin", "kl"))
    found = []
    for where, server in (("here", None), ("there", address)):
        best = BestOfNSettings(
            rounds=2, samples=16, max_new_tokens=60, batch_size=2, lora=LORA, lr=0.01, server=server
        )  # fmt: skip
        folder = tmp_path / "best" / where
        found.append(train_best_of_n(tiny_lm(), PROMPTS, small_bytes_or_end, best, folder)["rounds"])
    for ours, theirs in zip(*found, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def small_bytes_or_end(prompts: list[Any], responses: list[str]) -> list[float]:
    return [len(one) + value for one, value in zip(responses, small_bytes(prompts, responses), strict=True)]


def test_ppo_takes_the_same_course_too(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    from kilter.models import LoraConfig
    from kilter.models.scalar import ScalarModel

    address = serve(folder=tmp_path)
    for where, server in (("here", None), ("there", address)):
        lm = tiny_lm()
        lm.adapters.add("reward", LoraConfig(2, 4.0, ("q_proj",)), torch.Generator().manual_seed(0))
        head = torch.nn.Parameter(torch.randn(lm.hidden_size, generator=torch.Generator().manual_seed(1)))
        judge = ScalarModel(lm, "reward", head, lm.layers)
        settings = PPOSettings(**FAST, ptx_coef=0.0, server=server)
        prompts = [lm.encode_prompt(prompt) for prompt in PROMPTS]
        train_ppo(make_models(lm, judge, settings), prompts, settings, tmp_path / where)
    assert_same_course(tmp_path / "there", tmp_path / "here", ("reward", "policy_loss", "value_loss", "kl"))
    assert all(row["agreement"] == pytest.approx(1, abs=1e-4) for row in metrics(tmp_path / "there"))


def test_the_newest_policy_samples_and_a_fixed_server_does_not(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    address = serve(folder=tmp_path)
    seen: dict[str, list[list[list[int]]]] = {"newest": [], "fixed": []}
    for sync, drawn in seen.items():

        def observe(step: int, numbers: Any, groups: Any, drawn: Any = drawn) -> Mapping[str, float]:
            drawn.append([one.tokens for group in groups for one in group])
            return {}

        settings = GRPOSettings(**{**FAST, "lr": 0.05}, server=address, server_sync=sync)
        result = train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / sync, observe=observe)
        assert result.get("note") == (FIXED if sync == "fixed" else None)
    assert seen["newest"][0] == seen["fixed"][0]
    assert seen["newest"][1] != seen["fixed"][1]
    newest, fixed = metrics(tmp_path / "newest"), metrics(tmp_path / "fixed")
    assert all(row["disagreement"] < 1e-4 for row in newest)
    assert fixed[-1]["disagreement"] > 0.01
    assert fixed[-1]["importance"] != pytest.approx(1, abs=1e-4)


def test_the_gradient_is_weighted_by_what_the_sampler_differs(
    tiny_lm: Make, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server samples from another adapter; with one update per rollout the loss is -sum(weight * advantage)."""
    kept: list[tuple[Rollout, torch.Tensor, float]] = []
    update = loops.update_policy

    def spy(policy: Any, rollout: Rollout, settings: Any, step: int, optimizer: Any, loop: Any, backward: Any) -> Any:
        advantages = backward.__closure__ and dict(
            zip(backward.__code__.co_freevars, (cell.cell_contents for cell in backward.__closure__), strict=True)
        )
        found = update(policy, rollout, settings, step, optimizer, loop, backward)
        kept.append((rollout, advantages["advantages"], found["policy_loss"]))
        return found

    monkeypatch.setattr("kilter.training.grpo.update_policy", spy)
    other = tiny_lm()
    other.adapters.add("off", LORA.config(), torch.Generator().manual_seed(5))
    for one in other.adapters.parameters("off"):
        one.data.add_(0.15)
    other.adapters.activate("off")
    settings = GRPOSettings(**{**FAST, "steps": 1}, variant="dr_grpo", server=serve(other), server_sync="fixed")
    train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path)
    [(rollout, advantages, loss)] = kept
    assert torch.allclose(rollout.importance, importance_weights(rollout.old, rollout.sampled))
    assert float(rollout.importance.max()) == pytest.approx(2)
    assert float(rollout.importance.min()) < 0.8
    expected = -(rollout.importance * advantages).sum() / (len(rollout.responses) * settings.max_new_tokens)
    assert loss == pytest.approx(float(expected), rel=1e-4)
    assert float(expected) != pytest.approx(0, abs=1e-4)  # without the weights the advantages would cancel
    [row] = metrics(tmp_path)
    assert abs(row["agreement"] - 1) > 0.01
    assert row["importance_capped"] > 0


def test_ppos_loss_is_weighted_too(tiny_lm: Make, tmp_path: Path) -> None:
    """Known answer: at ratio one the policy's loss is -sum(weight * advantage) / tokens."""
    from kilter.models.scalar import ScalarModel
    from kilter.training.loop import Loop
    from kilter.training.policy import Policy

    lm = tiny_lm()
    policy, reference = Policy.with_reference(lm, "ppo", LORA, 0)
    model = ScalarModel(lm, None, torch.nn.Parameter(torch.zeros(lm.hidden_size)), lm.layers)
    settings = PPOSettings(**FAST, ptx_coef=0.0)
    loop = Loop(tmp_path, "ppo", 1, "print", {})
    encoded = [lm.encode_prompt(prompt) for prompt in PROMPTS]
    responses = loops.sample_responses(policy, encoded, settings, 0, loop)
    rollout, _ = loops.read_rollout(policy, reference, encoded, responses, settings, 0, loop)
    size = len(rollout.old)
    rollout.importance = torch.linspace(0.2, 2, size)
    advantages = torch.linspace(-1, 1, size)
    estimates = ppo.Estimates(torch.zeros(size), advantages, torch.zeros(size))
    found = ppo._update(ppo.Models(policy, reference, model, model), rollout, estimates, range(4), settings, loop)
    assert found["policy_loss"] == pytest.approx(float(-(rollout.importance * advantages).sum() / size), rel=1e-3)


def without(part: str) -> Callable[[dict[str, Any]], None]:
    def change(choice: dict[str, Any]) -> None:
        choice.pop(part)

    return change


class Through:
    """A server that passes everything on to another and changes the choices in what comes back."""

    def __init__(self, address: str, change: Callable[[dict[str, Any]], None]) -> None:
        self.address, self.change = address, change

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        import httpx2

        response = httpx2.request(method, self.address + path, json=body)
        if not response.headers["content-type"].startswith("application/json"):
            return response.status_code, response.text
        value = response.json()
        for choice in value.get("choices", ()):
            self.change(choice)
        return response.status_code, value


def test_without_logprobs_the_trainers_own_stand_in_and_that_is_said(
    tiny_lm: Make, serve: Serve, pretend: Callable[..., str], tmp_path: Path
) -> None:
    address = pretend(Through(serve(folder=tmp_path), without("logprobs")))
    settings = GRPOSettings(**FAST, server=address)
    result = train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "there")
    assert result["note"] == NO_LOGPROBS
    assert json.loads((tmp_path / "there" / "result.json").read_text())["note"] == NO_LOGPROBS
    train_grpo(tiny_lm(), PROMPTS, small_bytes, GRPOSettings(**FAST), tmp_path / "here")
    assert_same_course(tmp_path / "there", tmp_path / "here", ("reward", "policy_loss", "kl", "grad_norm"))
    for row in metrics(tmp_path / "there"):
        assert row["importance"] == 1
        assert "agreement" not in row  # nothing is known of it, so nothing is said
        assert all(map(math.isfinite, row.values()))


def test_without_token_ids_nothing_is_trained(
    tiny_lm: Make, serve: Serve, pretend: Callable[..., str], tmp_path: Path
) -> None:
    address = pretend(Through(serve(folder=tmp_path), without("token_ids")))
    with pytest.raises(ModelError, match="no token ids"):
        train_grpo(tiny_lm(), PROMPTS, small_bytes, GRPOSettings(**FAST, server=address), tmp_path / "there")
    assert metrics(tmp_path / "there") == []


def foreign(choice: dict[str, Any]) -> None:
    choice["token_ids"][0] = 9999


def cut(choice: dict[str, Any]) -> None:
    choice |= {"finish_reason": "stop", "token_ids": [7], "logprobs": {"token_logprobs": [-1.0]}}


@pytest.mark.parametrize(
    ("change", "said"), [(foreign, "sampled token 9999, but the model that is trained has 260"), (cut, "ended .* 7")]
)
def test_tokens_of_another_model_are_refused(
    tiny_lm: Make, serve: Serve, pretend: Callable[..., str], tmp_path: Path, change: Any, said: str
) -> None:
    address = pretend(Through(serve(folder=tmp_path), change))
    with pytest.raises(ModelError, match=said):
        train_grpo(tiny_lm(), PROMPTS, small_bytes, GRPOSettings(**FAST, server=address), tmp_path / "there")


def test_a_server_that_dies_ends_the_run_cleanly_and_the_run_goes_on_from_there(
    tiny_lm: Make, impatient: None, tmp_path: Path
) -> None:
    def start(stack: ExitStack, port: int = 0) -> str:
        return stack.enter_context(running(create_app(ServedModel(tiny_lm(), "tiny", tmp_path)), port=port))

    with ExitStack() as stack:
        settings = GRPOSettings(**FAST, server=start(stack))
        train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "undisturbed")

    mortal = ExitStack()
    address = start(mortal)
    settings = GRPOSettings(**FAST, server=address)
    told: list[int] = []

    def kill(stage: str, done: int, total: int, row: Any) -> None:
        told.append(done)
        if done == 2:
            mortal.close()

    with pytest.raises(ServerError, match=rf"{address} did not answer .* in 3 attempts.* same command goes on"):
        train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "killed", progress=kill)
    assert told == [1, 2]
    with pytest.raises(ServerError, match="did not answer GET /v1/models"):
        train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / "killed")
    told.clear()
    with ExitStack() as stack:
        moved = settings.model_copy(update={"server": start(stack)})  # another port is no other run
        train_grpo(
            tiny_lm(), PROMPTS, small_bytes, moved, tmp_path / "killed", progress=lambda _, done, *__: told.append(done)
        )  # fmt: skip
    assert told == [3, 4]  # the first two were kept
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "undisturbed")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        ours, theirs = (tmp_path / name / "model" / file for name in ("killed", "undisturbed"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_with_and_without_a_server_are_two_runs(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Stop

    settings = GRPOSettings(**FAST, checkpoint_seconds=0)
    with pytest.raises(Stop):
        train_grpo(
            tiny_lm(), PROMPTS, small_bytes, settings, tmp_path,
            progress=lambda stage, done, *_: stop() if done == 2 else None,
        )  # fmt: skip
    there = settings.model_copy(update={"server": serve(folder=tmp_path)})
    with pytest.raises(SettingsError, match="other settings or data"):
        train_grpo(tiny_lm(), PROMPTS, small_bytes, there, tmp_path)


def test_a_server_that_takes_no_adapters_is_refused_unless_it_may_be_fixed(
    tiny_lm: Make, serve: Serve, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="server_sync: fixed"):
        train_grpo(tiny_lm(), PROMPTS, small_bytes, GRPOSettings(**FAST, server=serve()), tmp_path)


@pytest.mark.parametrize(
    "given", [{"server_model": "m"}, {"server_key": "K"}, {"server_sync": "fixed"}], ids=lambda given: next(iter(given))
)
@pytest.mark.parametrize("kind", [GRPOSettings, PPOSettings, OnlineDPOSettings, BestOfNSettings])
def test_a_setting_for_no_server_is_refused(kind: type[ServerSettings], given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(given))} has no effect without server"):
        build(kind, given, "the test")
    assert build(kind, {**given, "server": "http://x"}, "the test").server == "http://x"


def test_the_texts_are_the_trainers_reading_of_the_tokens(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    from kilter.training.sampler import ServerSampler

    lm = tiny_lm()
    sampler = ServerSampler(GRPOSettings(server=serve()), tmp_path)
    [[one]] = sampler.sample(lm, [[5]], n=1, max_new_tokens=5, temperature=1.0, seed=0)
    assert isinstance(one, Response)
    assert one.text == lm.decode(one.tokens)
