"""PRM800K's lines (arXiv 2305.20050): a problem, and for each step the completions that were rated."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kilter.errors import DataError
from kilter.feedback.exchange.fields import Columns, milliseconds
from kilter.feedback.exchange.found import Found, FoundData, OldAnswer
from kilter.feedback.readings import Skip, Skipped, collect
from kilter.feedback.rows import Rows
from kilter.feedback.tasks import TaskItem

QUESTION = "steps"


def is_prm800k(source: Rows) -> bool:
    """Whether these are lines with a `question` that has a problem and a `label` that has steps."""
    row = source.rows[0]
    question, label = row.get("question"), row.get("label")
    return isinstance(question, dict) and "problem" in question and isinstance(label, dict) and "steps" in label


def read_prm800k(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Solutions with one label per step of the path that was taken; alternatives to its steps are counted.

    In phase 2 the whole solution is known (`pre_generated_steps`) and labeling stops at the first error; then the
    item has all steps and the answer only those that were labeled. Steps that a labeler wrote count as good, as only
    such were asked for.

    Raises:
        DataError: a line is not of this form, with its place.
    """
    unused = Skipped()

    def read(row: dict[str, Any], where: str) -> Found:
        question, label = row.get("question"), row.get("label")
        if not isinstance(question, dict) or not isinstance(question.get("problem"), str):
            raise DataError(f"{where} has no question with a problem, as PRM800K's lines have.")
        if not isinstance(label, dict) or not isinstance(label.get("steps"), list):
            raise DataError(f"{where} has no label with steps, as PRM800K's lines have.")
        if label.get("finish_reason") == "bad_problem":
            raise Skip("problem that its labeler found broken")
        path = [_step(one, where, unused) for one in label["steps"]]
        rated = _until(path)
        if not rated:
            raise Skip("solution without a rated step")
        steps = [text for text, _ in path if text.strip()]
        whole = question.get("pre_generated_steps")
        if isinstance(whole, list) and whole[: len(rated)] == [text for text, _ in rated]:
            steps = [one for one in whole if isinstance(one, str) and one.strip()]
        kept = ("ground_truth_answer", "pre_generated_answer")
        meta = {name: question[name] for name in kept if question.get(name) is not None}
        meta |= {name: row[name] for name in ("generation", "is_quality_control_question",
                 "is_initial_screening_question") if row.get(name) is not None}  # fmt: skip
        prompt = ({"role": "user", "content": question["problem"].strip()},)
        item = TaskItem(prompt, steps=tuple(steps), meta=meta)  # type: ignore[arg-type]  # literals are messages
        answer = OldAnswer(
            QUESTION, "steps", [rating for _, rating in rated], rater=str(row.get("labeler") or ""), where=where,
            started=row.get("timestamp"), active_ms=milliseconds(label.get("total_time"), 1),
        )  # fmt: skip
        return Found(item, answers=(answer,), where=where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "prm800k", unused)


def _step(step: Any, where: str, unused: Skipped) -> tuple[str, int | None]:
    """The text of the step that was taken and its rating, None where there is none."""
    several = step.get("completions") or [] if isinstance(step, dict) else None
    if not isinstance(several, list) or not all(isinstance(one, dict) for one in several):
        raise DataError(f"{where}: a step must be an object with completions, not {step!r:.60}.")
    completions = several
    chosen, human = step.get("chosen_completion"), step.get("human_completion")
    for _ in completions[1:]:
        unused.add("ratings of alternative steps", where)
    if type(chosen) is int and 0 <= chosen < len(completions):
        taken = completions[chosen]
    elif human:
        return str(human.get("text", "") if isinstance(human, dict) else human), 1
    else:  # the last step: where it was found wrong, nothing was chosen
        taken = completions[0] if completions else {}
    rating = taken.get("rating")
    return str(taken.get("text") or ""), rating if rating in (1, 0, -1) and not isinstance(rating, bool) else None


def _until(path: list[tuple[str, int | None]]) -> list[tuple[str, int]]:
    """The rated steps from the first on, up to the first without a rating."""
    rated = []
    for text, rating in path:
        if rating is None or not text.strip():
            break
        rated.append((text, rating))
    return rated
