"""Process reward models: is each step of a solution right? (Let's Verify Step by Step, arXiv 2305.20050.)

A step is a line. The model reads a solution once and says at the end of each line how probable it is that this step is
right; a whole solution is as good as its worst step, or as the product of all. `train_grpo` can learn from the steps
one by one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from kilter.errors import DataError, ModelError
from kilter.models import Item, LanguageModel, Packed, micro_batches, pack, processes
from kilter.models.frozen import reusing_frozen
from kilter.models.scalar import PROCESS_FILE, ScalarModel
from kilter.training.guards import require_finite
from kilter.training.loop import Loop, Progress, no_progress, write_json
from kilter.training.rewards import Prompt
from kilter.training.scalar_run import ScalarSettings, run_scalar, scalar_optimizers
from kilter.training.seeds import batch_indices
from kilter.training.settings import weights_digest
from kilter.training.sft import check_lengths
from kilter.training.shares import own_batches

Combine = Literal["min", "product", "last"]


@dataclass(frozen=True)
class SteppedItem:
    """A prompt with one solution: the place of each step's last token in it, and how right each step is, 0 to 1."""

    item: Item
    ends: tuple[int, ...]
    labels: tuple[float, ...]


def stepped(lm: LanguageModel, prompt: Prompt, steps: Sequence[str], labels: Sequence[float] = ()) -> SteppedItem:
    """Steps as token ids, one line each; without `labels` to be judged rather than learned from."""
    tokens: list[int] = []
    ends = []
    for step in steps:
        tokens += lm.encode_text(step.strip() + "\n")
        ends.append(len(tokens) - 1)
    return SteppedItem(Item(lm.encode_prompt(prompt), [tokens]), tuple(ends), tuple(labels))


class ProcessRewardSettings(ScalarSettings):
    """Process-reward training."""

    combine: Combine = Field("min", description="A solution's reward: of its worst step, of all, or of the last.")


