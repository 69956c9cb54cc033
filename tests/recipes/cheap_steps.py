"""Steps of a recipe that costs nothing, which a worker of the tests' cluster can import too."""

from __future__ import annotations

import json
import os
from typing import Any

from light_jobs import die, double

from kilter.errors import DataError
from kilter.recipes.parts import Part, fan_out
from kilter.recipes.step import Context, Kind
from kilter.settings import Settings


class Numbers(Settings):
    count: int = 4
    log: str = ""


class Scale(Settings):
    factor: float = 1.0
    broken: float = -1.0


class Summary(Settings):
    title: str = ""


def numbers(settings: Numbers, context: Context) -> dict[str, Any]:
    """Fans out; its second part kills its worker once where there is a log."""
    parts = [Part(f"number {number}", number) for number in range(settings.count)]
    found = list(fan_out(double, parts, context.workers))
    if settings.log:
        part = Part("the dying part", {"log": settings.log, "times": 1, "value": 100})
        found += list(fan_out(die, [part], context.workers))
    return {"found": found, "artifacts": {"numbers": context.record.add_artifact("numbers", found)}}


def scale(settings: Scale, context: Context) -> dict[str, Any]:
    with (context.folder / "attempts").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if settings.factor == settings.broken:
        raise DataError("That factor breaks it.")
    found = [settings.factor * one for one in context.input("numbers").result["found"]]
    parents = list(context.input("numbers").result["artifacts"].values())
    artifact = context.record.add_artifact("scaled", {"found": found, "pad": "x" * 20_000}, parents=parents)
    (context.folder / "model").mkdir(exist_ok=True)
    (context.folder / "model" / "weights").write_text(str(found))
    model = context.record.add_folder("model", context.folder / "model", parents=[artifact])
    return {"found": found, "artifacts": {"scaled": artifact, "model": model}}


def summary(settings: Summary, context: Context) -> dict[str, Any]:
    found = context.input("scaled").result["found"]
    one = {"value": sum(found) / len(found), "low": min(found), "high": max(found), "n": len(found), "method": "mean"}
    context.record.add_evidence(
        "mean", run=context.run, **{key: one[key] for key in ("value", "low", "high", "n", "method")}
    )
    (context.folder / "summary.json").write_text(json.dumps({"mean": one, "most": {**one, "value": max(found)}}))
    (context.folder / "report.html").write_text(context.recipe["name"])
    return {"artifacts": {}}


KINDS = {
    "numbers": Kind("numbers", Numbers, numbers),
    "scale": Kind("scale", Scale, scale, inputs=("numbers",)),
    "summary": Kind("summary", Summary, summary, inputs=("scaled",), names_run=True),
}
RECIPE = """
name: demo
steps:
  numbers: {}
  scaled: {use: scale}
  report: {use: summary}
"""
