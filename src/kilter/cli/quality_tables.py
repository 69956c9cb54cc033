"""Tables of `kilter feedback`'s numbers: every one with its interval and n, every refusal with its reason."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from kilter.feedback.quality import (
        AspectAggregate,
        Basis,
        Change,
        Confusion,
        Disagreement,
        RaterQuality,
        SourceStrengths,
        TaskAggregate,
        TaskAgreement,
        TaskDisagreements,
        TaskRaters,
        Verdict,
    )
    from kilter.stats import Estimate, Finding

TEXT = 100  # characters of a text that are shown


class _Page:
    """A console, and the reasons of refusals, which are told once below the tables."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = 1000  # a file or another program reads this: lines must stay whole
        self._refused: dict[str, list[str]] = {}

    def head(self, what: str, basis: Basis) -> None:
        who = escape(basis.who).replace("SIMULATED", "[bold yellow]SIMULATED[/]")
        counts = f"{_many(basis.items, 'item')}, {_many(basis.judgments, 'judgment')} of work"
        self.console.print(f"[bold]{what}[/] in {escape(basis.task)}: {who}, {counts}")

    def line(self, text: str = "") -> None:
        self.console.print(text)

    def table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        options: dict[str, Any] = {"title": escape(title), "title_justify": "left", "box": None, "pad_edge": False}
        table = Table(*headings, show_header=any(headings), **options)
        for cells in rows:
            table.add_row(*map(escape, cells))
        if table.row_count:
            self.console.print()
            self.console.print(table)

    def refuse(self, what: str, reason: str | None) -> str:
        """Keep the reason for below; what stands in the table meanwhile."""
        self._refused.setdefault(reason or "", []).append(what)
        return "-"

    def shown(self, what: str, found: Finding, digits: int = 2, n: bool = True) -> str:
        """The estimate, or a dash whose reason follows below."""
        return self.refuse(what, found.reason) if found.estimate is None else _shown(found.estimate, digits, n)

    def reasons(self) -> None:
        """What was refused, and why; equal reasons once."""
        if self._refused:
            self.console.print()
        for reason, what in self._refused.items():
            named = ", ".join(what[:4]) + (f" and {len(what) - 4} more" if len(what) > 4 else "")
            self.console.print(f"[dim]- {escape(named)}:[/] {escape(reason)}")


def show_agreement(found: TaskAgreement) -> None:
    """The coefficients of each question."""
    page = _Page()
    page.head("Agreement", found.basis)
    rows = []
    for one in found.aspects:
        measured, title = one.coefficients, one.title
        cells = [page.shown(f"{name} of {title}", getattr(measured, name), n=False) for name in ("alpha", "ac1", "raw")]
        said = _shares(measured.prevalence)
        rows.append((title, measured.level, *cells, _many(measured.items, one.unit), str(measured.raters), said))
    headings = ("question", "level", "alpha", "AC1", "raw", "judged by 2+", "raters", "said")
    page.table("", headings, rows)
    page.table(
        "Rankings", ("question", "Kendall's tau", "items", "raters"),
        [
            (name, page.shown(f"tau of {name}", one.tau), str(one.items), str(one.raters))
            for name, one in found.rankings.items()
        ],
    )  # fmt: skip
    names = {"alpha": "alpha over characters", "typed_alpha": "by type", "f1": "matched F1", "typed_f1": "by type"}
    page.table(
        "Marked passages", ("question", *names.values(), "responses", "raters"),
        [
            (
                name, *(page.shown(f"{said} of {name}", getattr(one, key)) for key, said in names.items()),
                str(one.texts), str(one.raters),
            )
            for name, one in found.passages.items()
        ],
    )  # fmt: skip
    for name, why in found.refused.items():
        page.refuse(name, why)
    page.reasons()


def show_raters(found: TaskRaters) -> None:
    """A line for each rater, and what to look at."""
    page = _Page()
    page.head("Raters", found.basis)
    everybody = [("same answer as others", found.others), ("right on gold", found.gold)]
    told = [f"{what} {page.shown(f'{what}, all raters', one)}" for what, one in everybody if one.estimate]
    if told:
        page.line(f"All together: {', '.join(told)}")
    headings = (
        "rater", "items", "median time", "items per active hour", "right on gold", "same as others", "first place",
        "skipped", "notes",
    )  # fmt: skip
    page.table("", headings, [_rater_row(page, one) for one in found.raters])
    page.reasons()
    noted = [(one.judge, note) for one in found.raters for note in one.notes]
    if noted:
        page.line("\n[bold]To look at[/] (one interval in twenty misses by chance: no verdict on a person)")
    for judge, note in noted:
        page.line(f"  {escape(judge)} {escape(note)}")
    page.line(f"\nOne of them: kilter feedback raters {escape(found.basis.task)} {escape(found.raters[0].judge)}")


