from __future__ import annotations

import ast
import itertools
import json
import random
import re
from functools import cache
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.testbeds import Case
from kilter.testbeds.case import Split
from kilter.testbeds.code import TYPES, generate
from kilter.testbeds.code.problem import Problem, Style, written
from kilter.testbeds.code.problems import problems
from kilter.testbeds.code.trial import Job, differing, outcomes
from kilter.testbeds.shortcuts import shortcuts

SPLITS: list[Split] = ["train", "test"]
PROBLEMS = [*problems("train"), *problems("test")]


@cache
def many(split: Split) -> list[Case]:
    return generate(60, 7, split, flawed=0.8, difficulty=0.4)


def everything() -> list[Case]:
    return [case for split in SPLITS for case in many(split)]


def settings(problem: Problem) -> list[dict[str, int]]:
    sizes = problem.sizes()
    return [dict(zip(sizes, one, strict=True)) for one in itertools.product(*map(range, sizes.values()))]


def test_correct_functions_pass_every_test_and_flawed_ones_fail_just_those_that_are_said() -> None:
    """Run again from what a case holds, without the reference: hundreds of functions."""
    cases = everything()
    jobs = []
    for case in cases:
        tests = [*case.hidden["examples"], *case.hidden["tests"]]
        calls = tuple(json.loads(json.dumps(arguments)) for arguments, _ in tests)
        jobs.append(Job(case.hidden["function"], (case.correct, case.response), calls))
    for case, (correct, response) in zip(cases, outcomes(jobs, trusted=True), strict=True):
        expected = [said for _, said in [*case.hidden["examples"], *case.hidden["tests"]]]
        shown = len(case.hidden["examples"])
        assert not differing(expected, correct), case.correct
        failing = differing(expected, response)
        assert [at - shown for at in failing] == case.hidden["failing"], case.response
        assert bool(failing) == bool(case.flaws)
        assert shown == 3
        assert all(at >= shown for at in failing), "an example of the docstring fails"


def test_notes_quote_a_call_with_what_it_really_gives() -> None:
    flawed = [case for case in everything() if case.flaws]
    jobs, bugs = [], []
    for case in flawed:
        assert len(case.hidden["bugs"]) == len(case.flaws)
        for bug in case.hidden["bugs"]:
            call = ast.parse(bug["call"], mode="eval").body
            assert isinstance(call, ast.Call)
            arguments = [ast.literal_eval(one) for one in call.args]
            jobs.append(Job(case.hidden["function"], (case.correct, case.response), (arguments,)))
            bugs.append((case, bug))
    for (case, bug), ((right,), (wrong,)) in zip(bugs, outcomes(jobs, trusted=True), strict=True):
        assert not differing([bug["expected"]], [right])
        assert not differing([bug["got"]], [wrong])
        assert differing([right], [wrong])
        note = next(flaw.note for flaw in case.flaws if bug["call"] in flaw.note and bug["got"] in flaw.note)
        assert bug["expected"] in note


def test_flaws_lie_where_the_text_differs_from_the_correct_one() -> None:
    for case in everything():
        wrong, right = case.response.splitlines(), case.correct.splitlines()
        new = {line.strip() for line in wrong} - {line.strip() for line in right}
        for line in new:
            start = case.response.index(line)
            assert any(flaw.start <= start + len(line) and start <= flaw.end for flaw in case.flaws), case.response
        for flaw in case.flaws:
            assert case.response[flaw.start] not in " \n"
            assert flaw.type in TYPES
            assert flaw.note.count(". ") >= 1


def test_evidence_is_the_sentence_that_the_function_breaks() -> None:
    seen = 0
    for case in everything():
        for flaw in case.flaws:
            for start, end in flaw.evidence:
                passage = " ".join(case.source[start:end].split())
                spec = next(one for one in PROBLEMS if one.name == case.structure).spec
                flat = re.sub(r"`\w+`", "`_`", " ".join(spec.split()))
                assert re.sub(r"`\w+`", "`_`", passage) in flat
                seen += 1
    assert seen > 120


