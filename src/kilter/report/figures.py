"""Figures as inline SVG.

DESIGN section 10 names plotly for figures, and for a page that people explore it is right. A report is read,
printed and mailed: plotly's Python package (7.1) ships its script only whole, 4.8 MB in every file, with
nothing to see where scripts are off or on paper, and colors fixed when the page is written. What a report
needs of a plot is small, so it is drawn here: a few kilobytes each, colored by the page's CSS (dark mode,
print), readable without a script, and with text that stays legible on a phone because the drawing is only 340
units wide and set in columns.

Series differ in dash and marker as well as in color.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from kilter.report import axes, numbers
from kilter.report.axes import GLYPH, WIDTH, Frame
from kilter.report.content import Curve, Headline, Reliability, Series

_MARKERS = (
    "M-3.4,0A3.4,3.4 0 1,0 3.4,0A3.4,3.4 0 1,0 -3.4,0Z",  # circle
    "M-3.1,-3.1H3.1V3.1H-3.1Z",  # square
    "M0,-4.2L4,3H-4Z",  # triangle
    "M0,-4.5L4.5,0L0,4.5L-4.5,0Z",  # diamond
    "M0,4.2L4,-3H-4Z",  # triangle, point down
)
_MOST_POINTS = 300  # beyond this a line is thinned to the extremes of each bucket
_DENSE = 120  # points from which a line is drawn thin
_MOST_LABELS = 40  # points with a label to hover


def curve(plot: Curve) -> Markup:
    """The drawing of `plot`, without its title, legend and caption, which the page sets as text."""
    drawn = [_thin(_points(series)) for series in plot.series]
    shown = [_finite(points) for points in drawn]
    xs = [x for points in shown for x, *_ in points]
    ys = [y for points in shown for _, y, *_ in points]
    edges = [edge for points in shown for _, _, low, high in points for edge in (low, high) if math.isfinite(edge)]
    if not xs:
        return _missing("No point of this curve is a finite number.")
    extra = [] if plot.reference is None else [plot.reference]
    frame = Frame(_exact(xs), axes.padded([*ys, *edges, *extra]))
    parts = [frame.draw(plot.x_label, plot.y_label)]
    if plot.reference is not None:
        y = frame.at_y(plot.reference)
        parts.append(axes.line(frame.left, y, frame.right, y, "reference"))
    for index, (series, points) in enumerate(zip(plot.series, drawn, strict=True)):
        parts.append(_band(frame, points, index))
        parts.append(_line(frame, points, index))
        parts.append(_values(frame, series, shown[index], index, plot))
    return _svg(parts, frame.height, f"{plot.title}. {_spoken(plot)}")


def swatch(index: int, markers: bool) -> Markup:
    """The sign of a series in the legend: its color, dash and marker."""
    marker = Markup('<path class="mark s{}" d="{}" transform="translate(14 7)"/>').format(index, _MARKERS[index])
    stroke = axes.line(0, 7, 28, 7, f"line s{index}")
    return Markup('<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true">{}{}</svg>').format(
        stroke, marker if markers else ""
    )


def reference_swatch() -> Markup:
    """The sign of a curve's reference line in the legend."""
    return Markup('<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true">{}</svg>').format(
        axes.line(0, 7, 28, 7, "reference")
    )


def reliability(plot: Reliability) -> Markup:
    """Observed against stated rates with their intervals; on the diagonal the judge is calibrated."""
    start = 0.5 if all(point.predicted >= 0.5 for point in plot.points) else 0.0
    lowest = min((point.observed.low for point in plot.points), default=start)
    floor = start if lowest >= start else math.floor(lowest * 10) / 10
    frame = Frame((start, 1.0), (floor, 1.0), height=270)
    parts = [frame.draw(plot.x_label, plot.y_label)]
    parts.append(axes.line(frame.at_x(start), frame.at_y(start), frame.at_x(1), frame.at_y(1), "reference"))
    for point in plot.points:
        x, seen = frame.at_x(point.predicted), point.observed
        parts.append(axes.line(x, frame.at_y(seen.low), x, frame.at_y(seen.high), "whisker s0"))
        label = (
            f"stated {numbers.number(point.predicted, '%')}, came true {numbers.value(seen, '%')} "
            f"{numbers.interval(seen, '%')}, n = {seen.n}"
        )
        parts.append(_mark(x, frame.at_y(seen.value), 0, label))
    return _svg(parts, frame.height, f"{plot.title}: {len(plot.points)} bins against the diagonal.")


