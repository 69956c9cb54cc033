"""How right raters were on gold items."""

from __future__ import annotations

from collections.abc import Sequence

from kilter.feedback.tasks import Task, met
from kilter.feedback.work import Result


def gold_scores(task: Task, results: Sequence[Result]) -> list[tuple[str, float]]:
    """The artifact and score of each gold item that one rater judged, in the order of time."""
    questions = {one.name: one for one in task.questions}
    found: dict[str, list[float]] = {}
    for one in sorted(results, key=lambda result: result.submitted):
        known = one.item.answers.get(one.question)
        right = None if known is None else met(questions[one.question], known, one.value, one.judgment.spans)
        if right is not None:
            found.setdefault(one.artifact, []).append(right)
    return [(artifact, sum(scores) / len(scores)) for artifact, scores in found.items()]
