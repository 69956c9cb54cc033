"""`kilter train sft|reward|dpo|ppo|grpo|...`: one stage alone, on files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import Field, model_validator

from kilter.cli.options import command_from_settings
from kilter.cli.user_code import is_address, load_reward, observer, prompted_judge
from kilter.oversight.simulated_rater import RaterSettings
from kilter.settings import Settings
from kilter.training.best_of_n import BestOfNSettings
from kilter.training.dpo import DPOSettings
from kilter.training.ensemble import EnsembleSettings
from kilter.training.grpo import GRPOSettings
from kilter.training.kto import KTOSettings
from kilter.training.online_dpo import OnlineDPOSettings
from kilter.training.ppo import PPOSettings
from kilter.training.process_reward import ProcessRewardSettings
from kilter.training.reward import RewardSettings
from kilter.training.sft import SFTSettings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="One stage alone: SFT, one reward model or several, DPO, KTO, PPO, GRPO, best-of-n.",
)

_MODEL = "Model to start from: catalogue name, folder, or a model that Kilter trained."
_COMPARISONS = "Comparisons: hh-rlhf dialogues, {prompt, chosen, rejected}, or K-way rankings."
_PROMPTS = "Prompts: any file that the other commands read, or cases of a testbed; only its prompts are used."
_STEPS = "Labeled steps, {prompt, steps (or completions), labels}; or cases of 'kilter testbed generate reasoning'."
_REWARD = "Folder of a reward model or ensemble of the same base, or FILE.py:NAME of a function (prompts, responses)."
_EARNED = f"{_REWARD[:-1]}, or of a class with reset and step, an environment of several turns."
_ORDERS = f"{_REWARD[:-1]}; or ADDRESS#MODEL of a chat model that compares."
_STEP_REWARD = "Folder of a process reward model, whose judgments of single lines are learned from beside the reward."
_JUDGE = "Held-out judge, FILE.py:NAME of a function as for a reward; logged as 'judge', see monitor."
_CRITICS = (
    "surprise: learns right responses, and suspects what it did not expect; passages: learns to say of each passage "
    "whether it is wrong, and why, which takes more cases; written: learns to write what is wrong, a line each, as a "
    "study asks a critic of kind model."
)
_REWARDS = (
    "Of kind written: what its own critiques earn after the fine-tuning. truth: the flaws that they name; gain: what a "
    "simulated judge gains from them."
)
_OUTPUT = "Folder for the trained model, its metrics and its checkpoint."


class SFTCommand(SFTSettings):
    """Fine-tune a model on demonstrations."""

    model: str = Field("smollm2-135m", description=_MODEL)
    data: str = Field(description="Demonstrations: JSONL with messages, or prompt and response; a folder, a hub name.")
    output: Path = Field(Path("trained/sft"), description=_OUTPUT)


class CriticRLSettings(Settings):
    """How a critic that writes learns by reward; the rest is as in the fine-tuning before."""

    lr: float = Field(1e-4, gt=0, description="Peak learning rate.")
    steps: int = Field(25, ge=1, description="Rounds of critiques and improving.")
    prompts: int = Field(8, ge=1, description="Cases per round.")
    samples: int = Field(8, ge=2, description="Critiques per case, each compared with the others.")
    kl_coef: float = Field(0.04, ge=0, description="Weight of the KL penalty that keeps it near the fine-tuned critic.")


class CriticCommand(SFTSettings):
    """Train a critic that names the passages of a response that are wrong."""

    model: str = Field("smollm2-135m", description=_MODEL)
    data: Path = Field(description="Cases with planted flaws: a JSONL file of 'kilter testbed generate'.")
    heldout: Path | None = Field(None, description="Cases to measure it on: what it names, against chance.")
    kind: Literal["surprise", "passages", "written"] = Field("surprise", description=_CRITICS)
    notes: bool = Field(True, description="Of kind passages: learn the notes on what is wrong, not verdicts alone.")
    max_new_tokens: int = Field(200, ge=1, description="Of kind written: longest critique.")
    reward: Literal["none", "truth", "gain"] = Field("none", description=_REWARDS)
    false_cost: float = Field(0.5, ge=0, description="Of reward truth: what a right passage called wrong takes away.")
    judge: RaterSettings = RaterSettings()
    rl: CriticRLSettings = CriticRLSettings()
    output: Path = Field(Path("trained/critic"), description=_OUTPUT)

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> CriticCommand:
        is_written = self.kind == "written"
        for name, when, has_effect in (
            ("notes", "kind is passages", self.kind == "passages"),
            ("max_new_tokens", "kind is written", is_written),
            ("reward", "kind is written", is_written),
            ("rl", "reward is truth or gain", self.reward != "none"),
            ("false_cost", "reward is truth", self.reward == "truth"),
            ("judge", "reward is gain", self.reward == "gain"),
        ):
            if not has_effect and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect unless {when}")
        return self

    def grpo(self) -> GRPOSettings:
        """The settings of the reinforcement."""
        return GRPOSettings(
            **self.rl.model_dump(), max_new_tokens=self.max_new_tokens, lora=self.lora, seed=self.seed,
            max_tokens=self.max_tokens, checkpoint_seconds=self.checkpoint_seconds,
            min_entropy=0.0,  # the form fixes most tokens of a critique: that is no collapse
        )  # fmt: skip


class RewardCommand(RewardSettings):
    """Train a reward model on comparisons."""

    model: str = Field("smollm2-135m", description=_MODEL)
    data: str = Field(description=_COMPARISONS)
    heldout: float = Field(0.1, gt=0, lt=1, description="Share of the prompts kept aside to measure accuracy on.")
    output: Path = Field(Path("trained/reward"), description=_OUTPUT)


class EnsembleCommand(EnsembleSettings):
    """Train several reward models on comparisons, which judge as one and are harder to exploit."""

    model: str = Field("smollm2-135m", description=_MODEL)
    data: str = Field(description=_COMPARISONS)
    heldout: float = Field(0.1, gt=0, lt=1, description="Share of the prompts kept aside to measure accuracy on.")
    output: Path = Field(Path("trained/reward-ensemble"), description=_OUTPUT)


class ProcessRewardCommand(ProcessRewardSettings):
    """Train a model that judges single steps: a process reward model."""

    model: str = Field("smollm2-135m", description=_MODEL)
    data: str = Field(description=_STEPS)
    heldout: float = Field(0.1, gt=0, lt=1, description="Share of the prompts kept aside to measure accuracy on.")
    output: Path = Field(Path("trained/process-reward"), description=_OUTPUT)


class DPOCommand(DPOSettings):
    """Train on comparisons without a reward model: DPO, IPO, robust DPO, SimPO, ORPO."""

    model: str = Field("trained/sft/model", description=_MODEL)
    data: str = Field(description=_COMPARISONS)
    heldout: float = Field(0.1, gt=0, lt=1, description="Share of the prompts kept aside to measure accuracy on.")
    output: Path = Field(Path("trained/dpo"), description=_OUTPUT)


class KTOCommand(KTOSettings):
    """Train on single responses marked good or bad: KTO."""

    model: str = Field("trained/sft/model", description=_MODEL)
    data: str = Field(description="Marked responses, {prompt, completion, label}, or comparisons.")
    output: Path = Field(Path("trained/kto"), description=_OUTPUT)


class GRPOCommand(GRPOSettings):
    """Improve a policy by any reward: GRPO, Dr. GRPO, DAPO, GSPO, RLOO, REINFORCE++."""

    model: str = Field("trained/sft/model", description=_MODEL)
    reward: str = Field(description=_EARNED)
    step_reward: Path | None = Field(None, description=_STEP_REWARD)
    data: str = Field(description=_PROMPTS)
    judge: str | None = Field(None, description=_JUDGE)
    output: Path = Field(Path("trained/grpo"), description=_OUTPUT)


class OnlineDPOCommand(OnlineDPOSettings):
    """Improve a policy by comparing its own responses: online DPO."""

    model: str = Field("trained/sft/model", description=_MODEL)
    reward: str = Field(description=_ORDERS)
    reward_key: str | None = Field(None, description="Environment variable with the key of the address in reward.")
    data: str = Field(description=_PROMPTS)
    judge: str | None = Field(None, description=_JUDGE)
    output: Path = Field(Path("trained/online-dpo"), description=_OUTPUT)

    @model_validator(mode="after")
    def _key_for_an_address(self) -> OnlineDPOCommand:
        if self.reward_key is not None and not is_address(self.reward):
            raise ValueError("reward_key has no effect unless reward is an address")
        return self


class BestOfNCommand(BestOfNSettings):
    """Fine-tune on the best of the model's own samples; several rounds are expert iteration."""

    model: str = Field("trained/sft/model", description=_MODEL)
    reward: str = Field(description=_REWARD)
    data: str = Field(description=_PROMPTS)
    output: Path = Field(Path("trained/best-of-n"), description=_OUTPUT)


