"""Training of reward-model ensembles: every member from its own draw of the comparisons, on one trunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from kilter.models import LanguageModel
from kilter.models.ensemble import Combine, RewardEnsemble
from kilter.training.loop import Progress, no_progress
from kilter.training.pairs import RankedItem
from kilter.training.reward import RewardSettings, normalize, reward_scores, train_reward
from kilter.training.seeds import derive_seed


class EnsembleSettings(RewardSettings):
    """Training of several reward models that judge as one."""

    members: int = Field(4, ge=2, description="Reward models; each starts elsewhere and sees another draw.")
    combine: Combine = Field("worst", description="The policy's reward: their mean, worst, or mean less variance.")
    penalty: float = Field(0.5, ge=0, description="With combine: penalized, weight of the members' variance.")

    @model_validator(mode="after")
    def _used(self) -> EnsembleSettings:
        if self.combine != "penalized" and self.penalty != type(self).model_fields["penalty"].default:
            raise ValueError(f"penalty has no effect with combine: {self.combine}; leave it out")
        if self.lora is None:
            raise ValueError("an ensemble needs adapters (lora), because all members live on one trunk")
        return self


def train_ensemble(
    lm: LanguageModel,
    items: Sequence[RankedItem],
    settings: EnsembleSettings,
    folder: Path,
    *,
    heldout: Sequence[RankedItem] = (),
    progress: Progress = no_progress,
) -> tuple[RewardEnsemble, dict[str, Any]]:
    """Train reward models on a trunk; they lie in `folder/model`, each one's run in `folder/member-N`.

    Args:
        lm: the trunk; it gains an adapter per member.
        items: ranked responses as token ids; each member sees as many, drawn with replacement (bagging).
        heldout: comparisons on which accuracy is measured at the end.

    Returns:
        The ensemble, and metrics: heldout_accuracy of the combined score, member_accuracy (their mean), and the
        accuracy on the halves of the pairs about which the members agree most (sure_accuracy) and least.

    Raises:
        DataError: there is nothing to learn from.
        TrainingStopped: a loss or a gradient is not finite.
    """
    members = []
    for number in range(1, settings.members + 1):
        seed = derive_seed(settings.seed, "member", number)
        own = {name: getattr(settings, name) for name in RewardSettings.model_fields} | {"seed": seed}
        drawn = torch.randint(len(items), (len(items),), generator=torch.Generator().manual_seed(seed))
        some = [items[index] for index in drawn.tolist()]
        model, _ = train_reward(lm, some, RewardSettings(**own), folder / f"member-{number}", progress=progress)
        normalize(model, items, settings.max_tokens)  # on the same responses for all, so that their units agree
        members.append(model)
    ensemble = RewardEnsemble(members, settings.combine, settings.penalty)
    ensemble.save(folder / "model")
    decided = [one for one in heldout if one.pairs]
    return ensemble, {
        "members": settings.members,
        **(_measure(ensemble, decided, settings.max_tokens) if decided else {}),
    }


@torch.no_grad()
def _measure(ensemble: RewardEnsemble, heldout: Sequence[RankedItem], max_tokens: int) -> dict[str, float]:
    right, single, spread = [], [], []
    items = [one.item for one in heldout]
    by_member = [reward_scores(member, items, max_tokens) for member in ensemble.members]
    for one, *scored in zip(heldout, *by_member, strict=True):
        opinions = torch.stack(scored)
        scores = ensemble.combined(opinions)
        for better, worse in one.pairs:
            margins = opinions[:, better] - opinions[:, worse]
            right.append(float(scores[better] > scores[worse]))
            single.append(float((margins > 0).float().mean()))
            spread.append(float(margins.std() / margins.mean().abs().clamp(min=1e-6)))
    order = sorted(range(len(spread)), key=spread.__getitem__)
    half = max(len(order) // 2, 1)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    return {
        "heldout_accuracy": mean(right),
        "member_accuracy": mean(single),
        "sure_accuracy": mean([right[index] for index in order[:half]]),
        "unsure_accuracy": mean([right[index] for index in order[-half:]]),
    }