def _rater_row(page: _Page, one: RaterQuality) -> tuple[str, ...]:
    name = one.judge
    return (
        name, str(one.items), page.shown(f"time of {name}", one.pace.seconds, 1, n=False) + _if(one.pace.seconds, " s"),
        page.shown(f"pace of {name}", one.pace.per_hour, 0, n=False), page.shown(f"gold of {name}", one.gold),
        page.shown(f"agreement of {name}", one.others), page.shown(f"first place of {name}", one.position),
        _shown(one.skipped), str(len(one.notes)),
    )  # fmt: skip


def show_rater(found: TaskRaters, one: RaterQuality) -> None:
    """All that is known of one rater."""
    page = _Page()
    page.head("One rater", found.basis)
    mark = "  [bold yellow]SIMULATED[/]" if one.simulated else ""
    page.line(f"\n[bold]{escape(one.judge)}[/]{mark}  {_day(one.first)} to {_day(one.last)}")
    pace = one.pace
    quartiles = f"; middle half {pace.quartiles[0]:.1f} to {pace.quartiles[1]:.1f} s" if pace.quartiles else ""
    below = f"answered in less than {pace.quick_below:.1f} s" if pace.quick_below else "answered quickly"
    rows = [
        ("items judged", f"{one.items} ({_many(one.judgments, 'judgment')})"),
        ("median time", page.shown("median time", pace.seconds, 1) + _if(pace.seconds, f", seconds{quartiles}")),
        ("items per active hour", page.shown("items per active hour", pace.per_hour, 0)),
        (below, page.shown("quick answers", pace.quick)),
        ("right on gold", page.shown("accuracy", one.gold)),
        ("  change", _change(page, "change of accuracy", one.gold_change)),
        ("same answer as others", page.shown("agreement", one.others)),
        ("  change", _change(page, "change of agreement", one.others_change)),
        ("time, change", _change(page, "change of time", one.time_change, ratio=True)),
        ("first place", page.shown("first place", one.position)),
        *(
            (f"grades above others, {title}", page.shown(f"leniency, {title}", gap))
            for title, gap in one.leniency.items()
        ),
        ("skipped", _shown(one.skipped)),
        ("flagged", _shown(one.flagged)),
        *((f"ability by GLAD, {title}", _shown(ability)) for title, ability in one.ability.items()),
    ]
    page.table("", ("", ""), rows)
    for confusion in one.confusion:
        _show_confusion(page, confusion)
    for what, why in found.models_refused.items():
        page.refuse(what, why)
    page.reasons()
    for note in one.notes:
        page.line(f"\n[bold]To look at:[/] {escape(note)}")


def _show_confusion(page: _Page, one: Confusion) -> None:
    title = f"{one.question}: {one.aspect}" if one.aspect else one.question
    rows = []
    for truth, row, low, high, seen in zip(one.values, one.matrix, one.low, one.high, one.seen, strict=True):
        cells = [f"{p:.2f} ({a:.2f} to {b:.2f})" for p, a, b in zip(row, low, high, strict=True)]
        rows.append((_value(truth), *cells, f"{seen:.0f}"))
    page.table(
        f"Confusion by Dawid-Skene, {title}: accuracy {_shown(one.accuracy)}",
        ("truth", *(f"says {_value(value)}" for value in one.values), "expected n"), rows,
    )  # fmt: skip


def show_aggregate(found: TaskAggregate, limit: int | None) -> None:
    """The verdicts of each question, strengths of the models, and agreed passages."""
    page = _Page()
    page.head("Verdicts", found.basis)
    for aspect in found.aspects:
        _show_verdicts(page, aspect, limit)
    for name, passages in found.passages.items():
        rows = [
            (one.artifact[:8], str(one.response), f"{one.start} to {one.end}", _shown(one.share), _shares_of(one.types))
            for one in passages[:limit]
        ]
        page.table(
            _cut(f"Passages that half of the raters marked, {name}", len(rows), len(passages)),
            ("item", "response", "characters", "marked by", "types"), rows,
        )  # fmt: skip
    for name, sources in found.sources.items():
        _show_sources(page, name, sources)
    for name, why in found.sources_refused.items():
        page.refuse(f"strengths by {name}", why)
    page.reasons()


def _show_verdicts(page: _Page, aspect: AspectAggregate, limit: int | None) -> None:
    graded = any(one.mean is not None for one in aspect.verdicts)
    parts = any(one.part for one in aspect.verdicts)
    for model, why in (("Dawid-Skene", aspect.dawid_skene_refused), ("GLAD", aspect.glad_refused)):
        if why and not graded:
            page.refuse(f"{model} of {aspect.title}", why)
    headings = ["item", *([aspect.unit] if parts else []), "majority", "share"]
    headings += ["mean grade"] if graded else ["Dawid-Skene", "GLAD", "difficulty"]
    decided = any(one.adjudicated is not None for one in aspect.verdicts)
    headings += ["adjudicated"] if decided else []
    rows = []
    for one in aspect.verdicts[:limit]:
        majority = " = ".join(map(_value, one.tied)) if one.tied else _value(one.majority)
        cells = [one.artifact[:8], *([_part(one.part)] if parts else []), majority, _shown(one.share)]
        cells += [_grade(page, aspect.title, one)] if graded else _posteriors(one)
        ruling = "-" if one.adjudicated is None else _value(one.adjudicated)
        rows.append(cells + ([ruling] if decided else []))
    page.table(_cut(aspect.title, len(rows), len(aspect.verdicts)), headings, rows)