def strip(headline: Headline) -> Markup:
    """The interval of a headline figure on a line, with the reference as a tick."""
    estimate, width, height = headline.estimate, 240.0, 40
    known = [estimate.low, estimate.high, estimate.value]
    known += [] if headline.reference is None else [headline.reference]
    low, high = headline.span or axes.padded(known)

    def at(value: float) -> float:
        return 4 + (min(max(value, low), high) - low) / (high - low) * (width - 8)

    parts = [axes.line(4, 12, width - 4, 12, "track")]
    ends = [numbers.number(bound, headline.unit) for bound in headline.span] if headline.span else ["", ""]
    parts += [axes.text(2, 36, ends[0], "tick"), axes.text(width - 2, 36, ends[1], "tick end")]
    if headline.reference is not None:
        x, half = at(headline.reference), GLYPH / 2 * len(headline.reference_label)
        parts.append(axes.line(x, 2, x, 22, "reference"))
        left, right = 8 + GLYPH * len(ends[0]) + half, width - 8 - GLYPH * len(ends[1]) - half
        parts.append(axes.text(max(left, min(x, right)), 36, headline.reference_label, "tick middle"))
    parts.append(axes.line(at(estimate.low), 12, at(estimate.high), 12, "whisker s0 wide"))
    parts.append(_mark(at(estimate.value), 12, 0, ""))
    spoken = f"{numbers.value(estimate, headline.unit)} {numbers.interval(estimate, headline.unit)}"
    return _svg(parts, height, spoken, int(width))


Point = tuple[float, float, float, float]


def _points(series: Series) -> list[Point]:
    """The points (x, y, low, high) of a series; a y that is no number stays, for the line breaks there."""
    low, high = series.low or series.y, series.high or series.y
    return [point for point in zip(series.x, series.y, low, high, strict=True) if math.isfinite(point[0])]


def _finite(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if math.isfinite(point[1])]


def _thin(points: list[Point]) -> list[Point]:
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(len(points) / (_MOST_POINTS / 2))
    kept = points[:1]
    for start in range(1, len(points) - 1, size):
        bucket = points[start : min(start + size, len(points) - 1)]
        known = _finite(bucket)
        extremes = [pick(known, key=lambda point: point[1]) for pick in (min, max)] if known else []
        gap = [point for point in bucket if not math.isfinite(point[1])][:1]
        kept += sorted([*extremes, *gap], key=lambda point: point[0])
    return kept + points[-1:]


def _band(frame: Frame, points: Sequence[Point], index: int) -> Markup:
    banded = [point for point in points if math.isfinite(point[2]) and math.isfinite(point[3])]
    if not any(low < high for _, _, low, high in banded):
        return Markup("")
    upper = [f"{frame.at_x(x):.1f},{frame.at_y(high):.1f}" for x, _, _, high in banded]
    lower = [f"{frame.at_x(x):.1f},{frame.at_y(low):.1f}" for x, _, low, _ in reversed(banded)]
    return Markup('<path class="band s{}" d="M{}Z"/>').format(index, "L".join(upper + lower))


def _line(frame: Frame, points: Sequence[Point], index: int) -> Markup:
    path, pen = "", "M"
    for x, y, *_ in points:
        if math.isfinite(y):
            path += f"{pen}{frame.at_x(x):.1f},{frame.at_y(y):.1f}"
        pen = "L" if math.isfinite(y) else "M"
    return Markup('<path class="line s{}" d="{}"/>').format(index, path) if "L" in path else Markup("")


def _values(frame: Frame, series: Series, points: Sequence[Point], index: int, plot: Curve) -> Markup:
    """Markers, or invisible disks, whose title names the values under the pointer."""
    every = 1 if series.markers else max(1, math.ceil(len(points) / _MOST_LABELS))
    parts = []
    for x, y, low, high in points[::every]:
        band = f" [{numbers.number(low)}, {numbers.number(high)}]" if low < high else ""
        label = f"{series.name}: {plot.x_label} {numbers.number(x)}, {plot.y_label} {numbers.number(y)}{band}"
        if series.markers or len(points) == 1:
            parts.append(_mark(frame.at_x(x), frame.at_y(y), index, label))
        else:
            place = frame.at_x(x), frame.at_y(y)
            disk = Markup('<circle class="hover s{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>')
            parts.append(disk.format(index, *place, label))
    return Markup("").join(parts)


def _mark(x: float, y: float, index: int, label: str) -> Markup:
    title = Markup("<title>{}</title>").format(label) if label else ""
    shape = Markup('<path class="mark s{}" d="{}" transform="translate({:.1f} {:.1f})">{}</path>')
    return shape.format(index, _MARKERS[index], x, y, title)


def _svg(parts: Sequence[Markup], height: int, spoken: str, width: int = WIDTH) -> Markup:
    frame = Markup('<svg class="figure" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return frame.format(width, height, spoken, Markup("").join(parts))


def _missing(words: str) -> Markup:
    return Markup('<p class="missing">{}</p>').format(words)


def _exact(xs: list[float]) -> tuple[float, float]:
    low, high = min(xs), max(xs)
    return (low, high) if high - low > 1e-9 * max(abs(low), abs(high)) else axes.padded(xs)


def _spoken(plot: Curve) -> str:
    """What the lines do, in words, for those who cannot see them."""
    said = []
    for series in plot.series:
        points = _finite(_points(series))
        if points:
            (x0, y0, *_), (x1, y1, *_) = points[0], points[-1]
            said.append(
                f"{series.name} goes from {numbers.number(y0)} at {plot.x_label} {numbers.number(x0)} "
                f"to {numbers.number(y1)} at {numbers.number(x1)}"
            )
    return "; ".join(said) + "."