@dataclass
class ProcessRewardModel:
    """Judges steps; called with prompts and responses it is a reward like any other."""

    model: ScalarModel
    combine: Combine = "min"

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """One number from 0 to 1 for each response, its lines being the steps."""
        lines = [[line for line in text.splitlines() if line.strip()] for text in responses]
        return [self.combined(one) if one else 0.0 for one in self.steps(prompts, lines)]

    @torch.no_grad()
    def steps(self, prompts: Sequence[Prompt], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        """For each solution, how probable it is that each of its steps is right."""
        found: list[list[float]] = [[] for _ in steps]
        given = [index for index, one in enumerate(steps) if one]
        items = {index: stepped(self.model.lm, prompts[index], steps[index]) for index in given}
        for batch in micro_batches([items[index].item.length for index in given], 4096):
            some = [given[place] for place in batch]
            packed = pack([items[index].item for index in some], self.model.lm.device)
            logits = self.model.values(packed, step_index(packed, [items[index] for index in some]))
            parts = torch.split(torch.sigmoid(logits).cpu(), [len(items[index].ends) for index in some])
            for index, part in zip(some, parts, strict=True):
                found[index] = part.tolist()
        return found

    def combined(self, steps: Sequence[float]) -> float:
        """What single steps make of the whole."""
        match self.combine:
            case "min":
                return min(steps)
            case "last":
                return steps[-1]
            case "product":
                return float(torch.tensor(steps).prod())

    def fingerprint_content(self) -> object:
        """What it is, for a run's fingerprint."""
        return [weights_digest(self.model.parameters()), self.model.layers, self.combine]

    def save(self, folder: Path) -> None:
        """Write the model, and how its steps are combined."""
        self.model.save(folder)
        write_json(folder / PROCESS_FILE, {"combine": self.combine})

    @staticmethod
    def load(lm: LanguageModel, folder: Path, name: str = "process") -> ProcessRewardModel:
        """Load a saved one onto `lm`, its adapter under `name`.

        Raises:
            ModelError: the folder holds no process reward model, or one of another trunk.
        """
        file = folder / PROCESS_FILE
        if not file.exists():
            raise ModelError(f"{folder} holds no process reward model (no {file.name}); train one first.")
        combine = json.loads(file.read_text())["combine"]
        return ProcessRewardModel(ScalarModel.load(lm, folder, name), combine)


def train_process_reward(
    lm: LanguageModel,
    items: Sequence[SteppedItem],
    settings: ProcessRewardSettings,
    folder: Path,
    *,
    heldout: Sequence[SteppedItem] = (),
    progress: Progress = no_progress,
) -> tuple[ProcessRewardModel, dict[str, Any]]:
    """Train a process reward model on a trunk; it lies in `folder/model`.

    Returns:
        The model and the final metrics: loss, and on held-out solutions heldout_accuracy (of steps) and
        first_error_accuracy (how often the first wrong step, or that there is none, is found).

    Raises:
        DataError: there is nothing to learn from.
        TrainingStopped: the loss or a gradient is not finite.
    """
    check_lengths([one.item for one in items], lm)
    labels = [label for one in items for label in one.labels]
    if not labels or min(labels) == max(labels):
        raise DataError("All steps have the same label, so nothing can be learned. Give right steps and wrong ones.")
    data = [[[vars(one.item), one.ends, one.labels] for one in part] for part in (items, heldout)]
    model, done = run_scalar(
        lm, "process", settings, folder, "last", data,
        [one.item for one in items],
        lambda model, identity: _train(model, items, settings, folder, identity, progress, heldout),
    )  # fmt: skip
    return ProcessRewardModel(model, settings.combine), done


def _train(
    model: ScalarModel, items: Sequence[SteppedItem], settings: ProcessRewardSettings, folder: Path, identity: str,
    progress: Progress, heldout: Sequence[SteppedItem],
) -> dict[str, Any]:  # fmt: skip
    steps = settings.updates(len(items))
    optimizers = scalar_optimizers(model, settings, steps)
    loop = Loop(folder, "process", steps, identity, optimizers, progress, settings.checkpoint_seconds)
    with reusing_frozen(
        model.lm, model.adapter, [one.item for one in items], reads=settings.epochs, max_tokens=settings.max_tokens,
        folder=folder, compute=loop.compute,
    ):  # fmt: skip
        for step in loop.steps():
            batch = [items[index] for index in batch_indices(len(items), settings.batch_size, step, settings.seed)]
            loss, accuracy = _accumulate(model, batch, settings, loop)
            require_finite("loss", loss, step)
            norm = max(optimizer.step(step) for optimizer in optimizers.values())
            loop.log({"loss": loss, "accuracy": accuracy, "grad_norm": norm}, step)
    ProcessRewardModel(model, settings.combine).save(folder / "model")
    return loop.finish({"loss": loop.rows[-1]["loss"], **(_measure(model, heldout, settings) if heldout else {})})


def _accumulate(
    model: ScalarModel, batch: Sequence[SteppedItem], settings: ProcessRewardSettings, loop: Loop
) -> tuple[float, float]:
    """Forward and backward over a batch; mean cross-entropy over its steps, and the share judged right."""
    count = sum(len(one.labels) for one in batch)
    total, right = 0.0, 0
    for indices in own_batches([one.item.length for one in batch], settings.max_tokens):
        some = [batch[index] for index in indices]
        packed = pack([one.item for one in some], model.lm.device)
        logits = model.values(packed, step_index(packed, some))
        labels = torch.tensor([float(label) for one in some for label in one.labels], device=logits.device)
        loss = binary_cross_entropy_with_logits(logits, labels, reduction="sum") / count
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
        right += int(((logits > 0) == (labels > 0.5)).sum())
        loop.compute.add(model.train_flops(packed), packed.size)
    summed, hits = processes.totals(total, right)
    return summed, hits / count


def step_index(packed: Packed, some: Sequence[SteppedItem]) -> Tensor:
    """Where the last token of each step of `some` lies in the row that holds them in this order."""
    firsts = [end - len(one.item.responses[0]) + 1 for one, end in zip(some, packed.ends.tolist(), strict=True)]
    places = [first + end for one, first in zip(some, firsts, strict=True) for end in one.ends]
    return torch.tensor(places, dtype=torch.long, device=packed.tokens.device)


@torch.no_grad()
def _measure(model: ScalarModel, heldout: Sequence[SteppedItem], settings: ProcessRewardSettings) -> dict[str, float]:
    right, steps, found = 0, 0, 0
    for indices in micro_batches([one.item.length for one in heldout], settings.max_tokens):
        some = [heldout[index] for index in indices]
        packed = pack([one.item for one in some], model.lm.device)
        logits = model.values(packed, step_index(packed, some)).cpu()
        for one, part in zip(some, torch.split(logits, [len(one.ends) for one in some]), strict=True):
            ours, theirs = [value > 0 for value in part.tolist()], [label > 0.5 for label in one.labels]
            right += sum(a == b for a, b in zip(ours, theirs, strict=True))
            steps += len(theirs)
            found += [*ours, False].index(False) == [*theirs, False].index(False)
    return {"heldout_accuracy": right / steps, "first_error_accuracy": found / len(heldout)}
