"""Write the tables of docs/oversight.md and its two plots from bench/results/oversight.json.

python docs/make_oversight.py            write them
python docs/make_oversight.py --check    only say whether they are out of date (exit code 1)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kilter.report.content import Curve, Series
from kilter.report.figures import curve, swatch

PAGE = Path(__file__).parent / "oversight.md"
RESULTS = Path(__file__).parent.parent / "bench" / "results" / "oversight.json"
FINDS, INVENTS = (0.2, 0.4, 0.6, 0.8, 1.0), (0.05, 0.2, 0.5)
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
ARMS = ("none", "critiques", "placebo", "misleading", "oracle")
STYLE = """
svg { color-scheme: light dark; --text: #1f2328; --soft: #59636e; --rule: #d8dee4; --s0: #0b62c4; --s1: #b35900;
  --s2: #6639ba; }
@media (prefers-color-scheme: dark) { svg { --text: #e6edf3; --soft: #9198a1; --rule: #3d444d; --s0: #58a6ff;
  --s1: #f0a050; --s2: #bc8cff; } }
text { font: 12px system-ui, sans-serif; fill: var(--soft); } .name, .legend { fill: var(--text); }
.end { text-anchor: end; } .middle { text-anchor: middle; } .grid, .axis { stroke: var(--rule); }
.reference { stroke: var(--soft); stroke-dasharray: 4 3; } .line { fill: none; stroke-width: 1.9; }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); } .line { stroke: currentColor; }
.band { fill: currentColor; fill-opacity: 0.14; stroke: none; } .mark { fill: currentColor; }
.line.s1 { stroke-dasharray: 7 4; } .line.s2 { stroke-dasharray: 2 3.5; }
"""

Ours = dict[str, Any]


def measured() -> dict[str, Ours]:
    """What was measured, by the names of the rows."""
    return {one["row"]: one["ours"] for one in json.loads(RESULTS.read_text(encoding="utf-8"))}


def critic_table(rows: dict[str, Ours]) -> str:
    """What the critic names, before and after it was trained."""
    lines = [
        "| SmolLM2-135M | surest of a flaw | over a passage at random | flawed before right |",
        "|---|---|---|---|",
    ]
    for how, name in (("not trained, curve fitted", "not trained"), ("trained on right summaries", "trained")):
        cells = [
            _share(rows[f"135M critic, {name}: {what}"])
            for what in ("a flaw is what it is surest of", "the same, over a passage at random",
                         "flawed passages before right ones")
        ]  # fmt: skip
        lines.append(f"| {how} | {cells[0]} | + {cells[1].replace(' %', ' points', 1)} | {cells[2]} |")
    return "\n".join(lines)


def help_table(rows: dict[str, Ours]) -> str:
    """What its claims are worth to simulated raters."""
    lines = [
        "| named at P(wrong) of | flaws found | right passages marked | placebo: flaws found |",
        "|---|---|---|---|",
    ]
    for threshold in THRESHOLDS:
        cells = [
            _ratio(rows[f"135M critic at {threshold:g}, {what}, against no help"])
            for what in ("critiques: flaws found", "critiques: right passages marked", "placebo: flaws found")
        ]
        lines.append(f"| {threshold:g} and more | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curve_table(rows: dict[str, Ours]) -> str:
    """Help against the quality of a program critic."""
    lines = [
        "| critic finds | invents per case | stories: flaws found | right marked | code: flaws found | right marked |",
        "|---|---|---|---|---|---|",
    ]
    for finds in FINDS:
        for invents in INVENTS:
            cells = [
                _ratio(rows[f"{testbed}, {_critic(finds, invents)}: {what}, against no help"])
                for testbed in ("stories", "code") for what in ("flaws found", "right passages marked")
            ]  # fmt: skip
            lines.append(f"| {finds:g} | {invents:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def arms_table(rows: dict[str, Ours]) -> str:
    """Bugs and flaws included after help, spurious ones, and wrong claims accepted, by arm."""
    lines = [
        "| testbed | arm | flaws found per case | right passages marked per case | found, against no help "
        "| wrong claims accepted |",
        "|---|---|---|---|---|---|",
    ]
    for testbed in ("stories", "code"):
        for arm in ARMS:
            at = f"{testbed}, {arm}: "
            cells = [
                _number(rows[f"{at}flaws found"]), _number(rows[f"{at}right passages marked"]),
                _ratio(rows.get(f"{at}flaws found, against no help")), _share(rows.get(f"{at}wrong claims accepted")),
            ]  # fmt: skip
            lines.append(f"| {testbed} | {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rrm_table(rows: dict[str, Ours]) -> str:
    """Accuracy of the reward model on hard pairs."""
    known = sorted({int(name.split(", ")[2].split()[0]) for name in rows if name.startswith("recursive reward")})
    lines = ["| labels | depth 0 | depth 1 | depth 2 |", "|---|---|---|---|"]
    for labels in known:
        cells = [
            _share(rows[f"recursive reward modeling, depth {depth}, {labels} labels: accuracy"]) for depth in range(3)
        ]
        lines.append(f"| {labels} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def more_table(rows: dict[str, Ours]) -> str:
    """The GDC gap and process rewards."""
    lines = ["| SmolLM2-135M | measured | chance |", "|---|---|---|"]
    for how in ("asked", "by surprise"):
        for name in ("generator", "discriminator", "critic"):
            row = rows[f"GDC, {how}: {name}"]
            if how == "asked" or name != "generator":  # which prefers by likelihood, either way
                lines.append(f"| {name}, {how} | {_share(row)} | 50 % |")
    for where in ("new problems", "new structures"):
        row = rows[f"process reward, {where}: picks the right solution"]
        lines.append(f"| process reward model, {where}: picks the right of two solutions | {_share(row)} | 50 % |")
    return "\n".join(lines)


def trust_table(rows: dict[str, Ours]) -> str:
    """What the statistics show where there is nothing, and where something was planted."""
    lines = ["| | model | two-way bootstrap | permutation test |", "|---|---|---|---|"]
    null = [_share(rows[f"A/A: an effect is shown, {how}"], 1) for how in ("model", "resampled", "shuffled")]
    held = [_share(rows[f"planted ratio held by the 95 % interval, {how}"], 1) for how in ("model", "resampled")]
    lines.append(
        "| an effect is shown where there is none (1,000 experiments; at most 5 %) | " + " | ".join(null) + " |"
    )
    lines.append("| a planted ratio of 1.5 lies in the interval (300 experiments; 95 %) | " + " | ".join(held) + " | |")
    lines.append(f"| the planted ratio of 1.5, estimated | {_number(rows['planted ratio of 1.5, estimated'])} | | |")
    return "\n".join(lines)


def _critic(finds: float, invents: float) -> str:
    return f"a critic that finds {finds:g} and invents {invents:g}"


def _share(row: Ours | None, digits: int = 0) -> str:
    if row is None:
        return ""
    value, low, high = (f"{100 * row[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} % [{low}, {high}]"


def _ratio(row: Ours | None) -> str:
    return "" if row is None else f"{row['value']:.2f} × [{row['low']:.2f}, {row['high']:.2f}]"


def _number(row: Ours) -> str:
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


TABLES: dict[str, Callable[[dict[str, Ours]], str]] = {
    "critic": critic_table, "help": help_table, "curve": curve_table, "arms": arms_table, "more": more_table,
    "rrm": rrm_table, "trust": trust_table,
}  # fmt: skip


def plots(rows: dict[str, Ours]) -> dict[str, str]:
    """The two plots by their files' names."""
    found = [(name, name, 0.2) for name in ("stories", "code")]
    false = [(f"invents {invents:g}", "stories", invents) for invents in INVENTS]
    return {
        "help_found.svg": _plot("Flaws found with help, against none", "flaws found", found, rows),
        "help_false.svg": _plot("Right passages marked, against none", "right passages marked", false, rows),
    }


def _plot(title: str, what: str, lines: list[tuple[str, str, float]], rows: dict[str, Ours]) -> str:
    series = []
    for name, testbed, invents in lines:
        known = [rows[f"{testbed}, {_critic(finds, invents)}: {what}, against no help"] for finds in FINDS]
        value, low, high = (tuple(row[part] for row in known) for part in ("value", "low", "high"))
        series.append(Series(name, FINDS, value, low, high, markers=True))
    drawn = curve(Curve(title, "share of flaws that the critic finds", title, tuple(series), "", 1.0))
    height = int(drawn.split('viewBox="0 0 340 ')[1].split('"')[0])
    legend = Markup("").join(_legend(one.name, index, height) for index, one in enumerate(series))
    whole = height + 14 + 20 * ((len(series) + 1) // 2)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 340 {}" width="440" role="img" aria-label="{}">'
        '<style>{}</style><svg width="340" height="{}" viewBox="0 0 340 {}">{}</svg>{}</svg>\n'
    ).format(whole, title, Markup(STYLE), height, height, drawn, legend)


def _legend(name: str, index: int, top: int) -> Markup:
    """A sign and a name, two in a row, under the plot."""
    x, y = 10 + 165 * (index % 2), top + 8 + 20 * (index // 2)
    sign = Markup('<svg width="28" height="14">{}</svg>').format(swatch(index, True))
    return Markup('<g transform="translate({} {})">{}<text class="legend" x="34" y="11">{}</text></g>').format(
        x, y, sign, name
    )


def filled(text: str) -> str:
    """A page with the tables put between their marks."""
    rows = measured()
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, mark, rest = text.partition(start)
        if not mark:
            raise SystemExit(f"{PAGE} has no mark {start.strip()}")
        text = f"{before}{start}{make(rows)}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Write the page and the plots, or compare."""
    made = {PAGE: filled(PAGE.read_text(encoding="utf-8"))}
    made |= {PAGE.parent / name: text for name, text in plots(measured()).items()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        sys.exit(int(bool(stale)))
    for path in stale:
        path.write_text(made[path], encoding="utf-8")


if __name__ == "__main__":
    main()
