from __future__ import annotations

import json
import math
import re
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.testbeds import Case
from kilter.testbeds.case import Split
from kilter.testbeds.reasoning import KINDS, TYPES, generate, load_gsm8k, load_prm800k
from kilter.testbeds.reasoning.generate import wordings
from kilter.testbeds.shortcuts import shortcuts

SPLITS: list[Split] = ["train", "test"]


@cache
def many(split: Split) -> list[Case]:
    return generate(400, 7, split, flawed=0.8, difficulty=0.4)


def everything() -> list[Case]:
    return [case for split in SPLITS for case in many(split)]


def lines(case: Case) -> list[str]:
    return [case.response[start:end] for start, end in case.units]


# The right answers, worked out without the code that writes the steps


def total(start: int, entries: list[Any]) -> int:
    return start + sum(number if sign == "+" else -number for sign, number in entries)


def looks(numbers: list[int], target: int) -> str:
    seen, low, high = [], 0, len(numbers)
    while low < high:
        middle = (low + high - 1) // 2
        seen.append(numbers[middle])
        low, high = (middle + 1, high) if numbers[middle] < target else (low, middle)
    return ", ".join(map(str, seen))


def passes(numbers: list[int], count: int) -> str:
    numbers = list(numbers)
    for _ in range(count):
        for i in range(len(numbers) - 1):
            numbers[i : i + 2] = sorted(numbers[i : i + 2])
    return ", ".join(map(str, numbers))


def shortest(roads: dict[str, dict[str, int]], station: str) -> int:
    return 0 if station == "A" else min(shortest(roads, one) + miles for one, miles in roads[station].items())


