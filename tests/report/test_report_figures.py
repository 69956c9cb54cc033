from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilter.report import Curve, Headline, Reliability, Series, figures
from kilter.report.axes import WIDTH, Frame, labels, padded, ticks
from kilter.stats import Estimate, ReliabilityPoint, wilson

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))


def plot(*series: Series, reference: float | None = None) -> str:
    return str(figures.curve(Curve("t", "x", "y", series, "c", reference, "level")))


def coordinates(svg: str) -> list[float]:
    return [float(n) for n in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy)="([^"]+)"', svg)]


@given(st.one_of(st.sampled_from([0.0, 1.0, -1.0]), numbers), st.integers(-6, 6), st.floats(1, 10))
def test_ticks_are_round_inside_and_about_five(low: float, power: int, mantissa: float):
    width = max(mantissa * 10.0**power, 1e-8 * abs(low))
    found = ticks(low, low + width, 5)
    assert 3 <= len(found) <= 9
    slack = 1e-9 * (abs(low) + width)
    assert all(low - slack <= tick <= low + width + slack for tick in found)
    assert len(set(labels(found))) == len(found)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 0.5, 1.0], ["0", "0.5", "1.0"]),
        ([-2.0, 0.0, 2.0], ["−2", "0", "2"]),
        ([0.998, 1.0, 1.002], ["0.998", "1.000", "1.002"]),
        ([0.0, 5000.0, 10000.0], ["0", "5k", "10k"]),
        ([0.0, 2.5e7, 5e7], ["0", "25M", "50M"]),
        ([0.0, 1e-5, 2e-5], ["0", "1e−5", "2e−5"]),
        ([5e-6, 1e-5, 1.5e-5], ["0.5e−5", "1.0e−5", "1.5e−5"]),
        ([1.0, 1.00001, 1.00002], ["1.00000", "1.00001", "1.00002"]),
    ],
)
def test_tick_labels(values: list[float], shown: list[str]):
    assert labels(values) == shown


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=50), st.one_of(st.none(), numbers))
def test_any_numbers_are_drawn_inside_the_figure(points, reference):
    x, y = zip(*points, strict=True)
    svg = plot(Series("s", x, y, markers=True), reference=reference)
    assert "nan" not in svg
    assert "inf" not in svg
    assert all(-1 <= place <= WIDTH + 1 for place in coordinates(svg))


def test_a_frame_maps_its_corners():
    frame = Frame((0.0, 10.0), (-1.0, 1.0))
    assert frame.at_x(0) == frame.left
    assert frame.at_x(10) == frame.right
    assert frame.at_y(1) < frame.at_y(0) < frame.at_y(-1)
    assert padded([3.0]) == pytest.approx((2.7, 3.3))
    assert padded([0.0, 0.0]) == (-1.0, 1.0)


def test_a_gap_breaks_the_line():
    svg = plot(Series("s", (0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 2.0, math.nan, 2.0, 1.0)))
    path = re.search(r'class="line s0" d="([^"]+)"', svg)
    assert path
    assert [path[1].count(pen) for pen in "ML"] == [2, 2]
    assert "No point" in plot(Series("s", (0.0, 1.0), (math.nan, math.inf)))


def test_a_long_line_is_thinned_to_its_extremes():
    y = [math.sin(n / 50) for n in range(10_000)]
    y[4321], y[7777], y[6000] = 9.0, -9.0, math.nan
    whole = Series("s", tuple(float(n) for n in range(10_000)), tuple(y))
    kept = figures._thin(figures._points(whole))
    assert len(kept) < 320
    assert 6000.0 in [x for x, y, *_ in kept if math.isnan(y)]
    assert [kept[0][:2], kept[-1][:2]] == [(0.0, y[0]), (9999.0, y[-1])]
    assert {(4321.0, 9.0), (7777.0, -9.0)} <= {point[:2] for point in kept}
    assert [x for x, *_ in kept] == sorted(x for x, *_ in kept)


def test_series_differ_by_dash_marker_and_color():
    style = (Path(figures.__file__).parent / "style.css").read_text("utf-8")
    dashes = re.findall(r"\.line\.s(\d) \{ stroke-dasharray: ([^;]+);", style)
    assert [index for index, _ in dashes] == ["1", "2", "3", "4"]
    assert len({dash for _, dash in dashes}) == 4
    assert len({str(figures.swatch(index, True)) for index in range(5)}) == 5


def test_figures_speak_and_name_their_points():
    series = Series("gold", (0.0, 10.0), (0.46, 0.71), (0.4, 0.68), (0.5, 0.74), markers=True)
    svg = plot(series)
    assert 'aria-label="t. gold goes from 0.46 at x 0 to 0.71 at 10."' in svg
    assert "<title>gold: x 10, y 0.71 [0.68, 0.74]</title>" in svg
    assert 'class="band s0"' in svg


def test_the_diagonal_starts_where_the_data_do():
    folded = (ReliabilityPoint(0.55, wilson(60, 100)), ReliabilityPoint(0.9, wilson(80, 100)))
    plain = (ReliabilityPoint(0.1, wilson(5, 100)), *folded)
    for points, first in ((folded, ">0.5<"), (plain, ">0<")):
        svg = str(figures.reliability(Reliability("r", points, "c")))
        assert first in svg
        assert svg.count("whisker") == len(points)
        assert "stated 90%, came true 80.0% [71.1, 86.7], n = 100" in svg
        assert all(-1 <= place <= WIDTH + 1 for place in coordinates(svg))


def test_the_strip_stays_inside_and_keeps_its_labels_apart():
    estimate = Estimate(0.99, 0.97, 1.0, 50, "x")
    svg = str(figures.strip(Headline("h", estimate, "%", "", (0, 1), 0.01, "just guessing")))
    assert ">0%<" in svg
    assert ">100%<" in svg
    assert all(0 <= place <= 240 for place in coordinates(svg))
    middle = re.search(r'class="tick middle" x="([\d.]+)"', svg)
    assert middle
    assert float(middle[1]) > 50
    assert "whisker" in str(figures.strip(Headline("h", Estimate.exact(3.0), reference=3.0)))


def colors(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_text_and_lines_stand_out_in_light_and_dark():
    style = (Path(figures.__file__).parent / "style.css").read_text("utf-8")
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", style)
    light, by_system, by_switch = (colors(block) for block in blocks[:3])
    assert by_system == by_switch
    assert set(by_system) == set(light)
    for theme in (light, by_system):
        for ground in ("page", "raised", "sunken", "warn"):
            assert contrast(theme["text"], theme[ground]) >= 7
        for ground in ("page", "raised"):
            for ink in ("soft", "link", "good", "bad"):
                assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
            for ink in ("s0", "s1", "s2", "s3", "s4"):
                assert contrast(theme[ink], theme[ground]) >= 4, (ink, ground)
