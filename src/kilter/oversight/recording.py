"""An experiment on the record: what was judged, the help that was shown, and what was said before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kilter.feedback.tasks import TaskItem
from kilter.oversight.assistance import Arm, Assistance
from kilter.oversight.experiment import Outcome
from kilter.oversight.findings import Mark
from kilter.oversight.plan import Trial
from kilter.oversight.sight import View, seen_source
from kilter.record import Exposure, Judgment, NewArtifact, Principal, Record, sha256
from kilter.stats import Estimate
from kilter.testbeds import Case

QUESTION = "Which passages are wrong, or leave out what had to be said there?"


@dataclass(frozen=True)
class Shown:
    """Ids of the artifacts of an experiment: of each case its response, and of each arm and case its claims."""

    responses: tuple[str, ...]
    claims: Mapping[Arm, tuple[tuple[str, ...], ...]]


def item_of(case: Case, view: View = "expert") -> TaskItem:
    """A case as a rater sees it: the task and what the view shows of its source, and the response."""
    asked = f"{case.task}\n\n{seen_source(case, view)}"
    return TaskItem(({"role": "user", "content": asked},), (case.response,))


def add_shown(
    record: Record, cases: Sequence[Case], shown: Mapping[Arm, Sequence[Assistance]], view: View = "expert"
) -> Shown:
    """Put the responses and all claims on the record; equal ones are one artifact."""
    items = [item_of(case, view) for case in cases]
    responses = record.add_artifacts(
        NewArtifact(one.kind, one.body(), producer=f"testbed/{case.testbed}")
        for one, case in zip(items, cases, strict=True)
    )
    places = [
        (arm, number, claim, help_.critic)
        for arm, given in shown.items()
        for number, help_ in enumerate(given)
        for claim in help_.claims
    ]
    ids = record.add_artifacts(
        NewArtifact("claim", asdict(claim), producer=critic, parents=(responses[number],))
        for _, number, claim, critic in places
    )
    of_case: dict[Arm, list[list[str]]] = {arm: [[] for _ in cases] for arm in shown}
    for (arm, number, *_), claim_id in zip(places, ids, strict=True):
        of_case[arm][number].append(claim_id)
    claims = {arm: tuple(map(tuple, each)) for arm, each in of_case.items()}
    return Shown(tuple(responses), claims)


def add_outcomes(
    record: Record, outcomes: Sequence[Outcome], shown: Shown, judge: str, principal: Principal, run: str
) -> list[str]:
    """Two judgments of each trial, the second in place of the first, and an exposure per claim; the second ones' ids.

    The same outcomes of the same run again change nothing; those of another run are judgments of their own, or the
    exposures of two studies would hang on one. `judge` gets the rater's number.
    """
    before = [_judgment(one, shown, f"{judge}-{one.trial.rater}", principal, run) for one in outcomes]
    first = record.add_judgments(before)
    after = [
        _judgment(one, shown, f"{judge}-{one.trial.rater}", principal, run, supersedes)
        for one, supersedes in zip(outcomes, first, strict=True)
    ]
    second = record.add_judgments(after)
    record.add_exposures(
        Exposure(judgment, claim, opened=True, accepted=followed)
        for one, judgment in zip(outcomes, second, strict=True)
        for claim, followed in zip(shown.claims[one.trial.arm][one.trial.item], one.review.followed, strict=True)
    )
    return second


def _judgment(
    one: Outcome, shown: Shown, judge: str, principal: Principal, run: str, supersedes: str | None = None
) -> Judgment:
    marks = one.review.alone if supersedes is None else one.review.marks
    return Judgment(
        shown.responses[one.trial.item], QUESTION, judge, principal, len(marks), spans=[_span(mark) for mark in marks],
        seed=seed_of(run, one.trial), supersedes=supersedes,
    )  # fmt: skip


def seed_of(run: str, trial: Trial) -> int:
    """The seed that a judgment is kept under: 52 bits, which are exact in JSON everywhere, of the run and the trial."""
    return int(sha256(f"{run}/{trial.rater}/{trial.item}".encode())[:13], 16)


def _span(mark: Mark) -> dict[str, Any]:
    return {"response": 0, "start": mark.start, "end": mark.end, "type": mark.type, "confidence": mark.confidence}


def start_run(record: Record, name: str, config: Mapping[str, Any], seed: int, shown: Shown) -> str:
    """The run of a study, before anything is judged; its id."""
    return record.start_run(f"oversight/{name}", dict(config), seed, sorted(set(shown.responses)))


def finish_run(record: Record, run: str, figures: Mapping[str, Estimate], summary: Mapping[str, Any]) -> None:
    """The study's figures as evidence, and its summary as what came out; a run that is finished stays as it is."""
    if record.run(run).status != "running":
        return
    for metric, one in figures.items():
        record.add_evidence(metric, one.value, one.low, one.high, one.n, one.method, run)
    record.finish_run(run, [record.add_artifact("summary", dict(summary), producer=f"run/{run}")])
