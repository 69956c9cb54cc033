"""Small training runs that a test, or this script in a process of its own, can start, kill and start again.

As a script: `python tiny_runs.py PLAN`, where PLAN is a JSON file {"base": model folder, "jobs": [{"algorithm",
"folder", "kills": [...]}]}. Every kill of a job, and then its run to the end, happens in a forked process; the exit
status of each (-9 for a kill) is printed as JSON. One import of torch serves them all.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file

from kilter.models import Item, LanguageModel, LoraConfig, load
from kilter.models.scalar import ScalarModel
from kilter.training import (
    BestOfNSettings,
    DPOSettings,
    EnsembleSettings,
    GRPOSettings,
    KTOSettings,
    LoraSettings,
    MarkedItem,
    OnlineDPOSettings,
    PPOSettings,
    ProcessRewardSettings,
    RankedItem,
    RewardSettings,
    SFTSettings,
    SteppedItem,
    checkpoint,
    make_models,
    optimizer,
    shares,
    train_best_of_n,
    train_dpo,
    train_ensemble,
    train_grpo,
    train_kto,
    train_online_dpo,
    train_ppo,
    train_process_reward,
    train_reward,
    train_sft,
)
from kilter.training import loop as loops

LORA = LoraSettings(rank=2, alpha=4)
COMMON: dict[str, Any] = {"checkpoint_seconds": 0, "seed": 4, "lora": LORA, "max_tokens": 64}
STEPS = 4
ALGORITHMS = (
    "sft", "sft_full", "sft_upper", "reward", "reward_upper", "process", "dpo", "dpo_upper", "kto", "kto_upper", "grpo",
    "grpo_full", "grpo_upper", "monitored", "episodes", "online", "ppo", "ppo_full", "ppo_upper",
)  # fmt: skip


def tokens(seed: int, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 24, (length,), generator=generator).tolist()


def run(algorithm: str, base: Path, folder: Path, *, seed: int = 4, **hooks: Any) -> dict[str, Any]:
    """Train a fresh copy of `base` with `algorithm` for four steps into `folder`, with a checkpoint after each.

    `algorithm` alone trains adapters, with `_upper` those of the upper layer, with `_full` every weight in bfloat16,
    with `_float` every weight in float32.
    """
    # A clock that stands still, as far as the loop can tell: every step is worth a checkpoint.
    loops.time = SimpleNamespace(monotonic=lambda: 0.0)  # type: ignore[attr-defined]
    name, _, full = algorithm.partition("_")
    whole = full in ("full", "float")
    settings = {**COMMON, "seed": seed, **({"lora": None, "lr": 1e-3} if whole else {"lr": 0.01})}
    if full == "upper":
        settings["lora"] = LORA.model_copy(update={"first_layer": 1})
    lm = load(base, dtype="bfloat16" if full == "full" else "float32")
    result: dict[str, Any] = JOBS[name](lm, base, settings, folder, hooks)
    return result


def _sft(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    items = [Item(tokens(n, 3), [[*tokens(n + 50, 1 + n), 2]]) for n in range(6)]
    chosen = SFTSettings(**settings, batch_size=3, epochs=STEPS / 2)
    return train_sft(lm, items, chosen, folder, heldout=items[:2], **hooks)


def _reward(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    items = [
        RankedItem(Item(tokens(n, 3), [tokens(9 * n + k, 4) for k in range(3)]), ((0, 1), (1, 2))) for n in range(6)
    ]
    chosen = RewardSettings(**settings, batch_size=3, epochs=STEPS / 2)
    return train_reward(lm, items, chosen, folder, heldout=items[:2], **hooks)[1]


def _ppo(lm: LanguageModel, base: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    dtype: Any = "bfloat16" if lm.dtype == torch.bfloat16 else "float32"
    trunk = lm if settings["lora"] is not None else load(base, dtype=dtype)
    trunk.adapters.add("reward", LoraConfig(2, 4.0, ("q_proj",)), torch.Generator().manual_seed(0))
    head = torch.nn.Parameter(0.3 * torch.randn(lm.hidden_size, generator=torch.Generator().manual_seed(1)))
    chosen = PPOSettings(
        **settings, steps=STEPS, prompts=3, samples=6, max_new_tokens=14, kl_target=1.0, kl_horizon=100, ptx_tokens=16,
        value_lr=1e-3,
    )  # fmt: skip
    models = make_models(lm, ScalarModel(trunk, "reward", head, lm.layers), chosen)
    prompts = [tokens(n, 1 + n) for n in range(5)]
    return train_ppo(models, prompts, chosen, folder, texts=[tokens(n + 20, 9) for n in range(5)], **hooks)


def _dpo(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    items = [
        RankedItem(Item(tokens(n, 3), [tokens(9 * n + k, 4) for k in range(3)]), ((0, 1), (1, 2))) for n in range(6)
    ]
    return train_dpo(lm, items, DPOSettings(**settings, batch_size=3, epochs=STEPS / 2), folder, **hooks)


def _kto(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    items = [MarkedItem(Item(tokens(n, 3), [tokens(9 * n, 4)]), n % 2 == 0) for n in range(6)]
    return train_kto(lm, items, KTOSettings(**settings, batch_size=3, epochs=STEPS / 2), folder, **hooks)


def _grpo(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    lm.encode_prompt = lambda prompt: tokens(len(prompt), len(prompt))  # type: ignore[method-assign, assignment]
    chosen = GRPOSettings(**settings, steps=STEPS, prompts=3, samples=6, max_new_tokens=14)
    prompts = ["a" * (1 + n) for n in range(5)]
    return train_grpo(lm, prompts, lambda _, texts: [float(len(one)) for one in texts], chosen, folder, **hooks)


class _Echo:
    """Ends after two replies; short ones are good."""

    def reset(self, prompt: Any) -> None:
        self.heard = 0

    def step(self, response: str) -> tuple[str, float, bool]:
        self.heard += 1
        return "x" * len(response), -float(len(response)), self.heard == 2


def _episodes(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    lm.encode_prompt = lambda prompt: tokens(len(prompt), len(prompt))  # type: ignore[method-assign, assignment]
    lm.encode_text = lambda text: tokens(len(text), 3)  # type: ignore[method-assign]
    chosen = GRPOSettings(**settings, steps=STEPS, prompts=3, samples=6, max_new_tokens=7, turns=3)
    return train_grpo(lm, ["a" * (1 + n) for n in range(5)], _Echo, chosen, folder, **hooks)


def _monitored(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    """GRPO that keeps the policy of the held-out judge's best steps, which are the first ones."""
    lm.encode_prompt = lambda prompt: tokens(len(prompt), len(prompt))  # type: ignore[method-assign, assignment]
    given = hooks.pop("observe", lambda *_: {})
    chosen = GRPOSettings(**settings, steps=STEPS, prompts=3, samples=6, max_new_tokens=14, monitor="gold", patience=9)
    prompts = ["a" * (1 + n) for n in range(5)]
    return train_grpo(
        lm, prompts, lambda _, texts: [float(len(one)) for one in texts], chosen, folder, **hooks,
        observe=lambda step, *more: {**given(step, *more), "gold": -float(step)},
    )  # fmt: skip


