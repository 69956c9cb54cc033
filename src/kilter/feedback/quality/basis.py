"""What numbers about a task rest on: how many raters, items and judgments, and whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kilter.errors import DataError
from kilter.feedback.quality.aspects import of_use
from kilter.feedback.tasks import Task
from kilter.feedback.work import Result


@dataclass(frozen=True)
class Basis:
    """Work items only; `simulated` of the `raters` are programs that stand in for people."""

    task: str
    raters: int
    simulated: int
    items: int
    judgments: int

    @property
    def who(self) -> str:
        """The raters in words; simulated ones are called so wherever a number of theirs is shown."""
        if not self.simulated:
            return f"{self.raters} raters" if self.raters != 1 else "1 rater"
        if self.simulated == self.raters:
            return f"{self.raters} SIMULATED raters" if self.raters != 1 else "1 SIMULATED rater"
        return f"{self.raters} raters, {self.simulated} of them SIMULATED"

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def basis(task: Task, results: Sequence[Result]) -> Basis:
    """What the work items among `results` are."""
    work = of_use(results, "work")
    judges = {one.judge: one.judgment.principal == "simulated" for one in work}
    return Basis(task.name, len(judges), sum(judges.values()), len({one.artifact for one in work}), len(work))


def require_work(task: Task, results: Sequence[Result]) -> list[Result]:
    """The results on work items; raises `DataError` where there is none."""
    work = of_use(results, "work")
    if not work:
        others = f" ({len(results)} judgments are of gold, training or qualification items)" if results else ""
        raise DataError(
            f"Nobody has judged an item of the task '{task.name}' yet{others}, so there is nothing to measure. Its "
            "progress is shown where it is served."
        )
    return work