class PPOCommand(PPOSettings):
    """Improve a policy against a reward model."""

    model: str = Field("trained/sft/model", description=_MODEL)
    reward: Path = Field(
        Path("trained/reward/model"), description="Folder of the reward model, of the same base model."
    )
    data: str = Field(description="Prompts: any file that the other two commands read; only its prompts are used.")
    texts: str | None = Field(None, description="Plain text for the ptx term; null takes Kilter's own paragraphs.")
    judge: str | None = Field(None, description=_JUDGE)
    output: Path = Field(Path("trained/ppo"), description=_OUTPUT)


def _own(settings: Any, base: type[Any]) -> Any:
    """The trainer's part of a command's settings."""
    return base(**{name: getattr(settings, name) for name in base.model_fields})


def sft(settings: SFTCommand) -> None:
    """Fine-tune a model on demonstrations."""
    from kilter.feedback import read_demonstrations
    from kilter.models import Item, load
    from kilter.training import train_sft

    data = read_demonstrations(settings.data)
    lm = load(settings.model)
    items = [Item(lm.encode_prompt(one.prompt), [lm.encode_response(one.response)]) for one in data]
    aside = max(1, len(items) // 20) if len(items) > 1 else 0
    _run(lambda progress: train_sft(
        lm, items[aside:], _own(settings, SFTSettings), settings.output, heldout=items[:aside], progress=progress
    ), settings.output)  # fmt: skip


def critic(settings: CriticCommand) -> None:
    """Train a critic on cases with planted flaws."""
    from kilter.models import load
    from kilter.oversight.critics import WrittenCritic, critic_quality, written_quality
    from kilter.testbeds import read_cases

    cases = read_cases(settings.data)
    aside = [] if settings.heldout is None else read_cases(settings.heldout)
    lm = load(settings.model)
    trained: list[Any] = []

    def train(progress: Any) -> dict[str, Any]:
        one, result = _critic(settings, lm, cases, aside, progress)
        trained.append(one)
        return result

    _run(train, settings.output)
    if aside:
        measure: Callable[..., Any] = written_quality if isinstance(trained[0], WrittenCritic) else critic_quality
        for name, one in vars(measure(trained[0], aside)).items():
            typer.echo(f"{name}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}], n = {one.n}")


def _critic(settings: CriticCommand, lm: Any, cases: Any, aside: Any, progress: Any) -> tuple[Any, dict[str, Any]]:
    """A critic of the kind that is asked for, and the metrics of its training."""
    from kilter.oversight.critics import (
        GainReward,
        TruthReward,
        reward_written_critic,
        train_passage_critic,
        train_surprise_critic,
        train_written_critic,
    )

    own, output = _own(settings, SFTSettings), settings.output
    if settings.kind == "surprise":
        return train_surprise_critic(lm, cases, own, output, heldout=aside, progress=progress)
    if settings.kind == "passages":
        return train_passage_critic(lm, cases, own, output, heldout=aside, notes=settings.notes, progress=progress)
    room = settings.max_new_tokens
    if settings.reward == "none":
        return train_written_critic(lm, cases, own, output, heldout=aside, max_new_tokens=room, progress=progress)
    earned: TruthReward | GainReward = GainReward(cases, settings.judge)
    if settings.reward == "truth":
        earned = TruthReward(cases, settings.false_cost)
    train_written_critic(lm, cases, own, output / "sft", heldout=aside, progress=progress)
    return reward_written_critic(lm, earned, settings.grpo(), output, progress=progress)


def reward(settings: RewardCommand) -> None:
    """Train a reward model on comparisons."""
    from kilter.training import train_reward

    _from_comparisons(settings, RewardSettings, lambda *given, **more: train_reward(*given, **more)[1])


def ensemble(settings: EnsembleCommand) -> None:
    """Train several reward models that judge as one."""
    from kilter.training import train_ensemble

    _from_comparisons(settings, EnsembleSettings, lambda *given, **more: train_ensemble(*given, **more)[1])


def process_reward(settings: ProcessRewardCommand) -> None:
    """Train a model that judges single steps."""
    from kilter.feedback import read_step_labels, split
    from kilter.models import load
    from kilter.training import step_labels, stepped, train_process_reward

    cases = _cases(settings.data)
    lm = load(settings.model)
    labeled = read_step_labels(settings.data) if cases is None else step_labels(cases)
    parts = split(labeled, settings.heldout, settings.seed)
    learn, aside = ([stepped(lm, one.prompt, one.steps, one.labels) for one in part] for part in parts)
    _run(lambda progress: train_process_reward(
        lm, learn, _own(settings, ProcessRewardSettings), settings.output, heldout=aside, progress=progress
    )[1], settings.output)  # fmt: skip


def dpo(settings: DPOCommand) -> None:
    """Train on comparisons without a reward model."""
    from kilter.training import train_dpo

    _from_comparisons(settings, DPOSettings, train_dpo)


def _from_comparisons(settings: Any, base: type[Any], train: Callable[..., dict[str, Any]]) -> None:
    """Train on a command's comparisons, some of them kept aside."""
    from kilter.models import load

    lm = load(settings.model)
    learn, aside = _comparisons(settings, lm)
    _run(lambda progress: train(
        lm, learn, _own(settings, base), settings.output, heldout=aside, progress=progress
    ), settings.output)  # fmt: skip


def kto(settings: KTOCommand) -> None:
    """Train on single responses marked good or bad."""
    from kilter.feedback import read_marks
    from kilter.models import Item, load
    from kilter.training import MarkedItem, train_kto

    data = read_marks(settings.data)
    lm = load(settings.model)
    items = [
        MarkedItem(Item(lm.encode_prompt(one.prompt), [lm.encode_response(one.response)]), one.desirable)
        for one in data
    ]
    _run(lambda progress: train_kto(
        lm, items, _own(settings, KTOSettings), settings.output, progress=progress
    ), settings.output)  # fmt: skip


def grpo(settings: GRPOCommand) -> None:
    """Improve a policy by any reward."""
    from kilter.models import load
    from kilter.training import ProcessRewardModel, train_grpo

    def train(lm: Any, *given: Any, **more: Any) -> dict[str, Any]:
        steps = None
        if settings.step_reward is not None:
            trunk = load(settings.model) if settings.lora is None else lm
            steps = ProcessRewardModel.load(trunk, settings.step_reward, "steps").steps
        return train_grpo(lm, *given, step_reward=steps, **more)

    _by_reward(settings, GRPOSettings, train)


def online_dpo(settings: OnlineDPOCommand) -> None:
    """Improve a policy by comparing its own responses."""
    from kilter.training import train_online_dpo

    _by_reward(settings, OnlineDPOSettings, train_online_dpo)


def _by_reward(settings: Any, base: type[Any], train: Callable[..., dict[str, Any]]) -> None:
    """Train on a command's prompts by its reward, shown to its held-out judge."""
    from kilter.models import load

    prompts = _prompts(settings.data)
    lm = load(settings.model)
    own = _own(settings, base)
    if base is OnlineDPOSettings and is_address(settings.reward):
        reward = prompted_judge(settings.reward, settings.reward_key)
    else:
        reward = load_reward(settings.reward, load(settings.model) if own.lora is None else lm)
    _run(lambda progress: train(
        lm, prompts, reward, own, settings.output, observe=observer(settings.judge, prompts), progress=progress
    ), settings.output)  # fmt: skip


def _prompts(data: str) -> list[Any]:
    """The prompts of any file of data, and of cases what their solver is asked."""
    from kilter.feedback import read_prompts
    from kilter.training import case_prompt

    cases = _cases(data)
    return list(read_prompts(data)) if cases is None else [case_prompt(case) for case in cases]


def _cases(data: str) -> Any:
    """The cases of a file of 'kilter testbed generate'; None for data of another form."""
    from kilter.errors import DataError
    from kilter.files import json_lines
    from kilter.testbeds import read_cases

    file = Path(data)
    if not file.is_file():
        return None
    try:
        _, first = next(json_lines(file), (0, {}))
    except DataError:  # of another form, or damaged, which its own reader says better
        return None
    return read_cases(file) if {"testbed", "units"} <= first.keys() else None


def best_of_n(settings: BestOfNCommand) -> None:
    """Fine-tune on the best of the model's own samples."""
    from kilter.models import load
    from kilter.training import train_best_of_n

    prompts = _prompts(settings.data)
    lm = load(settings.model)
    own = _own(settings, BestOfNSettings)
    judge = load_reward(settings.reward, load(settings.model) if own.lora is None else lm)
    _run(lambda progress: train_best_of_n(
        lm, prompts, judge, own, settings.output, progress=progress
    )["rounds"][-1], settings.output)  # fmt: skip


def _comparisons(settings: Any, lm: Any) -> tuple[list[Any], list[Any]]:
    """The comparisons of a command as ranked items: those to learn from, and those kept aside."""
    from kilter.feedback import read_preferences, split
    from kilter.models import Item
    from kilter.training import RankedItem

    def ranked(one: Any) -> RankedItem:
        item = Item(lm.encode_prompt(one.prompt), [lm.encode_response(text) for text in one.responses])
        return RankedItem(item, tuple(one.pairs), tuple(one.ties), one.margin)

    data = read_preferences(settings.data, ties=getattr(settings, "ties", 0) > 0)
    learn, aside = split(data, settings.heldout, settings.seed)
    return [ranked(one) for one in learn], [ranked(one) for one in aside]


def ppo(settings: PPOCommand) -> None:
    """Improve a policy against a reward model."""
    from kilter.feedback import read_prompts, read_texts
    from kilter.models import load
    from kilter.models.ensemble import load_reward_model
    from kilter.testbeds.plain_text import paragraphs
    from kilter.training import make_models, train_ppo

    prompts = read_prompts(settings.data)
    lm = load(settings.model)
    own = _own(settings, PPOSettings)
    reward_lm = lm if own.lora is not None else load(settings.model)
    judge = load_reward_model(reward_lm, settings.reward)
    texts = [one.text for one in paragraphs("train")] if settings.texts is None else list(read_texts(settings.texts))
    _run(lambda progress: train_ppo(
        make_models(lm, judge, own), [lm.encode_prompt(prompt) for prompt in prompts], own, settings.output,
        texts=[lm.encode_text(text) for text in texts], observe=observer(settings.judge, list(prompts)),
        progress=progress,
    ), settings.output)  # fmt: skip


def _run(train: Callable[[Any], dict[str, Any]], output: Path) -> None:
    """Show progress while training, then the result in a few lines."""
    from kilter.cli.progress import StageProgress

    with StageProgress() as shown:
        result = train(shown.progress)
    for name, value in sorted(result.items()):
        if isinstance(value, float | int):
            typer.echo(f"{name}: {value:.4g}")
    if "hacking_from_step" in result:
        typer.echo("Reward hacking: from that step on the reward rose while the held-out judge's score fell.")
    if "stopped" in result:
        typer.echo(f"Ended early: {result['stopped']}.")
    if "note" in result:
        typer.echo(f"Note: {result['note']}")
    typer.echo(f"Model: {output / 'model'}")


app.command("sft")(command_from_settings(SFTCommand, sft))
app.command("critic")(command_from_settings(CriticCommand, critic))
app.command("reward")(command_from_settings(RewardCommand, reward))
app.command("reward-ensemble")(command_from_settings(EnsembleCommand, ensemble))
app.command("process-reward")(command_from_settings(ProcessRewardCommand, process_reward))
app.command("dpo")(command_from_settings(DPOCommand, dpo))
app.command("kto")(command_from_settings(KTOCommand, kto))
app.command("grpo")(command_from_settings(GRPOCommand, grpo))
app.command("online-dpo")(command_from_settings(OnlineDPOCommand, online_dpo))
app.command("best-of-n")(command_from_settings(BestOfNCommand, best_of_n))
app.command("ppo")(command_from_settings(PPOCommand, ppo))
