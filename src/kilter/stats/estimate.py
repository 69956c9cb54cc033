"""A number with its uncertainty: the only form in which Kilter states a measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from kilter.errors import DataError


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, how many observations stand behind it, and how it was obtained.

    The interval need not be symmetric, nor hold the value: a bootstrap corrects for bias. Raises `DataError`
    for a value or bound that is not finite: a figure that cannot be had is refused, never stored as NaN.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.value, self.low, self.high)):
            raise DataError(
                f"The estimate by '{self.method}' came out as {self.value} [{self.low}, {self.high}], which "
                f"is no number. Look at the {self.n} observations behind it: one of them is probably NaN or "
                "infinite."
            )
        if self.low > self.high or self.n < 1:
            raise DataError(
                f"The estimate by '{self.method}' is malformed: interval [{self.low}, {self.high}], n = "
                f"{self.n}. The lower bound must not exceed the upper one, and n must be at least 1."
            )

    @classmethod
    def exact(cls, value: float, n: int = 1, method: str = "counted") -> Estimate:
        """A value that was counted or timed, not sampled: its interval is the value itself."""
        return cls(float(value), float(value), float(value), n, method)

    def as_dict(self) -> dict[str, float | int | str]:
        """The form written to `summary.json`: value, low, high, n, method."""
        return asdict(self)


@dataclass(frozen=True)
class Finding:
    """An estimate, or None and why it does not exist for these data."""

    estimate: Estimate | None
    reason: str | None = None

    @classmethod
    def of(cls, measure: Callable[[], Estimate]) -> Self:
        """What `measure` returns, or the reason of its refusal."""
        try:
            return cls(measure())
        except DataError as refusal:
            return cls(None, str(refusal))

    def as_dict(self) -> dict[str, Any]:
        """The estimate's fields, or {"refused": reason}."""
        return {"refused": self.reason} if self.estimate is None else dict(self.estimate.as_dict())
