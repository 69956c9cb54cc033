"""Step `report`: the page that people open, and summary.json beside it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kilter.errors import SettingsError
from kilter.models.language_model import choose_dtype
from kilter.models.peak import gemm_peak
from kilter.recipes.content import build_content
from kilter.recipes.figures import collect_figures
from kilter.recipes.planned import kind_of
from kilter.recipes.step import Context, Kind
from kilter.report import write_report, write_summary
from kilter.settings import Settings


class ReportStep(Settings):
    """The report."""

    pairs: int = Field(10, ge=0, description="Pairs of responses shown, drawn at random by the seed.")


def run(settings: ReportStep, context: Context) -> dict[str, Any]:
    """Compute every figure, put it on the record as evidence, and write report.html and summary.json."""
    _check_inputs(context)
    figures = collect_figures(context)
    evaluation = context.inputs["evaluate"].run if "evaluate" in context.inputs else context.run
    # The check has put its own figures on the record.
    known = context.input("check").result["figures"] if "check" in context.inputs else {}
    for name, estimate in sorted(figures.named.items()):
        if name not in known:
            context.record.add_evidence(
                name, estimate.value, estimate.low, estimate.high, estimate.n, estimate.method, evaluation
            )
    peak = gemm_peak(choose_dtype("auto"))
    content = build_content(figures, context, settings.pairs, peak)
    write_report(content, context.folder / "report.html")
    write_summary(figures.named, context.folder / "summary.json")
    artifact = context.record.add_artifact(
        "report", (context.folder / "report.html").read_bytes(),
        parents=list(context.input("policy").result["artifacts"].values()),
    )  # fmt: skip
    return {"artifacts": {"report": artifact}, "refused": figures.refused, "peak": peak}


def _check_inputs(context: Context) -> None:
    """Whether there is something to report, and no finished step is left out because it has another name."""
    if not {"evaluate", "check"} & context.inputs.keys():
        raise SettingsError("A report needs a step evaluate or check before it, with figures of what the training did.")
    for name, output in context.outputs.items():
        given = SHOWN.get(kind_of(output))
        if given is not None and given not in context.inputs:
            raise SettingsError(
                f"The report would leave out the step {name}: write inputs: {{{given}: {name}}} in the report's step."
            )


SHOWN = {
    "evaluate": "evaluate", "check": "check", "reward": "reward", "compare": "comparisons", "preferences": "comparisons"
}  # fmt: skip
"""The input of the report that shows each kind of step."""

KIND = Kind(
    "report", ReportStep, run, inputs=("policy",), optional=("evaluate", "check", "reward", "comparisons", "model"),
    names_run=True,
)  # fmt: skip
