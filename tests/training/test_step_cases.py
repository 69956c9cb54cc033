from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kilter.errors import DataError
from kilter.testbeds import Case, Flaw, generate
from kilter.testbeds.reasoning import load_gsm8k, load_prm800k
from kilter.training import case_prompt, step_labels


def test_generated_solutions_are_labeled_up_to_their_first_wrong_step() -> None:
    cases = generate("reasoning", 30, 0, "train", flawed=0.6)
    assert {bool(case.flaws) for case in cases} == {True, False}
    for case, one in zip(cases, step_labels(cases), strict=True):
        assert one.prompt == [{"role": "user", "content": f"{case.source}\n{case.task}"}]
        assert one.prompt[0]["content"] == case_prompt(case)
        lines = case.response.split("\n")
        if case.flaws:
            wrong = next(number for number, unit in enumerate(case.units) if case.flaws[0].start in range(*unit))
            assert one.labels == (*[1.0] * wrong, 0.0)
        else:
            assert one.labels == (1.0,) * len(lines)
        assert list(one.steps) == lines[: len(one.labels)]


def test_labels_of_people_are_taken_as_they_are(tmp_path: Path) -> None:
    def row(*ratings: int | None) -> str:
        steps = [
            {"completions": [{"text": f"Step {number}.", "rating": rating}], "chosen_completion": 0}
            for number, rating in enumerate(ratings)
        ]
        label = {"steps": steps, "finish_reason": "found_error"}
        return json.dumps({"question": {"problem": "How many?"}, "label": label})

    file = tmp_path / "prm.jsonl"
    file.write_text("\n".join([row(1, 0, -1, 1), row(1, None, 1), row(None, -1), row(0, 1)]))
    found = step_labels(load_prm800k(file))
    assert [one.labels for one in found] == [(1.0, 1.0, 0.0), (1.0,), (1.0, 1.0)]
    assert found[0].steps == ("Step 0.", "Step 1.", "Step 2.")
    assert found[0].prompt[0]["content"] == "How many?\nSolve the problem step by step."
    (tmp_path / "gsm.jsonl").write_text(json.dumps({"question": "How many?", "answer": "One.\n#### 1"}))
    assert step_labels(load_gsm8k(tmp_path / "gsm.jsonl"))[0].labels == (1.0, 1.0)


def test_cases_without_ratings_are_labeled_by_their_flaws() -> None:
    flaw = Flaw(5, 6, "wrong", "major", "no")
    units = ((0, 4), (5, 9), (10, 14))
    case = Case("made", "s", "test", 0.5, "Do it.", "Source.", "One.\nTwo.\nSix.", (flaw,), "", units)
    [one] = step_labels([case])
    assert (one.steps, one.labels) == (("One.", "Two."), (1.0, 0.0))
    with pytest.raises(DataError, match="No step of the cases has a label"):
        step_labels([replace(case, hidden={"ratings": [None, None, None]})])
