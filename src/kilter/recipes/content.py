"""What the report of a recipe says, from its figures and the outputs of its steps."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kilter.recipes.curves import curves_of
from kilter.recipes.figures import Figures
from kilter.recipes.measures import headlines_of, measures_of
from kilter.recipes.planned import config_of, kind_of
from kilter.recipes.statements import METHODS, limits, notices, summary
from kilter.recipes.step import Context, Output
from kilter.record import environment
from kilter.report import Pair, Rater, Reliability, ReportContent, Reproduction, Response, Stage
from kilter.training.loop import read_metrics
from kilter.training.seeds import permutation

AGREEMENT = "How often the rater orders a pair of responses as the others who judged it do."


def build_content(figures: Figures, context: Context, pairs: int, peak: float) -> ReportContent:
    """The whole report of a run."""
    outputs = context.outputs
    policy = context.input("policy")
    trained = METHODS.get(kind_of(policy), "training")
    metrics = read_metrics(Path(policy.result["metrics"]))
    shown = figures.tested or (figures.check or {}).get("lines", [])
    return ReportContent(
        title=f"{context.recipe['name']}: a language model before and after feedback",
        subtitle=context.recipe["description"],
        summary=summary(figures, context, trained, len(metrics)),
        notices=notices(figures, context.inputs),
        headlines=headlines_of(figures, trained),
        measures=measures_of(figures),
        before_label="Start" if figures.tested or figures.check is None else f"Before ({figures.check['before']})",
        after_label=f"After {trained}",
        curves=curves_of(metrics),
        reliability=_reliability(figures),
        pairs=_pairs(shown, pairs, context.seed),
        pairs_statement=f"Drawn at random from {len(shown)} test prompts by the run's seed, not chosen.",
        raters=_raters(figures),
        agreement_statement=AGREEMENT if figures.raters.agrees else "",
        stages=_stages(outputs, peak),
        compute_statement=(
            f"{platform.machine()}, {os.cpu_count()} cores. FLOPs are counted as kilter.models.flops says. The peak is "
            f"that of a matrix product measured at the end of the run: {peak / 1e9:.0f} GFLOP/s."
        ),
        reproduction=_reproduction(context, outputs),
        limits=limits(figures),
        settings={name: _settings(output) for name, output in context.outputs.items()},
    )


def _reliability(figures: Figures) -> Reliability | None:
    if figures.reward is None:
        return None
    return Reliability(
        "Is the reward model as sure as it should be?",
        figures.reward.curve,
        "On the diagonal, a stated 80 % is right in 80 % of the cases; below it the reward model is overconfident.",
    )


def _pairs(lines: Sequence[Mapping[str, Any]], count: int, seed: int) -> tuple[Pair, ...]:
    """Rows of the evaluation or of the blind check, drawn at random, with what people said of them."""
    chosen = permutation(len(lines), seed, "pairs")[:count]

    def response(one: Mapping[str, Any]) -> Response:
        return Response(one["text"], one.get("gold"), one.get("parts", {}), one["finished"])

    def pair(number: int, line: Mapping[str, Any]) -> Pair:
        before, after = (line[key] for key in (("start", "final") if "final" in line else ("before", "after")))
        note = f"test prompt {number + 1}{_verdict(line)}"
        return Pair(line["text"], response(before), response(after), note)

    return tuple(pair(number, lines[number]) for number in chosen)


def _verdict(line: Mapping[str, Any]) -> str:
    """What was said of a row of the blind check."""
    if "said" not in line:
        return ""
    if not line["asked"]:
        return ": both wrote the same"
    counts = Counter(one["won"] for one in line["said"])
    words = ((1.0, "for the new one"), (0.0, "for the old one"), (0.5, "equally good"))
    return ": " + (", ".join(f"{counts[won]} {word}" for won, word in words if counts[won]) or "not judged")


def _raters(figures: Figures) -> tuple[Rater, ...]:
    """All who judged, those of the blind check included, by their names on the record."""
    compared, checked = figures.raters.judges, (figures.check or {}).get("judges", {})
    found = []
    for name in sorted({*compared, *checked}):
        counts = [judges[name]["judgments"] if name in judges else 0 for judges in (compared, checked)]
        note = f"{counts[0]} to learn from, {counts[1]} in the blind check" if checked else ""
        principal = (compared.get(name) or checked[name])["principal"]
        found.append(Rater(name, principal, sum(counts), figures.raters.agrees.get(name), note))
    return tuple(found)


def _stages(outputs: Mapping[str, Output], peak: float) -> tuple[Stage, ...]:
    stages = []
    for name, output in outputs.items():
        result = output.result
        seconds = result.get("wall_seconds")
        if seconds is None or (name == "evaluate" and "tokens" not in result):
            continue
        flops = result.get("flops")
        share = flops / result["seconds"] / peak if flops and result.get("seconds") else None
        stages.append(Stage(name, seconds, result.get("tokens"), flops, share, result.get("memory")))
    return tuple(stages)


def _settings(output: Output) -> dict[str, Any]:
    settings: dict[str, Any] = config_of(output).get("settings", {})
    return settings


def _reproduction(context: Context, outputs: Mapping[str, Output]) -> Reproduction:
    about = environment()
    code = about["code"]
    command = " ".join(["kilter run", context.recipe["source"], *context.recipe["overrides"]])
    hashes = {name: output.key[:16] for name, output in context.outputs.items()}
    known = {"kilter": code["kilter"], "python": about["python"], **about["libraries"]}
    versions = {name: str(known[name]) for name in ("kilter", "python", "torch", "transformers") if known.get(name)}
    return Reproduction(
        commands=(command, "kilter record verify"),
        commit=f"{code.get('commit') or 'unknown'}{', with changes' if code.get('dirty') else ''}",
        versions=versions,
        seeds={"recipe": int(context.recipe["seed"])},
        hashes=hashes,
    )
