"""The same experiment with people: the task that they judge in the browser, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace

from kilter.errors import DataError
from kilter.feedback.tasks import NO_HELP, FlawsQuestion, Help, HelpClaim, Overlap, Task, TaskItem
from kilter.feedback.work import Desk, HelpTrial
from kilter.oversight.assistance import ARMS, Arm, Assistance, Claim
from kilter.oversight.experiment import Outcome
from kilter.oversight.findings import Mark, compare
from kilter.oversight.plan import Trial
from kilter.oversight.recording import QUESTION, Shown, item_of
from kilter.oversight.sight import View
from kilter.oversight.simulated_rater import Review
from kilter.oversight.study import Study
from kilter.record import Judgment, NewArtifact, Record
from kilter.testbeds import Case

NAME = "flaws"
"""Of the question that asks for marks."""
GUIDELINES = """\
Mark every passage of the response that is wrong, first alone. When you have sent that, the text comes a second time,
sometimes with what a critic says of it. Critics may be right or wrong: check each claim before you accept or refuse it.
"""


def task_of_study(
    cases: Sequence[Case], shown: Mapping[Arm, Sequence[Assistance]], *, name: str, title: str, raters: int,
    items_per_rater: int | None = None, guidelines: str = GUIDELINES, recorded: Shown | None = None,
    view: View = "expert",
) -> tuple[Task, list[TaskItem]]:  # fmt: skip
    """The task of an experiment on help, and its items in the order of the cases.

    Args:
        cases: what is judged; raters see task and source as the prompt, and the response.
        view: what raters see of the source; what is cut from it is nowhere in the items.
        shown: what each arm shows with each case, as `help_by_arm` makes it; its order is the order of the arms.
        raters: judges per item.
        items_per_rater: most items of one rater; None: no limit.
        recorded: what `add_shown` gave, so that each claim is the artifact that names its critic; without it, adding
            the items to a task records the claims anew.

    Raises:
        DataError: there are no cases, or an arm has not as many assistances as there are cases.
    """
    if not cases:
        raise DataError("There are no cases to judge. Give the study one or more.")
    for arm, each in shown.items():
        if len(each) != len(cases):
            raise DataError(f"The arm '{arm}' has help for {len(each)} cases, but there are {len(cases)}.")
    types = sorted({flaw.type for case in cases for flaw in case.flaws})
    question = FlawsQuestion(name=NAME, ask=QUESTION)
    if types:
        question = FlawsQuestion(name=NAME, ask=QUESTION, types=tuple(types))
    task = Task(
        name=name, title=title, guidelines=guidelines, questions=(question,), overlap=Overlap(judges=raters),
        quota=items_per_rater, help=Help(arms=tuple(shown)),
    )  # fmt: skip
    helped = [arm for arm in shown if arm != NO_HELP]
    items = [
        replace(
            item_of(case, view), stratum=case.testbed,
            help={arm: _help(shown[arm][number], recorded.claims[arm][number] if recorded else None) for arm in helped},
        )
        for number, case in enumerate(cases)
    ]  # fmt: skip
    task.check_items(items, f"the items of '{name}'")
    return task, items


def cases_by_artifact(record: Record, cases: Sequence[Case], items: Sequence[TaskItem]) -> dict[str, Case]:
    """The cases by the ids of the artifacts that their items are; items that are not on the record are added."""
    ids = record.add_artifacts(NewArtifact(one.kind, one.body()) for one in items)
    return dict(zip(ids, cases, strict=True))


def outcomes_of(trials: Sequence[HelpTrial], cases: Mapping[str, Case]) -> list[Outcome]:
    """The finished trials as outcomes, for the same analysis as of simulated raters.

    People say where and of what type, not how sure they are: the confidence of each mark is 1. The effort is in seconds
    of active time before and after the help. Unfinished trials are left out: report `finished` beside the figures.

    Args:
        trials: of one task, as `Desk.trials` gives them.
        cases: by the id of the item's artifact; a case's number is its place among them.

    Raises:
        DataError: a trial's item is none of the cases, or its arm is none that Kilter knows.
    """
    numbers = {artifact: number for number, artifact in enumerate(cases)}
    return [_outcome(one, numbers, cases) for one in trials if one.finished]


def _outcome(one: HelpTrial, numbers: Mapping[str, int], cases: Mapping[str, Case]) -> Outcome:
    if one.artifact not in numbers:
        raise DataError(f"The item {one.artifact[:8]} was judged, but is none of the cases of this study.")
    if one.arm not in ARMS:
        raise DataError(f"The arm '{one.arm}' is none of {', '.join(ARMS)}: its trials cannot be analyzed.")
    arm, case = one.arm, cases[one.artifact]
    trial = Trial(one.rater, numbers[one.artifact], arm, one.place)
    help_ = Assistance(arm, "", tuple(_claim(claim) for claim in one.claims))  # whose critic, the artifacts tell
    alone, marks = _marks(one.alone), _marks(one.aided or {})
    review = Review(alone, marks, list(one.followed), (one.alone_ms + one.aided_ms) / 1000)
    return Outcome(trial, case, help_, review, compare(case, alone), compare(case, marks))


def _marks(judgments: Mapping[str, Judgment]) -> list[Mark]:
    said = judgments.get(NAME)
    return [Mark(one["start"], one["end"], one["type"]) for one in (said.spans or [] if said else [])]


def _help(help_: Assistance, ids: Sequence[str] | None) -> tuple[HelpClaim, ...]:
    artifacts: Sequence[str | None] = ids or [None] * len(help_.claims)
    return tuple(
        HelpClaim(**asdict(claim), artifact=artifact) for claim, artifact in zip(help_.claims, artifacts, strict=True)
    )


def _claim(claim: HelpClaim) -> Claim:
    return Claim(**claim.body())


Pages = Callable[[Record, str], AbstractContextManager[None]]
"""Opens the pages of a record inside a block, and tells where a task of it is judged."""
LOOK_SECONDS = 1.0


def ask_people(
    record: Record, study: Study, cases: Sequence[Case], shown: Mapping[Arm, Sequence[Assistance]], recorded: Shown,
    pages: Pages, progress: Callable[[str, int, int], None],
) -> list[Outcome]:  # fmt: skip
    """Have people judge in their browsers until every case was judged as often as the study says, or it was closed.

    Whoever stops the program loses nothing: the task is on the record, and the same study waits for what is left.

    Raises:
        DataError: nothing was judged to its end.
    """
    desk = Desk(record)
    task, items = task_of_study(
        cases, shown, name=study.name, title=f"What is wrong? ({study.name})",
        raters=judges_per_case(study, len(cases)), items_per_rater=study.items_per_rater, recorded=recorded,
        view=study.cases.view,
    )  # fmt: skip
    desk.add_task(task, study.seed)
    desk.add_items(task, items)
    if not _is_done(desk, task):
        with pages(record, task.name):
            while not _is_done(desk, task):
                found = desk.progress(task.name)
                progress("trials", found.judgments, found.wanted)
                time.sleep(LOOK_SECONDS)
    desk.set_open(task.name, False)
    return said_by_people(record, study, cases)


def judges_per_case(study: Study, cases: int) -> int:
    """How many people judge each case; it is handed out to no more."""
    return max(1, round(study.raters.count * (study.items_per_rater or cases) / cases))


def said_by_people(record: Record, study: Study, cases: Sequence[Case]) -> list[Outcome]:
    """The trials of a study that people finished so far; raises `DataError` where there is none."""
    by_artifact = cases_by_artifact(record, cases, [item_of(case, study.cases.view) for case in cases])
    outcomes = outcomes_of(Desk(record).trials(study.name), by_artifact)
    if not outcomes:
        raise DataError(
            f"Nothing of {study.name} was judged to its end: it was closed, or every item was skipped or flagged. "
            "'kilter oversee run' with the same file goes on."
        )
    return outcomes


def _is_done(desk: Desk, task: Task) -> bool:
    """Whether nothing is left to judge, or nothing more is handed out."""
    found = desk.progress(task.name)
    return found.complete + found.given_up >= found.items or not desk.is_open(task.name)
