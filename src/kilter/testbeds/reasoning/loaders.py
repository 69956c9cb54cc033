"""Reading real solutions in steps: PRM800K with its labels, and GSM8K's correct ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.files import json_lines
from kilter.testbeds.case import Case, Flaw, Split

_TASK = "Solve the problem step by step."
_RATINGS = (-1, 0, 1, None)
_ANNOTATION = re.compile(r"<<[^<>]*>>")


def load_prm800k(path: Path | str, split: Split = "train") -> list[Case]:
    """Solutions with step labels in PRM800K's layout (JSONL, one labeled solution a line, gzipped or not).

    Lightman et al., "Let's Verify Step by Step", arXiv 2305.20050. A row has `question.problem` and `label.steps`;
    each step has `completions` with `text` and `rating` (-1, 0, 1, or none), `chosen_completion` (a number, or null),
    and `human_completion`. The chosen completion counts; where none was chosen, the human's; where there is neither,
    the first one, which is the solution's own. `question.pre_generated_steps` continue the solution after the last
    labeled step, without labels. The flaw is the first step rated -1, its type "wrong_step"; nobody wrote what is
    right, so that `correct` is "" there. Problems marked as broken ("bad_problem"), labels given up ("give_up") and
    solutions of which no step is left are passed over.

    Args:
        path: such as prm800k/data/phase2_test.jsonl.
        split: what the cases are called.

    Raises `DataError` with the line for a row of another layout, and where nothing is left.
    """
    path = Path(path)
    cases = [case for number, row in json_lines(path) if (case := _labeled(f"{path}, line {number}", row, split))]
    if not cases:
        raise DataError(f"{path} holds no labeled solutions. It should have one a line, in PRM800K's layout.")
    return cases


def load_gsm8k(path: Path | str, split: Split = "train") -> list[Case]:
    """GSM8K's problems with their correct solutions as cases without flaws (Cobbe et al., arXiv 2110.14168).

    JSONL, gzipped or not, with `question` and `answer`: a step a line, calculations in <<double brackets>>, which are
    taken out, and "#### " before the number, which becomes a last step. `hidden` holds the `answer`, and a rating of 1
    for every step.

    Raises `DataError` with the line for a row of another layout, and for an empty file.
    """
    path = Path(path)
    cases = [_solved(f"{path}, line {number}", row, split) for number, row in json_lines(path)]
    if not cases:
        raise DataError(f"{path} holds no problems. It should have one a line, with question and answer.")
    return cases


def _labeled(where: str, row: Mapping[str, Any], split: Split) -> Case | None:
    question, label = row.get("question"), row.get("label")
    if not isinstance(question, dict) or not isinstance(label, dict) or not isinstance(label.get("steps"), list):
        raise DataError(f"{where} is not in PRM800K's layout: it needs question.problem and label.steps.")
    if not isinstance(question.get("problem"), str):
        raise DataError(f"{where} has no question.problem.")
    if label.get("finish_reason") in ("bad_problem", "give_up"):
        return None
    steps = [_step(f"{where}, step {number}", step) for number, step in enumerate(label["steps"], start=1)]
    own = question.get("pre_generated_steps") or []
    steps += [(str(text), None) for text in own[len(steps) :]]
    hidden = {"finish_reason": label.get("finish_reason"), "answer": question.get("ground_truth_answer")}
    return _of_steps(split, question["problem"], steps, hidden, "prm800k")


def _step(where: str, step: Any) -> tuple[str, int | None]:
    """The text and the rating of the step that was taken."""
    completions = step.get("completions") if isinstance(step, dict) else None
    if not isinstance(completions, list):
        raise DataError(f"{where} has no list of completions.")
    chosen, human = step.get("chosen_completion"), step.get("human_completion")
    if chosen is None and human is not None:
        return str(human["text"] if isinstance(human, dict) else human), 1  # written to be right
    if not completions:
        return "", None
    number = 0 if chosen is None else chosen
    if not isinstance(number, int) or not 0 <= number < len(completions):
        raise DataError(f"{where}: the chosen completion is {chosen}, but there are {len(completions)}.")
    taken = completions[number]
    if not isinstance(taken, dict) or not isinstance(taken.get("text"), str) or taken.get("rating") not in _RATINGS:
        raise DataError(f"{where}: a completion needs a text and a rating of -1, 0, 1 or null.")
    return taken["text"], taken.get("rating")


def _of_steps(
    split: Split, problem: str, steps: list[tuple[str, int | None]], hidden: dict[str, Any], structure: str
) -> Case | None:
    """A case with a step a line; what follows the first wrong step keeps no rating."""
    steps = [(text.strip(), rating) for text, rating in steps if text.strip()]
    if not steps:
        return None
    ratings = [rating for _, rating in steps]
    first = ratings.index(-1) if -1 in ratings else None
    if first is not None:
        ratings = [*ratings[: first + 1], *[None] * (len(ratings) - first - 1)]
    response, units = "", []
    for text, _ in steps:
        response += "\n" if response else ""
        units.append((len(response), len(response) + len(text)))
        response += text
    flaws = () if first is None else (Flaw(*units[first], "wrong_step", "major", "Labelers called this step wrong."),)
    return Case(
        testbed="reasoning",
        structure=structure,
        split=split,
        difficulty=0.5,
        task=_TASK,
        source=problem,
        response=response,
        flaws=flaws,
        correct="" if flaws else response,
        units=tuple(units),
        hidden={**hidden, "ratings": ratings, "first_error": first},
    )


def _solved(where: str, row: Mapping[str, Any], split: Split) -> Case:
    question, answer = row.get("question"), row.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str) or "####" not in answer:
        raise DataError(f"{where} is not in GSM8K's layout: it needs question, and answer with '#### ' and the number.")
    solution, _, number = answer.rpartition("####")
    lines = [_ANNOTATION.sub("", line) for line in solution.split("\n")]
    steps: list[tuple[str, int | None]] = [(line, 1) for line in [*lines, f"The answer is {number.strip()}."]]
    case = _of_steps(split, question, steps, {"answer": number.strip()}, "gsm8k")
    assert case is not None  # the last step is never empty
    return case
