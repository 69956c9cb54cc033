from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_cases import made_case

from kilter.errors import DataError, SettingsError
from kilter.oversight.study import (
    CasesSettings,
    Study,
    cases_of,
    chance_to_show,
    plan_of,
    read_study,
    require_power,
    require_types,
)
from kilter.settings import build
from kilter.testbeds import as_jsonl

CASES = [made_case(number) for number in range(20)]
RECIPES = Path(__file__).parents[2] / "recipes" / "oversight"


def study(**values: object) -> Study:
    return build(Study, {"name": "one", **values}, "here")


def test_a_file_says_it_all_and_is_named_after_itself(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(as_jsonl(CASES))
    file = tmp_path / "my_study.yaml"
    file.write_text("arms: [none, oracle]\ncases: {file: cases.jsonl, n: 12}\nraters: {kind: people, count: 3}\n")
    read = read_study(file)
    assert (read.name, read.arms, read.raters.kind, read.raters.count) == ("my-study", ("none", "oracle"), "people", 3)
    assert cases_of(read.cases) == CASES[:12]


def test_of_a_file_all_cases_are_judged_and_of_a_testbed_sixty(tmp_path: Path) -> None:
    many = [made_case(number) for number in range(70)]
    (tmp_path / "cases.jsonl").write_text(as_jsonl(many))
    assert cases_of(CasesSettings(file=str(tmp_path / "cases.jsonl"))) == many
    assert len(cases_of(CasesSettings(testbed="reasoning"))) == 60
    assert CasesSettings(testbed="reasoning", n=60) == CasesSettings(testbed="reasoning")


def test_a_type_of_flaw_that_no_case_has_is_told_with_the_nearest() -> None:
    typed = study(raters={"kind": "simulated", "work": {"sees_type": {"odd": 0.1, "evne": 0.5}}})
    with pytest.raises(SettingsError, match=r"'evne', but no flaw of the cases .* did you mean 'even'"):
        require_types(typed, CASES)
    require_types(study(raters={"kind": "simulated", "work": {"sees_type": {"odd": 0.1}}}), CASES)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_recipes_can_be_run_and_are_large_enough(file: Path) -> None:
    one = read_study(file)
    cases = cases_of(one.cases)
    assert require_power(one, cases, plan_of(one, len(cases))) >= 0.8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arms: [critiques, oracle]", "arms must hold 'none'"),
        ("arms: [none]", "no arm with assistance"),
        ("arms: [none, oracle, oracle]", "named twice"),
        ("arms: [none, oracel]", "arms"),
        ("raters: {kind: simulated, cuont: 3}", "cuont"),
        ("critic: {kind: program, finds: 2}", "finds"),
        ("arms: [none, oracle, misleading]\ncritic: {kind: program}", "no arm shows what the critic says"),
        ("cases: {file: x.jsonl, seed: 0}", "seed would have no effect.* leave it or the file out"),
        ("cases: {file: x.jsonl, testbed: facts, difficulty: 0.5, n: 3}", "testbed and difficulty would have no"),
        ("cases: {n: null}", "n is needed"),
        ("raters: {kind: model, model: smollm2-135m, key: A_KEY}", "key has no effect unless model is the address"),
        ("critic: {kind: model, model: here, key: A_KEY}", "key has no effect unless model is the address"),
        ("critic: {kind: model, model: here, samples: 4}", "several samples of temperature 0 are one critique"),
        ("critic: {kind: model, model: here, threshold: 0.5}", "threshold has no effect on one critique"),
        ("critic: {kind: model, model: here, looks_over: 3}", "looks_over"),
        ("- 1", "is no study"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_study(file)
    with pytest.raises(SettingsError, match="There is no file"):
        read_study(tmp_path / "none.yaml")


def test_a_larger_study_can_show_more() -> None:
    small, large = (study(raters={"kind": "simulated", "count": count}) for count in (5, 20))
    chances = [chance_to_show(one, CASES, plan_of(one, len(CASES))) for one in (small, large)]
    assert 0 < chances[0] < chances[1] < 1
    easier = study(raters={"kind": "simulated", "count": 5}, expected={"ratio": 3.0})
    assert chance_to_show(easier, CASES, plan_of(easier, len(CASES))) > chances[0]


def test_a_study_that_is_too_small_is_refused_with_what_would_do() -> None:
    small = study(raters={"kind": "simulated", "count": 5})
    with pytest.raises(
        SettingsError, match=r"chance to tell a ratio of 1.5 from 1 is \d+%.* (\d+) raters would do"
    ) as no:
        require_power(small, CASES, plan_of(small, len(CASES)))
    [count] = re.findall(r"(\d+) raters would do", str(no.value))
    enough = study(raters={"kind": "simulated", "count": int(count)})
    assert require_power(enough, CASES, plan_of(enough, len(CASES))) >= 0.8


@pytest.mark.parametrize("kind", ["simulated", "model", "people"])
def test_the_usual_number_of_raters_is_enough_for_the_usual_arms(kind: str) -> None:
    raters = {"kind": kind, "model": "http://here"} if kind == "model" else {"kind": kind}
    assert plan_of(study(raters=raters), len(CASES))


def test_nothing_to_find_is_refused() -> None:
    clean = [made_case(number, wrong=()) for number in range(20)]
    with pytest.raises(DataError, match="nothing to find"):
        chance_to_show(study(), clean, plan_of(study(), 20))