@pytest.mark.parametrize("split", SPLITS)
def test_all_styles_of_a_function_do_the_same_and_every_knob_makes_a_difference(split: Split) -> None:
    jobs, rows = [], []
    for problem in problems(split):
        assert set(problem.sizes()) == set(problem.knobs)
        assert set(problem.knobs.values()) <= set(TYPES)
        variants, rng = settings(problem), random.Random(5)
        calls = tuple(problem.arguments(rng) for _ in range(200))
        codes = [ast.unparse(written(problem, knobs, Style())) for knobs in variants]
        for seed in range(4):
            style = Style(seed, {}, seed % 2 == 1, seed > 1)
            codes += [ast.unparse(written(problem, knobs, style)) for knobs in variants]
        jobs.append(Job(problem.name, tuple(codes), calls))
        rows.append((problem, variants))
        assert all(8 <= code.count("\n") + 1 <= 40 for code in codes), problem.name
        assert problem.arguments(random.Random(3)) == json.loads(json.dumps(problem.arguments(random.Random(3))))
    for (problem, variants), given in zip(rows, outcomes(jobs, trusted=True), strict=True):
        for index, one in enumerate(given):
            assert not differing(given[index % len(variants)], one), problem.name
        for knob in problem.knobs:
            pairs = [(variants.index({**one, knob: 0}), variants.index({**one, knob: 1})) for one in variants]
            assert any(0 < len(differing(given[a], given[b])) < 190 for a, b in pairs), (problem.name, knob)


def test_splits_share_no_problem_and_no_name_of_a_function() -> None:
    train, test = (problems(split) for split in SPLITS)
    assert len(train) >= 30
    assert len(test) >= 15
    names = [{one for problem in group for one in (problem.name, *problem.names.get(problem.name, ()))}
             for group in (train, test)]  # fmt: skip
    assert not names[0] & names[1]
    assert len({one.name for one in PROBLEMS}) == len(PROBLEMS)
    assert {case.structure for case in many("train")} <= {one.name for one in train}
    assert {case.structure for case in many("test")} <= {one.name for one in test}


def test_renamed_variables_stay_apart_and_the_docstring_follows() -> None:
    for problem in PROBLEMS:
        others = [one for name, more in problem.names.items() for one in more]
        used = {node.id for knobs in settings(problem) for node in ast.walk(written(problem, knobs, Style()))
                if isinstance(node, ast.Name)}  # fmt: skip
        assert not set(others) & used, problem.name
    for case in everything():
        parameters = re.match(r"def \w+\((.*?)\):", case.source)
        assert parameters is not None
        for name in re.findall(r"`(\w+)`", case.source):
            assert name in parameters[1], case.source


def test_many_types_occur_and_both_severities() -> None:
    for split in SPLITS:
        flaws = [flaw for case in many(split) for flaw in case.flaws]
        assert len({flaw.type for flaw in flaws}) >= 8
        assert {flaw.severity for flaw in flaws} == {"minor", "major"}


def test_correct_and_flawed_are_laid_out_the_same_way() -> None:
    for case in everything():
        for text in (case.response, case.correct):
            assert ast.unparse(ast.parse(text)) == text
            assert '"""' not in text
            assert "#" not in text or "'#'" in text
        assert case.source.startswith(case.correct.splitlines()[0])


def test_the_same_arguments_give_the_same_cases_and_a_prefix_stays() -> None:
    assert generate(8, 4) == generate(8, 4)
    assert generate(8, 4)[:3] == generate(3, 4)
    assert generate(3, 4) != generate(3, 5)


def test_flawed_is_the_share_and_difficulty_means_fewer_bugs_that_fewer_tests_find() -> None:
    assert not any(case.flaws for case in generate(20, 1, flawed=0))
    easy, hard = (generate(60, 1, flawed=1, difficulty=level) for level in (0.0, 1.0))
    assert all(case.flaws for case in easy + hard)
    assert all(len(case.flaws) == 1 for case in hard)
    assert sum(len(case.flaws) for case in easy) > 1.2 * len(easy)
    found = [sum(len(case.hidden["failing"]) / len(case.hidden["tests"]) for case in cases) for cases in (easy, hard)]
    assert found[0] > 1.5 * found[1]


def test_bugs_cannot_be_told_from_length_or_words() -> None:
    train, test = (generate(90, 11, split, flawed=1) for split in SPLITS)
    for found in (shortcuts(train), shortcuts(train, test)):
        assert found["length"].value < 0.57
        assert found["words"].value < 0.61  # 200 pairs: the standard error is about 0.02


def test_a_case_is_plain_data() -> None:
    for case in many("train")[:20]:
        assert json.loads(json.dumps(dict(case.hidden)))["function"] == case.hidden["function"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"difficulty": 1.5}, "difficulty"), ({"flawed": -0.1}, "flawed"), ({"n": -1}, "0 or more")],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        generate(**{"n": 1, "seed": 0, **arguments})
    with pytest.raises(DataError, match="split"):
        generate(1, 0, "dev")  # type: ignore[arg-type]