def day_after(month: str, day: int, days: int) -> str:
    found = date(2023, "JanFebMarAprMayJunJulAugSepOctNovDec".index(month[:3]) // 3 + 1, day) + timedelta(days)
    return f"{found:%B} {found.day}"


def solution(kind: str, p: dict[str, Any], source: str) -> str:
    if kind in ("shop", "running_total"):
        return str(total(p["start"], p["entries"]))
    if kind == "expression":
        [text] = re.findall(r"[(\d][-+*() \d]*\d", source)
        assert re.fullmatch(r"[-+*() \d]+", text)
        return str(eval(text))  # noqa: S307 - only digits, brackets and signs
    if kind == "gcd":
        return str(math.gcd(p["a"], p["b"]))
    if kind == "sorting":
        return passes(p["numbers"], p["passes"])
    if kind == "journey":
        return str(sum((speed if sign == "+" else -speed) * hours for sign, speed, hours in p["legs"]))
    if kind == "recurrence":
        value = p["start"]
        for _ in range(p["rounds"]):
            value = value * p["factor"] + (p["number"] if p["sign"] == "+" else -p["number"])
        return str(value)
    if kind == "from_base":
        return str(int("".join(map(str, p["digits"])), p["base"]))
    if kind == "calendar":
        return day_after(p["month"], p["day"], p["days"])
    if kind == "binary_search":
        return looks(p["numbers"], p["target"])
    if kind == "shortest_path":
        return str(shortest(p["roads"], p["last"]))
    raise AssertionError(kind)


def test_answers_are_right() -> None:
    seen = set()
    for case in everything():
        kind, hidden = case.structure, case.hidden
        seen.add(kind)
        if kind == "to_base":
            assert int(hidden["answer"], hidden["params"]["base"]) == hidden["params"]["number"]
        else:
            assert hidden["answer"] == solution(kind, dict(hidden["params"]), case.source), case.source
        assert case.correct.rstrip(".").endswith(hidden["answer"])
        assert case.response.rstrip(".").endswith(hidden["said"])
        assert hidden["answer_right"] == (hidden["said"] == hidden["answer"])
    assert seen == set(KINDS["train"]) | set(KINDS["test"])


def test_every_number_of_a_problem_is_in_its_text() -> None:
    def numbers(node: Any) -> set[int]:
        if isinstance(node, int):
            return {node}
        if isinstance(node, (list, dict)):
            return set().union(*(numbers(one) for one in (node.values() if isinstance(node, dict) else node)))
        return set()

    for case in everything():
        if case.structure not in ("sorting", "from_base"):  # passes are a number too; digits stand together
            assert {str(one) for one in numbers(case.hidden["params"])} <= set(re.findall(r"\d+", case.source))


def equations(line: str) -> list[bool]:
    """Whether each equation in a line holds."""
    found = re.findall(r"([-+* \d]*\d) = ([-+* \d]*\d)", line)
    return [eval(left) == eval(right) for left, right in found]  # noqa: S307 - only digits


def test_steps_are_right_up_to_the_flaw_and_consistent_after_it() -> None:
    slips = 0
    for case in everything():
        first = case.hidden["first_error"]
        said, right = lines(case), case.correct.split("\n")
        assert all(ok for line in right for ok in equations(line))
        if first is None:
            assert said == right
            continue
        [flaw] = case.flaws
        assert case.units_of(flaw) == [first]
        assert said[:first] == right[:first]
        assert said[first] != right[first]
        assert right[first] in flaw.note
        assert case.hidden["steps"][first] != case.hidden["correct_steps"][first]
        assert all(ok for number, line in enumerate(said) if number != first for ok in equations(line))
        if flaw.type == "arithmetic_slip" and equations(said[first]):
            slips += not all(equations(said[first]))
        elif flaw.type in ("wrong_copy", "wrong_operand", "wrong_operation", "skipped_case", "repeated_case"):
            assert all(equations(said[first])), said[first]
    assert slips > 50


def test_what_follows_a_wrong_result_goes_on_from_it() -> None:
    """In a running total each step begins with the result before, whatever that was, but for the step that is wrong."""
    seen = 0
    for case in everything():
        if case.structure not in ("shop", "running_total"):
            continue
        steps = [tuple(step) for step in case.hidden["steps"] if isinstance(step, list) and len(step) == 4]
        offset = len(case.hidden["steps"]) - len(steps) - 1  # remarks at the beginning; the answer is no calculation
        for number, (before, after) in enumerate(pairwise(steps), start=1):
            copied_wrongly = case.flaws and case.flaws[0].type == "wrong_copy"
            if not (copied_wrongly and offset + number >= case.hidden["first_error"] - 1):
                assert before[3] == after[0]
                seen += 1
    assert seen > 300


def test_a_skipped_and_a_repeated_entry_are_what_they_are_called() -> None:
    seen = {"skipped_case": 0, "repeated_case": 0}
    for case in many("train"):
        if case.structure in ("shop", "running_total") and case.flaws and case.flaws[0].type in seen:
            used = [[step[1], step[2]] for step in case.hidden["steps"] if isinstance(step, list) and len(step) == 4]
            entries = case.hidden["params"]["entries"]
            assert len(used) == len(entries) + (1 if case.flaws[0].type == "repeated_case" else -1)
            assert all(one in entries for one in used)
            seen[case.flaws[0].type] += 1
    assert min(seen.values()) > 2


def test_labels_follow_prm800k() -> None:
    for case in everything():
        ratings, first = case.hidden["ratings"], case.hidden["first_error"]
        assert len(ratings) == len(case.units)
        if first is None:
            assert set(ratings) <= {0, 1}
        else:
            assert set(ratings[:first]) <= {0, 1}
            assert ratings[first] == -1
            assert set(ratings[first + 1 :]) <= {None}
        for rating, line in zip(ratings, lines(case), strict=True):
            assert rating != 0 or not re.search(r"\d \W", line)  # a remark calculates nothing
    assert {rating for case in everything() for rating in case.hidden["ratings"]} == {1, 0, -1, None}


def test_a_wrong_step_rarely_leads_to_the_right_answer() -> None:
    flawed = [case for case in everything() if case.flaws]
    lucky = [case for case in flawed if case.hidden["answer_right"]]
    assert 0 < len(lucky) < 0.1 * len(flawed)
    assert {case.flaws[0].severity for case in lucky} == {"minor"}
    assert {case.flaws[0].severity for case in flawed if case not in lucky} == {"major"}


def test_all_types_occur_and_the_kinds_differ_between_the_splits() -> None:
    assert {flaw.type for case in everything() for flaw in case.flaws} == set(TYPES)
    assert not set(KINDS["train"]) & set(KINDS["test"])
    train, test = (strings(wordings(split)) for split in SPLITS)
    assert not train & test
    assert not set(wordings("train")["names"]) & set(wordings("test")["names"])


def strings(node: Any) -> set[str]:
    if isinstance(node, str):
        return {node}
    return set().union(*(strings(child) for child in (node.values() if isinstance(node, dict) else node)))


@pytest.mark.parametrize("split", SPLITS)
def test_text_is_clean_on_its_surface(split: Split) -> None:
    for case in many(split):
        for text in (case.source, case.response, case.correct, *(flaw.note for flaw in case.flaws)):
            assert not re.search(r"[{}<>\[\]|]|  |,[,.;:]| ,|\.\.|\. [a-z]", text), text
        assert not re.search(r"-\d", case.response)


def test_difficulty_makes_solutions_longer_numbers_larger_and_errors_smaller() -> None:
    easy, hard = (generate(150, 1, kind="running_total", flawed=1, difficulty=level) for level in (0.0, 1.0))
    assert sum(len(case.units) for case in hard) > 1.7 * sum(len(case.units) for case in easy)

    def off(cases: list[Case]) -> float:
        errors = [abs(int(case.hidden["said"]) - int(case.hidden["answer"])) / (1 + int(case.hidden["answer"]))
                  for case in cases if case.flaws[0].type == "arithmetic_slip"]  # fmt: skip
        return sum(errors) / len(errors)

    assert off(hard) < 0.5 * off(easy)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("steps", [2, 12])
def test_every_kind_can_be_made_at_both_ends(split: Split, steps: int) -> None:
    for kind in KINDS[split]:
        for difficulty in (0.0, 1.0):
            cases = generate(4, 3, split, steps=steps, kind=kind, difficulty=difficulty, flawed=1)
            assert all(case.flaws and case.structure == kind for case in cases)


def test_the_same_arguments_give_the_same_cases_and_a_prefix_stays() -> None:
    assert generate(8, 4) == generate(8, 4)
    assert generate(8, 4)[:3] == generate(3, 4)
    assert generate(3, 4) != generate(3, 5)
    assert not any(case.flaws for case in generate(20, 1, flawed=0))
    assert all(case.flaws for case in generate(50, 1, flawed=1))
    json.dumps(dict(generate(1, 1)[0].hidden))


def test_solutions_are_near_chance_for_length_and_words() -> None:
    cases = generate(400, 11, flawed=1)
    for found in (shortcuts(cases), shortcuts(cases, generate(200, 12, "test", flawed=1))):
        assert found["length"].value < 0.56
        assert found["words"].value < 0.58  # 400 pairs: the standard error is about 0.018


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 1}, "2 to 12"),
        ({"steps": 13}, "2 to 12"),
        ({"difficulty": 1.5}, "difficulty"),
        ({"flawed": -0.1}, "flawed"),
        ({"split": "dev"}, "split"),
        ({"kind": "journey"}, "no problems of the kind 'journey' in train"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        generate(1, 0, **arguments)


# Real solutions


def labeled(*steps: Any, reason: str = "found_error", own: list[str] | None = None) -> dict[str, Any]:
    made = [
        {
            "completions": [{"text": text, "rating": rating, "flagged": None} for text, rating in completions],
            "chosen_completion": chosen,
            "human_completion": human,
        }
        for completions, chosen, human in steps
    ]
    question = {"problem": "What is 2 + 2?", "ground_truth_answer": "4", "pre_generated_steps": own}
    return {"question": question, "label": {"steps": made, "finish_reason": reason}}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prm800k_is_read_with_its_labels_up_to_the_first_error(tmp_path: Path) -> None:
    row = labeled(
        ([("Let us see.", 0)], 0, None),
        ([("It is 4.", 1), ("It is 3.", -1)], 0, None),
        ([("Hence 5.", -1), ("Hence 4.", 1)], None, None),
        own=["Let us see.", "It is 4.", "Hence 5.", "The answer is 5."],
    )
    [case] = load_prm800k(written(tmp_path / "a.jsonl", row), "test")
    assert case.response == "Let us see.\nIt is 4.\nHence 5.\nThe answer is 5."
    assert case.hidden["ratings"] == [0, 1, -1, None]
    [flaw] = case.flaws
    assert (flaw.type, case.response[flaw.start : flaw.end], case.correct) == ("wrong_step", "Hence 5.", "")
    assert (case.source, case.split, case.hidden["answer"]) == ("What is 2 + 2?", "test", "4")


def test_prm800k_takes_the_chosen_or_the_human_completion_and_passes_over_what_was_given_up(tmp_path: Path) -> None:
    good = labeled(
        ([("It is 3.", -1), ("It is 4.", 1)], 1, None),
        ([("No.", -1)], None, {"text": "So 4.", "rating": None}),
        reason="solution",
    )
    broken = labeled(([("It is 4.", 1)], 0, None), reason="bad_problem")
    [case] = load_prm800k(written(tmp_path / "a.jsonl", good, broken))
    assert case.response == case.correct == "It is 4.\nSo 4."
    assert case.hidden["ratings"] == [1, 1]
    assert not case.flaws


def test_gsm8k_becomes_correct_solutions_in_steps(tmp_path: Path) -> None:
    row = {
        "question": "How many?",
        "answer": "She sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.\n#### 72",
    }
    [case] = load_gsm8k(written(tmp_path / "g.jsonl", row))
    assert lines(case) == ["She sold 48/2 = 24 clips.", "In all 48+24 = 72.", "The answer is 72."]
    assert case.response == case.correct
    assert (case.hidden["answer"], case.hidden["ratings"], case.flaws) == ("72", [1, 1, 1], ())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "x"}, "line 1 is not in PRM800K's layout"),
        ({"question": {}, "label": {"steps": []}}, "no question.problem"),
        (labeled(([("a", 7)], 0, None)), "step 1: a completion needs a text and a rating"),
        (labeled(([("a", 1)], 3, None)), "chosen completion is 3"),
        (labeled(([("a", 1)], 0, None), reason="give_up"), "holds no labeled solutions"),
        ([1], "line 1 holds a list, not an object"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_prm800k(written(tmp_path / "a.jsonl", row))


def test_bad_gsm8k_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="GSM8K's layout"):
        load_gsm8k(written(tmp_path / "a.jsonl", {"question": "x", "answer": "no number"}))
    with pytest.raises(DataError, match="holds no problems"):
        load_gsm8k(written(tmp_path / "b.jsonl"))
    with pytest.raises(DataError, match="cannot be read"):
        load_gsm8k(tmp_path / "none.jsonl")
