"""Against over-optimization: when the reward rises and what it stands for does not (Gao et al., arXiv 2210.10760).

A policy that is pushed far enough learns where its reward is wrong. A held-out judge, shown every step's responses by
`observe` and never trained on, tells: the run can end where that judge was content, keep the policy of its best days,
and name the step at which reward and judge parted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor

from kilter.errors import SettingsError
from kilter.models.shard import put
from kilter.training.loop import Loop
from kilter.training.policy import Policy
from kilter.training.rollout import Rollout, RolloutSettings

WINDOW = 5  # steps that are averaged: one step's judgments are few
DOUBT = 4.5  # standard errors: the best of many windows is compared at every step; noise alone does so in 1 of 50 runs


class Monitor:
    """Looks at every step before the update, and says when to stop; its state is the best policy so far."""

    def __init__(self, policy: Policy, settings: RolloutSettings) -> None:
        self._policy, self._settings = policy, settings
        self._best: dict[str, Tensor] = {}

    def state(self) -> dict[str, Tensor]:
        """The tensors of the best policy."""
        return self._best

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take them back."""
        self._best = tensors

    def like(self, key: str) -> Tensor:
        """The policy's own tensor that the one saved under `key` belongs to."""
        return self._policy.parameters()[int(key)]

    def look(self, loop: Loop, metrics: Mapping[str, float], seen: Mapping[str, float]) -> dict[str, float]:
        """What to log of this step: `hacking` = 1 where reward and judge have parted. May call `loop.stop`.

        Args:
            metrics: kl of this step's responses, and their reward where there is one.
            seen: what `observe` returned of them.

        Raises:
            SettingsError: the judge to monitor is not among what `observe` returned.
        """
        wanted = self._settings.stop_kl
        if wanted is not None and metrics["kl"] > wanted:
            loop.stop(f"KL of {metrics['kl']:.1f} nats per response, beyond stop_kl")
        name = self._settings.monitor
        if name is None:
            return {}
        if name not in seen:
            raise SettingsError(
                f"monitor names '{name}', but observe returned {', '.join(seen) or 'nothing'}. Name one of those, or "
                "give an observe function that judges the responses."
            )
        judged = [row[name] for row in loop.rows] + [float(seen[name])]
        rewards = [row.get("reward", 0.0) for row in loop.rows] + [metrics.get("reward", 0.0)]
        best = best_window(judged)
        patience = self._settings.patience
        if patience is not None and best == len(judged):
            self._best = {str(place): one.detach().clone() for place, one in enumerate(self._policy.parameters())}
        if patience is not None and len(judged) - best >= patience:
            loop.stop(f"'{name}' was highest {len(judged) - best} steps ago")
        return {"hacking": 1.0} if have_parted(rewards, judged) else {}

    @torch.no_grad()
    def restore(self) -> None:
        """Give the policy the weights of its best steps, if they were kept."""
        for place, parameter in enumerate(self._policy.parameters()):
            if str(place) in self._best:
                put(parameter, self._best[str(place)])

    def kept_row(self, loop: Loop) -> dict[str, float]:
        """The metrics of the policy that `restore` leaves, of the responses that it gave, or else of the last step."""
        return loop.rows[self._kept(loop)] if self._best else loop.rows[-1]

    def _kept(self, loop: Loop) -> int:
        return best_window([row[str(self._settings.monitor)] for row in loop.rows]) - 1

    def result(self, loop: Loop) -> dict[str, float | str]:
        """What is told of the whole run."""
        hacked = [row["step"] for row in loop.rows if row.get("hacking")]
        found: dict[str, float | str] = {"hacking_from_step": hacked[0]} if hacked else {}
        if self._best:
            found["kept_step"] = self._kept(loop)
        return found | ({"stopped": loop.stopped} if loop.stopped else {})


def best_window(values: Sequence[float]) -> int:
    """How many values there were when the mean over the last WINDOW of them was highest."""
    first = min(WINDOW, len(values))
    return max(range(first, len(values) + 1), key=lambda end: sum(values[end - first : end]))


def have_parted(rewards: Sequence[float], judged: Sequence[float]) -> bool:
    """Whether the reward rose since the held-out judge was most content, while the judge's score clearly fell.

    How much a step's mean judgment varies by chance is told by the differences of neighboring steps.
    """
    end = best_window(judged)
    if len(judged) - end < WINDOW or end < WINDOW:
        return False
    then, now = slice(end - WINDOW, end), slice(len(judged) - WINDOW, len(judged))
    noise = sum((b - a) ** 2 for a, b in pairwise(judged)) / (2 * (len(judged) - 1))
    error = math.sqrt(2 * noise / WINDOW)
    return fmean(rewards[now]) > fmean(rewards[then]) and fmean(judged[then]) - fmean(judged[now]) > DOUBT * error


def length_cost(rollout: Rollout, settings: RolloutSettings) -> Tensor:
    """What length takes from the reward, [R]: length_coef for a response as long as can be, less for a shorter one."""
    return settings.length_coef * rollout.packed.counts / settings.longest


def linear(start: float, end: float | None, step: int, steps: int) -> float:
    """What goes linearly from `start` at step 0 to `end` at the last one, at `step`; without an end it stays."""
    return start if end is None else start + step / max(steps - 1, 1) * (end - start)
