"""Who judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kilter.errors import DataError

SIMULATED = "simulated/"


@dataclass(frozen=True)
class Rater:
    """An id among the people, and the judge's name on the record, which tells nothing of them.

    Programs that stand in for people, in tests and benchmarks, have the principal "simulated" and a name that begins
    so. Raises `DataError` where only one of the two is true: simulated people are called simulated.
    """

    id: str
    judge: str
    principal: Literal["human", "simulated"] = "human"

    def __post_init__(self) -> None:
        if self.judge.startswith(SIMULATED) != (self.principal == "simulated"):
            raise DataError(
                f"The rater '{self.judge}' cannot have the principal '{self.principal}': names of simulated raters, "
                f"and no others, begin with '{SIMULATED}'."
            )
