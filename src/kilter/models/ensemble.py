"""Several reward models as one that trusts what its members agree on.

A policy finds where a single reward model errs. Members that saw other data and started elsewhere err in other places,
so their worst opinion, or their mean less their variance, is harder to exploit (Coste et al., arXiv 2310.02743).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from kilter.errors import ModelError
from kilter.models import processes
from kilter.models.language_model import LanguageModel, load
from kilter.models.pack import Packed
from kilter.models.scalar import HEAD_FILE, PROCESS_FILE, ScalarModel

FILE = "ensemble.json"
Combine = Literal["mean", "worst", "penalized"]


@dataclass
class RewardEnsemble:
    """Reward models whose scores are in one unit, on one trunk or on several.

    Attributes:
        members: the models.
        combine: how their scores become one: their mean, the worst, or the mean less `penalty` times the variance.
        penalty: for "penalized"; the papers found 0.1 to 1 of use with scores of standard deviation one.
    """

    members: list[ScalarModel]
    combine: Combine = "worst"
    penalty: float = 0.0

    @property
    def lm(self) -> LanguageModel:
        """The first member's trunk."""
        return self.members[0].lm

    def parameters(self) -> list[nn.Parameter]:
        """All members' tensors."""
        return [parameter for member in self.members for parameter in member.parameters()]

    def opinions(self, packed: Packed) -> Tensor:
        """Each member's score of each response, [E, R] float32."""
        return torch.stack([member.scores(packed) for member in self.members])

    def scores(self, packed: Packed) -> Tensor:
        """One scalar [R] float32 for each response."""
        return self.combined(self.opinions(packed))

    def combined(self, opinions: Tensor) -> Tensor:
        """[E, R] to [R]."""
        match self.combine:
            case "worst":
                return opinions.amin(0)
            case "mean":
                return opinions.mean(0)
            case "penalized":
                return opinions.mean(0) - self.penalty * opinions.var(0, unbiased=False)

    def read_flops(self, packed: Packed) -> float:
        """Operations of scoring `packed`."""
        return sum(member.read_flops(packed) for member in self.members)

    def save(self, folder: Path) -> None:
        """Write every member, and last the file that names them."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"member-{number}" for number in range(1, len(self.members) + 1)]
        for name, member in zip(names, self.members, strict=True):
            member.save(folder / name)
        described = {"members": names, "combine": self.combine, "penalty": self.penalty}
        if processes.is_main():
            (folder / FILE).write_text(json.dumps(described, indent=2) + "\n")


RewardModel = ScalarModel | RewardEnsemble


def load_reward_model(lm: LanguageModel, folder: Path, name: str = "reward") -> RewardModel:
    """Load a saved reward model or an ensemble of them onto `lm`, adapters under `name` (and `name`-2, ...).

    Raises:
        ModelError: the folder holds no reward model, or one of another trunk.
    """
    file = folder / FILE
    if (folder / PROCESS_FILE).exists():
        raise ModelError(
            f"The model in {folder} judges single steps, not whole responses. Use it as a reward of grpo, online-dpo "
            "or best-of-n, or give a reward model."
        )
    if not file.exists():
        return ScalarModel.load(lm, folder, name)
    try:
        described = json.loads(file.read_text())
        members, combine, penalty = described["members"], described["combine"], described["penalty"]
    except (ValueError, KeyError) as error:
        raise ModelError(f"{file} does not describe an ensemble of reward models; train it anew.") from error
    loaded = [
        ScalarModel.load(lm, folder / one, name if not number else f"{name}-{number + 1}")
        for number, one in enumerate(members)
    ]
    if any(one.adapter is None for one in loaded):
        raise ModelError(
            f"The members of {folder} are whole models, which cannot share one trunk. Train ensembles with lora."
        )
    return RewardEnsemble(loaded, combine, penalty)


def open_reward_model(folder: Path) -> RewardModel:
    """Load a saved reward model or an ensemble of them with the trunk it was trained on.

    Raises:
        ModelError: the folder holds no reward model, or its trunk is not on this machine.
    """
    if not any((folder / name).exists() for name in (FILE, HEAD_FILE)):
        inside = folder / "model"
        hint = f"did you mean {inside}?" if inside.is_dir() else "train one with 'kilter train reward'."
        raise ModelError(f"{folder} holds no reward model (no {HEAD_FILE}); {hint}")
    first = folder / "member-1" if (folder / FILE).exists() else folder
    config = first / "adapter_config.json"
    named = json.loads(config.read_text())["base_model_name_or_path"] if config.exists() else first
    return load_reward_model(load(named), folder)


def disagreement(model: RewardModel, packed: Packed) -> tuple[Tensor, Tensor | None]:
    """Scores [R], and for an ensemble how far its members' opinions spread, [R] standard deviation."""
    if isinstance(model, ScalarModel):
        return model.scores(packed), None
    opinions = model.opinions(packed)
    return model.combined(opinions), opinions.std(0, unbiased=False)