def _online(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    lm.encode_prompt = lambda prompt: tokens(len(prompt), len(prompt))  # type: ignore[method-assign, assignment]
    chosen = OnlineDPOSettings(**settings, steps=STEPS, prompts=3, samples=6, max_new_tokens=14, minibatches=2)
    prompts = ["a" * (1 + n) for n in range(5)]
    return train_online_dpo(lm, prompts, lambda _, texts: [float(len(one)) for one in texts], chosen, folder, **hooks)


def _process(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    items = [SteppedItem(Item(tokens(n, 3), [tokens(9 * n, 6)]), (2, 5), (1.0, float(n % 2))) for n in range(6)]
    chosen = ProcessRewardSettings(**settings, batch_size=3, epochs=STEPS / 2)
    return train_process_reward(lm, items, chosen, folder, heldout=items[:2], **hooks)[1]


def _best(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    lm.encode_prompt = lambda prompt: tokens(len(prompt), len(prompt))  # type: ignore[method-assign, assignment]
    chosen = BestOfNSettings(**settings, rounds=2, samples=6, max_new_tokens=14, batch_size=2, epochs=2)
    prompts = ["a" * (1 + n) for n in range(5)]
    return train_best_of_n(lm, prompts, lambda _, texts: [float(len(one)) for one in texts], chosen, folder, **hooks)


def _ensemble(lm: LanguageModel, _: Path, settings: dict[str, Any], folder: Path, hooks: dict[str, Any]) -> Any:
    """Reward models that judge as one, and a policy that learns from them, on one trunk."""
    items = [
        RankedItem(Item(tokens(n, 3), [tokens(9 * n + k, 4) for k in range(3)]), ((0, 1), (1, 2))) for n in range(6)
    ]
    chosen = EnsembleSettings(**settings, members=2, batch_size=3, epochs=STEPS / 2)
    judge, result = train_ensemble(lm, items, chosen, folder, heldout=items[:2], **hooks)
    lm.encode_prompt = lambda prompt: tokens(len(prompt), len(prompt))  # type: ignore[method-assign, assignment]
    learn = GRPOSettings(**settings, steps=STEPS, prompts=3, samples=6, max_new_tokens=14)
    return result | train_grpo(lm, ["a" * (1 + n) for n in range(5)], judge, learn, folder / "policy", **hooks)


JOBS: dict[str, Callable[..., Any]] = {
    "sft": _sft, "reward": _reward, "dpo": _dpo, "kto": _kto, "grpo": _grpo, "ppo": _ppo,
    "monitored": _monitored, "episodes": _episodes, "online": _online, "process": _process,
    "best": _best, "ensemble": _ensemble,
}  # fmt: skip


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], bytes, dict[str, Any]]:
    """What must be the same however often a run was killed: weights, metrics, result (but for its seconds)."""
    tensors = {
        f"{file.name}/{key}": value
        for file in sorted((folder / "model").glob("*.safetensors"))
        for key, value in load_file(file).items()
    }
    result = json.loads((folder / "result.json").read_text())
    return tensors, (folder / "metrics.jsonl").read_bytes(), {**result, "seconds": None}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at_call(number: int, function: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    """`function`, with a kill before (or after) its call of that number."""
    calls = [0]

    def wrapped(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number and not after:
            _die()
        result = function(*given, **named)
        if calls[0] == number:
            _die()
        return result

    return wrapped


def arm(kill: str, number: int) -> dict[str, Any]:
    """Arrange for this process to kill itself at the `number`th occasion named `kill`; returns hooks for `run`."""
    if kill == "progress":  # after the step's metrics were written, before its checkpoint
        return {"progress": _at_call(number, lambda *_: None)}
    if kill == "update":  # the weights of one optimizer have moved, all else has not
        optimizer.Optimizer.step = _at_call(number, optimizer.Optimizer.step, after=True)  # type: ignore[method-assign]
    elif kill == "checkpoint":  # the new file is written beside the old one, not yet in its place
        checkpoint.os = SimpleNamespace(fsync=_at_call(number, os.fsync), getpid=os.getpid)  # type: ignore[attr-defined]
    elif kill == "sampling":  # in the middle of a response
        plain = shares.sample
        shares.sample = lambda *a, **k: plain(*a, **k, on_token=token)  # type: ignore[attr-defined]
        token = _at_call(number, lambda *_: None)
    elif kill == "rollout":  # responses are there, scores are not
        return {"observe": _at_call(number, lambda *_: {})}
    elif kill == "saving":  # the last checkpoint is written, the result is not
        loops.Loop.finish = _at_call(number, loops.Loop.finish)  # type: ignore[method-assign]
    else:
        raise ValueError(kill)
    return {}


def _in_child(job: dict[str, Any], base: Path, kill: tuple[str, int] | None) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(job["algorithm"], base, Path(job["folder"]), **(arm(*kill) if kill else {}))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main(plan: Path) -> None:
    described = json.loads(plan.read_text())
    statuses = [
        [_in_child(job, Path(described["base"]), kill) for kill in [*map(tuple, job["kills"]), None]]
        for job in described["jobs"]
    ]
    print(json.dumps(statuses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
