"""Finding out what functions do: each version is called in the sandbox, and what comes out is compared here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.sandbox import Limits, Program, run_many

_HARNESS = Path(__file__).with_name("harness.py")
_TOGETHER = 25  # jobs of our own making in one program
_LIMITS = Limits(seconds=20.0, cpu_seconds=20, output_bytes=8_000_000)
NO_END = "does not end"
_WHOLE = re.compile(r"(?<=\d)\.0(?![\d.])")


@dataclass(frozen=True)
class Job:
    """Versions of one function and the calls to make of each.

    Attributes:
        name: of the function.
        codes: its versions.
        calls: the arguments of each call, literals such as numbers, texts, lists and dictionaries.
        steps: rounds of loops and calls after which a call counts as endless; none of our own problems needs 1,000.
    """

    name: str
    codes: tuple[str, ...]
    calls: tuple[list[Any], ...]
    steps: int = 3_000


def outcomes(jobs: Sequence[Job], *, trusted: bool) -> list[list[list[str]]]:
    """What each call of each version of each job gives, as text: [job][version][call].

    An outcome is the value, "raises " with the exception, or "does not end"; where the call changed
    its arguments, it says so. Outcomes are equal where the functions do the same.

    Raises `SandboxError` where the code is not `trusted` and this system cannot hold it.
    """
    size = _TOGETHER if trusted else 1
    groups = [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]
    answers: list[list[list[str]]] = []
    for group, found in zip(groups, _ask(groups, trusted), strict=True):
        answers += found if found is not None else [one for job in group for one in _alone(job, trusted)]
    return answers


def equal(one: str, two: str) -> bool:
    """Whether two outcomes are equal in Python's sense, where 2 == 2.0."""
    return one == two or _WHOLE.sub("", one) == _WHOLE.sub("", two)


def differing(expected: Sequence[str], found: Sequence[str]) -> list[int]:
    """The calls that give something else than they should."""
    return [at for at, (one, two) in enumerate(zip(expected, found, strict=True)) if not equal(one, two)]


def is_rough(outcome: str) -> bool:
    """Whether a call gave no value."""
    return outcome.startswith(("raises ", NO_END))


def _alone(job: Job, trusted: bool) -> list[list[list[str]]]:
    """One job whose program came to nothing: every version in a program of its own, so that one spoils no other."""
    found = _ask([[Job(job.name, (code,), job.calls, job.steps)] for code in job.codes], trusted)
    return [[one[0][0] if one is not None else [NO_END] * len(job.calls) for one in found]]


def _ask(groups: Sequence[Sequence[Job]], trusted: bool) -> list[list[list[list[str]]] | None]:
    harness = _HARNESS.read_text(encoding="utf-8")
    programs = []
    for group in groups:
        rows = [
            {"name": job.name, "codes": job.codes, "calls": [repr(one) for one in job.calls], "steps": job.steps}
            for job in group
        ]
        programs.append(Program(harness, json.dumps(rows)))
    results = run_many(programs, limits=_LIMITS, trusted=trusted)
    return [json.loads(one.stdout) if one.status == "ok" and one.stdout else None for one in results]
