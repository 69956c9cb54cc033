from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.sandbox import Limits, Program, protection, run_many
from kilter.testbeds import Case
from kilter.testbeds.code import TYPES, load_bugs, load_humaneval, load_mbpp

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(protection() == "limits", reason="this system cannot hold code of others")

HUMANEVAL = {
    "task_id": "Made/1",
    "prompt": 'def above(values, limit):\n    """Count the values above the limit.\n'
    '    >>> above([1, 9], 5)\n    1\n    """\n',
    "entry_point": "above",
    "canonical_solution": "    count = 0\n    for value in values:\n        if value > limit:\n            count += 1\n"
    "    return count  # done\n",
    "test": "def check(candidate):\n    assert candidate([1, 9], 5) == 1\n    assert candidate([5, 6], 5) == 1\n"
    "    assert candidate([], 5) == 0\n    assert candidate([7, 8, 9], 1) == 3\n",
}
MBPP = {
    "task_id": 1,
    "text": "Write a function to join words.",
    "code": "def join_words(words, n):\r\n\tout = []\r\n\tfor i in range(n):\r\n"
    "\t\tout.append(words[i])\r\n\treturn ' '.join(out)",
    "test_setup_code": "",
    "test_list": ["assert join_words(('a', 'b'), 0) == ''", "assert join_words(('a', 'b'), 2) == 'a b'",
                  "assert join_words(('a', 'b'), 1) == 'a'"],
    "challenge_test_list": [],
}  # fmt: skip
BUG = {
    "task": "Return the mean, 0 for nothing.",
    "correct": "def mean(xs):\n    # careful\n    if not xs:\n        return 0\n    return sum(xs) / len(xs)",
    "buggy": "def mean(xs):\n    return sum(xs) / len(xs)",
    "tests": ["assert mean([1, 3]) == 2", "assert mean([]) == 0"],
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def verify(cases: list[Case]) -> None:
    """The correct passes the whole test program, the flawed one does not."""
    programs = [
        Program(f"{code}\n{case.hidden['program']}") for case in cases for code in (case.correct, case.response)
    ]
    ended = [one.status == "ok" for one in run_many(programs, limits=Limits(seconds=10, cpu_seconds=10))]
    for case, right, same in zip(cases, ended[::2], ended[1::2], strict=True):
        assert right, case.structure
        assert same == (not case.flaws), case.response


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_humaneval_gives_correct_and_tampered_cases(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, HUMANEVAL)
    [plain] = load_humaneval(path, flawed=0)
    assert not plain.flaws
    assert plain.response == plain.correct
    assert "done" not in plain.correct
    assert '"""' not in plain.correct
    assert plain.source == HUMANEVAL["prompt"]
    [case] = load_humaneval(path, flawed=1)
    [flaw] = case.flaws
    assert flaw.type in TYPES
    assert "For above(" in flaw.note
    assert "above([1, 9], 5)" not in flaw.note, "the example of the docstring should hold"
    verify([plain, case])
    assert load_humaneval(path, flawed=1) == [case]


def test_mbpp_shows_its_first_test_and_knows_tuples(tmp_path: Path) -> None:
    [case] = load_mbpp(write(tmp_path / "mbpp.jsonl", MBPP), flawed=1)
    assert MBPP["test_list"][0] in case.source
    assert MBPP["test_list"][1] not in case.source
    [flaw] = case.flaws
    assert "join_words(('a', 'b')" in flaw.note
    verify([case])


def test_what_does_not_pass_its_own_tests_is_left_out(tmp_path: Path) -> None:
    broken = {**HUMANEVAL, "task_id": "Made/2", "canonical_solution": "    return 99\n"}
    assert [case.structure for case in load_humaneval(write(tmp_path / "a.jsonl", broken, HUMANEVAL))] == ["Made/1"]
    with pytest.raises(DataError, match="passes its own tests"):
        load_humaneval(write(tmp_path / "b.jsonl", broken))


def test_a_collected_bug_has_its_place_and_its_note(tmp_path: Path) -> None:
    noted = {**BUG, "type": "missing_case", "severity": "minor", "note": "Nothing is forgotten."}
    first, second = load_bugs(write(tmp_path / "bugs.jsonl", BUG, noted))
    verify([first, second])
    assert first.flaws[0].note == "After line 1 `if not xs:`; `return 0` is missing."
    assert (second.flaws[0].type, second.flaws[0].severity, second.flaws[0].note) == (
        "missing_case", "minor", "Nothing is forgotten.")  # fmt: skip
    assert first.source == BUG["task"]
    assert "careful" not in first.correct


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"buggy": BUG["correct"]}, "line 1: 'buggy' passes"),
        ({"correct": BUG["buggy"]}, "line 1: 'correct' fails"),
        ({"tests": []}, "line 1 lacks tests"),
        ({"severity": "awful"}, "minor or major"),
    ],
)
def test_a_collection_that_is_not_what_it_says_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_bugs(write(tmp_path / "bugs.jsonl", {**BUG, **change}))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for body, words in (
        (b"", "no rows"),
        (b"{", "line 1 is not valid JSON"),
        (b"[1]", "holds a list"),
        (b"\xff", "UTF-8"),
    ):
        path = tmp_path / "x.jsonl"
        path.write_bytes(body)
        with pytest.raises(DataError, match=words):
            load_humaneval(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_mbpp(tmp_path / "none.jsonl")
    odd = {**MBPP, "test_list": ["assert other(1)"]}
    with pytest.raises(DataError, match=r"no function that the code defines \(join_words\)"):
        load_mbpp(write(tmp_path / "odd.jsonl", odd))


def test_code_that_means_harm_stays_in_the_sandbox(tmp_path: Path) -> None:
    target = tmp_path / "owned"
    evil = {**HUMANEVAL, "task_id": "Made/3", "canonical_solution": f"    open({str(target)!r}, 'w')\n    return 1\n"}
    assert len(load_humaneval(write(tmp_path / "c.jsonl", evil, HUMANEVAL))) == 1
    assert not target.exists()


@pytest.mark.shared_data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not here")
@pytest.mark.parametrize(
    ("load", "file"), [(load_humaneval, "humaneval/HumanEval.jsonl.gz"), (load_mbpp, "mbpp/mbpp.jsonl.gz")]
)
def test_real_problems(load: Any, file: str) -> None:
    cases = load(DATA / file, flawed=1.0, limit=40)
    assert len(cases) >= 35
    assert sum(bool(case.flaws) for case in cases) >= 15
    verify(cases)