def _grade(page: _Page, title: str, one: Verdict) -> str:
    if one.grade is not None and one.grade.estimate is not None:
        return _shown(one.grade.estimate)
    page.refuse(f"interval of {title}", one.grade.reason if one.grade else None)
    return f"{one.mean:.2f}, n {one.raters}"


def _posteriors(one: Verdict) -> list[str]:
    difficulty = "-" if one.difficulty is None else f"{one.difficulty:.2f}"
    return [*("-" if found is None else _best(found) for found in (one.dawid_skene, one.glad)), difficulty]


def _show_sources(page: _Page, name: str, found: SourceStrengths) -> None:
    fit = found.fit
    rows = [
        (
            str(fit.contestants[k]), _shown(fit.strengths[k], n=False), _chance(fit.best[k], fit.replicates),
            _shown(found.win_rates[str(fit.contestants[k])]),
        )
        for k in found.order
    ]  # fmt: skip
    page.table(f"Models by {name}: Bradley-Terry", ("model", "strength, log odds", "P(best)", "win rate"), rows)
    counted = f"{_many(found.comparisons, 'comparison')}, {found.ties} of them level"
    page.line(f"{counted}; P(best) is a share of {fit.replicates:,} bootstrap replicates over prompts")
    page.line(f"Being shown first adds, in log odds: {page.shown(f'position effect of {name}', fit.position)}")
    for why, count in found.left_out.items():
        page.line(f"[dim]{_many(count, 'judgment')} left out: {escape(why)}[/]")


def show_disagreements(found: TaskDisagreements) -> None:
    """Each item with what its raters said."""
    page = _Page()
    page.head("Disagreements", found.basis)
    page.line(
        f"{len(found.found)} shown of {found.compared:,} that two raters or more judged; 0: all said the same, 1: as "
        "far apart as can be"
    )
    for one in found.found:
        _show_disagreement(page, one)
    if not found.found:
        page.line("Nobody differs.")


def _show_disagreement(page: _Page, one: Disagreement) -> None:
    page.line(
        f"\n[bold]{one.score:.2f}[/]  item {one.artifact[:8]}  {escape(one.question)}  {_many(one.raters, 'rater')}"
    )
    if one.item.prompt:
        page.line(f"  [dim]prompt[/]  {_text(str(one.item.prompt[-1]['content']))}")
    for number, response in enumerate(one.item.responses):
        page.line(f"  [dim]response {number}[/]  {_text(response)}")
    for answer in one.answers:
        spent = answer.judgment.active_ms
        seconds = "" if spent is None else f"  [dim]{spent / 1000:.0f} s[/]"
        marked = "".join(
            f"  {span['response']}:{span['start']}-{span['end']} {escape(str(span['type']))}"
            for span in answer.judgment.spans or ()
        )
        said = escape(json.dumps(answer.value, ensure_ascii=False))
        page.line(f"  {escape(answer.judge)}  [bold]{said}[/]{marked}{seconds}")
    if one.decided is not None:
        said = escape(json.dumps(one.decided.value, ensure_ascii=False))
        page.line(f"  adjudicated  [bold]{said}[/]  by {escape(one.decided.judge)}")


def _shown(one: Estimate, digits: int = 2, n: bool = True) -> str:
    """0.82 (0.75 to 0.88), n 120"""
    text = f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"
    return f"{text}, n {one.n:,}" if n else text


def _change(page: _Page, what: str, one: Change, ratio: bool = False) -> str:
    if one.drift is None:
        return page.refuse(what, one.reason)
    drift = one.drift
    unit = " s" if ratio else ""
    factor = "times " if ratio else ""
    return f"{drift.first:.2f}{unit}, then {drift.second:.2f}{unit}: {factor}{_shown(drift.change)}"


def _chance(share: float, replicates: int) -> str:
    """P(best) is never finer than one replicate."""
    if share in (0.0, 1.0):
        return f"< {1 / replicates:.4f}" if share == 0 else f"> {1 - 1 / replicates:.4f}"
    return f"{share:.3f}"


def _best(posterior: dict[Hashable, float]) -> str:
    value = max(posterior, key=lambda one: posterior[one])
    p = posterior[value]
    return f"{_value(value)} {'>0.99' if p > 0.99 else f'{p:.2f}'}"


def _shares(prevalence: dict[Hashable, float]) -> str:
    common = sorted(prevalence.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{_value(value)} {share:.0%}" for value, share in common[:5])
    return told + (" ..." if len(common) > 5 else "")


def _shares_of(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _part(part: Sequence[int]) -> str:
    return " over ".join(map(str, part))


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _if(found: Finding, text: str) -> str:
    return text if found.estimate is not None else ""


def _cut(title: str, shown: int, of: int) -> str:
    return title if shown == of else f"{title} ({shown} of {of:,}; --limit 0 shows all)"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _text(text: str) -> str:
    one_line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return escape(one_line if len(one_line) <= TEXT else one_line[: TEXT - 4] + " ...")
