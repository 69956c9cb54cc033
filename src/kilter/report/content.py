"""What a report says, as plain frozen records; the page only sets it in type.

Units: `"%"` means that the values are shares in [0, 1], shown times one hundred, and that changes are shown
in points. Any other unit is written after the number as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kilter.errors import DataError
from kilter.stats import Estimate, ReliabilityPoint

MOST_SERIES = 5
"""Series that one plot can tell apart by dash, marker and color."""


@dataclass(frozen=True)
class Headline:
    """One of the three or four figures at the top, drawn with its interval on a line.

    `span` is the range of that line (by default around the interval); `reference` a value to compare with,
    such as 0.5 for a win rate, explained by `reference_label`.
    """

    label: str
    estimate: Estimate
    unit: str = ""
    explanation: str = ""
    span: tuple[float, float] | None = None
    reference: float | None = None
    reference_label: str = ""


@dataclass(frozen=True)
class Measure:
    """One row of the table before/after; None where a figure does not exist on that side.

    `higher_is_better` None means that neither direction is a merit (KL, length). `note` is shown small: ties,
    a position effect, or why a figure was refused.
    """

    label: str
    explanation: str
    before: Estimate | None = None
    after: Estimate | None = None
    change: Estimate | None = None
    unit: str = ""
    higher_is_better: bool | None = None
    note: str = ""

    def verdict(self) -> Literal["better", "worse", "no clear change", ""]:
        """What the interval of the change allows to say; empty where no direction is better."""
        if self.change is None or self.higher_is_better is None:
            return ""
        if self.change.low <= 0 <= self.change.high:
            return "no clear change"
        return "better" if (self.change.low > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class Series:
    """One line of a curve; `low` and `high` add a band, `markers` shows each point.

    A y that is NaN or infinite breaks the line. Raises `DataError` when lengths differ.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    markers: bool = False

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.x, self.y, self.low, self.high) if part is not None}
        if lengths == {0} or len(lengths) != 1 or (self.low is None) != (self.high is None):
            raise DataError(
                f"The series '{self.name}' of the report is malformed: x, y and, if given, both low and high "
                "must have the same number of points, at least one."
            )


@dataclass(frozen=True)
class Curve:
    """One plot: a few series over one x. `caption` says what an expert should look for.

    The drawing holds about 45 characters of `x_label` and `y_label`; more is cut off.
    `reference` draws a dashed level (guessing, exact agreement), named in the legend by `reference_label`.
    Raises `DataError` for more than five series, which dash and marker cannot keep apart.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    caption: str
    reference: float | None = None
    reference_label: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.series) <= MOST_SERIES:
            raise DataError(
                f"The curve '{self.title}' of the report has {len(self.series)} series; a plot that can be "
                f"read has 1 to {MOST_SERIES}. Draw several curves instead."
            )


@dataclass(frozen=True)
class Reliability:
    """Stated probability against what came true, with one sentence or two on how to read it."""

    title: str
    points: tuple[ReliabilityPoint, ...]
    caption: str
    x_label: str = "stated probability"
    y_label: str = "share that came true"


@dataclass(frozen=True)
class Response:
    """What a model wrote: the text as it is, its gold score, and each check's score in [0, 1]."""

    text: str
    score: float | None = None
    checks: Mapping[str, float] = field(default_factory=dict)
    finished: bool = True


@dataclass(frozen=True)
class Pair:
    """One prompt and the responses of the two models, `note` shown small (topic, seed, side)."""

    prompt: str
    before: Response
    after: Response
    note: str = ""


@dataclass(frozen=True)
class Rater:
    """Who judged: `kind` is shown as it is (simulated, human, program, model); `agreement` is a share."""

    name: str
    kind: str
    judgments: int
    agreement: Estimate | None = None
    note: str = ""


@dataclass(frozen=True)
class Stage:
    """What one stage cost; None where it was not measured. `peak_share` in [0, 1], `memory` in bytes."""

    name: str
    seconds: float
    tokens: int | None = None
    flops: float | None = None
    peak_share: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Reproduction:
    """How to get the same result: shell commands, and what they were run with."""

    commands: tuple[str, ...]
    commit: str
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportContent:
    """The whole report. Empty parts are left out of the page.

    `pairs_statement` says how the pairs were drawn, `agreement_statement` what the raters' agreement column
    means, `compute_statement` what machine and peak the compute table refers to.
    """

    title: str
    summary: str
    reproduction: Reproduction
    limits: tuple[str, ...]
    subtitle: str = ""
    notices: tuple[str, ...] = ()
    headlines: tuple[Headline, ...] = ()
    measures: tuple[Measure, ...] = ()
    before_label: str = "Before"
    after_label: str = "After"
    curves: tuple[Curve, ...] = ()
    reliability: Reliability | None = None
    pairs: tuple[Pair, ...] = ()
    pairs_statement: str = ""
    raters: tuple[Rater, ...] = ()
    agreement_statement: str = ""
    stages: tuple[Stage, ...] = ()
    compute_statement: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
