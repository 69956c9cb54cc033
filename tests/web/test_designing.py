"""A form becomes a study: the same power as the command computes, every problem at its field, a file that runs."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.errors import SettingsError
from kilter.oversight.assistance import ARMS
from kilter.oversight.draft import as_file
from kilter.oversight.study import Study, cases_of, plan_of, read_study, require_power
from kilter.testbeds import TESTBEDS
from kilter.web import Site
from kilter.web.designing import FIELDS, MOST_TRIALS, SAMPLE, Designed, designed, read_form
from kilter.web.wording import texts

ALL = [arm for arm in ARMS if arm != "none"]
SMALL = {"name": "one", "cases.testbed": "reasoning", "cases.n": "40"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(None, None, runs=tmp_path)  # type: ignore[arg-type]  # nothing is asked of desk and people


def design(site: Site, fields: Mapping[str, str], arms: Sequence[str] = ("critiques",)) -> Designed:
    """What the page shows in the end."""
    while (found := designed(site, "somebody", fields, arms)).state == "computing":
        time.sleep(0.05)
    return found


def problem(site: Site, fields: dict[str, str], arms: Sequence[str] = ("critiques",)) -> dict[str, str]:
    found = design(site, SMALL | fields, arms)
    assert (found.state, found.file, found.power) == ("wrong", None, None)
    return found.problems


def study_of(fields: Mapping[str, str], arms: Sequence[str]) -> Study:
    study, problems = read_form(fields, arms)
    assert study is not None, problems
    return study


def test_the_power_is_the_one_that_the_command_computes(site: Site) -> None:
    for fields in ({"raters.kind": "simulated", "raters.count": "40"}, {"items_per_rater": "10"}):
        found = design(site, SMALL | fields)
        study = study_of(SMALL | fields, ["critiques"])
        cases = cases_of(study.cases)
        trials = plan_of(study, len(cases))
        if found.state == "ready":
            assert found.power == require_power(study, cases, trials)
            assert found.enough is None
        else:
            with pytest.raises(SettingsError, match=rf"is {found.power:.0%}.* {found.enough} raters would do"):
                require_power(study, cases, trials)
            assert f"{found.enough} raters would do." in found.said
        assert f"{100 * (found.power or 0):.1f}".partition(".")[0] + " % chance" in found.said
        assert found.figures[0].value == f"{len(trials):,}"


def test_of_many_cases_the_first_tell_how_many_flaws_there_are(site: Site) -> None:
    found = design(site, SMALL | {"cases.n": "200"})
    assert f"the first {SAMPLE} of the 200 cases" in found.said
    assert found.power is not None
    assert found.power > (design(site, SMALL).power or 1)


def test_fewer_arms_and_more_raters_can_show_more(site: Site) -> None:
    few = design(site, SMALL | {"raters.kind": "simulated", "raters.count": "8"}, ALL)
    less = design(site, SMALL | {"raters.kind": "simulated", "raters.count": "8"}, ["critiques"])
    more = design(site, SMALL | {"raters.kind": "simulated", "raters.count": "60"}, ALL)
    assert (few.power or 1) < min(less.power or 0, more.power or 0)


def test_a_study_that_raters_cannot_save_is_told_so(site: Site) -> None:
    found = design(site, SMALL | {"cases.n": "4", "expected.ratio": "1.01"})
    assert (found.state, found.enough) == ("small", None)
    assert "More cases" in found.said
    assert found.file is not None


def test_the_time_of_people_is_told_and_of_nobody_else(site: Site) -> None:
    names = [[one.name for one in design(site, SMALL | fields).figures] for fields in ({"raters.kind": "people"}, {})]
    assert names[0][-1] == "time of people, roughly"
    assert len(names[1]) == len(names[0]) - 1


@pytest.mark.parametrize(
    ("fields", "arms", "where", "said"),
    [
        ({"name": ""}, ALL, "name", "needed"),
        ({"name": "My Study"}, ALL, "name", "Lower-case"),
        ({"cases.testbed": "stroies"}, ALL, "cases.testbed", "did you mean 'stories'"),
        ({"cases.n": "sixty"}, ALL, "cases.n", "whole number"),
        ({"cases.n": "2000"}, ALL, "cases.n", "Between 1 and 1,000"),
        ({"cases.n": "4"}, ALL, "cases.n", "5 or more"),
        ({"cases.words": "300"}, ALL, "cases.words", "is not a setting of the testbed 'reasoning'"),
        ({"cases.testbed": "stories", "cases.words": "20"}, ALL, "cases.words", "200 to 20,000"),
        ({"cases.difficulty": "0,5"}, ALL, "cases.difficulty", "A number"),
        ({"cases.difficulty": "nan"}, ALL, "cases.difficulty", "."),
        ({"cases.flawed": "1.2"}, ALL, "cases.flawed", "At most 1 is"),
        ({"cases.flawed": "0"}, ALL, "cases.flawed", "nothing to find"),
        ({}, [], "arms", "no arm with assistance"),
        ({}, ["oracel"], "arms", "'oracle'"),
        ({"critic.kind": "program"}, ["oracle"], "arms", "No arm shows what the critic says"),
        ({}, ["oracle", "oracle"], "arms", "twice"),
        ({"critic.kind": "program", "critic.finds": "2"}, ALL, "critic.finds", "At most 1 is"),
        ({"critic.kind": "program", "critic.invents": "inf"}, ALL, "critic.invents", "Between 0 and 20"),
        ({"critic.kind": "model", "critic.model": " "}, ALL, "critic.model", "needed"),
        ({"critic.kind": "model", "critic.model": "x", "critic.finds": "1"}, ALL, "critic.finds", "no setting of"),
        ({"critic.kind": "passages", "critic.model": "x", "critic.threshold": "-1"}, ALL, "critic.threshold", "0 or"),
        ({"critic.kind": "oracle"}, ALL, "critic.kind", "'program'"),
        ({"critic.kind": "model", "critic.model": "x", "critic.key": "K"}, ALL, "critic.kind", "the address of a"),
        ({"cases.view": "judge"}, ALL, "cases.testbed", "nothing says what a judge may see"),
        ({"cases.testbed": "facts", "cases.view": "all"}, ALL, "cases.view", "'judge'"),
        ({"raters.count": "9"}, ALL, "raters.kind", "kind is needed"),
        ({"raters.kind": "people", "raters.count": "3"}, ALL, "raters.count", "5 raters or more"),
        ({"raters.kind": "people", "raters.count": "1001"}, ALL, "raters.count", "Between 1 and 1,000"),
        ({"raters.kind": "simulated", "raters.work.sees": "x"}, ALL, "raters.work.sees", "A number"),
        ({"cases.n": "100", "raters.kind": "people", "raters.count": "900"}, ALL, "raters.count", f"{MOST_TRIALS:,}"),
        ({"items_per_rater": "41"}, ALL, "items_per_rater", "At most 40"),
        ({"items_per_rater": "4"}, ALL, "items_per_rater", "5 or more"),
        ({"expected.ratio": "1"}, ALL, "expected.ratio", "no effect"),
        ({"expected.ratio": "0"}, ALL, "expected.ratio", "More than 0"),
        ({"expected.ratio": "inf"}, ALL, "expected.ratio", "Between 0.05 and 20"),
        ({"expected.power": "1"}, ALL, "expected.power", "Less than 1"),
        ({"seed": "-1"}, ALL, "seed", "Between 0"),
        ({"seed": "9" * 5000}, ALL, "seed", "."),
        ({"cases.file": "/etc/passwd"}, ALL, "cases.file", "no such field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(
    site: Site, fields: dict[str, str], arms: list[str], where: str, said: str
) -> None:
    found = problem(site, fields, arms)
    assert list(found) == [where]
    assert said in found[where]


def test_everything_that_is_wrong_is_said_at_once(site: Site) -> None:
    wrong = {"name": "", "cases.n": "x", "raters.kind": "model", "expected.power": "2"}
    assert set(problem(site, wrong)) == {"name", "cases.n", "raters.model", "expected.power"}


def test_the_name_of_a_study_that_was_begun_is_taken(site: Site) -> None:
    assert site.runs is not None
    (site.runs / "one").mkdir()
    (site.runs / "one" / "study.json").write_text("{}")
    assert "already" in problem(site, {})["name"]


def shares(low: float = 0, high: float = 1) -> st.SearchStrategy[str]:
    return st.floats(low, high).map(repr)


NAMES = st.from_regex(re.compile(r"[a-z0-9][a-z0-9-]{0,20}", re.ASCII), fullmatch=True)
MODELS = st.text(st.characters(codec="utf-8"), max_size=300).filter(lambda text: text.strip())
WHOLE = st.integers(0, 900).map(str)
KINDS: dict[str, dict[str, dict[str, st.SearchStrategy[str]]]] = {
    "critic": {
        "program": {"finds": shares(), "invents": shares(0, 20)}, "model": {"model": MODELS, "name": MODELS},
        "passages": {"model": MODELS, "threshold": shares()}, "surprise": {"model": MODELS, "threshold": shares()},
    },
    "raters": {
        "simulated": {"work.sees": shares(), "work.trust": shares()}, "model": {"model": MODELS, "name": MODELS},
        "people": {},
    },
}  # fmt: skip


@st.composite
def forms(draw: Any) -> tuple[dict[str, str], list[str]]:
    made = {"name": draw(NAMES), "cases.testbed": draw(st.sampled_from(sorted(TESTBEDS)))}
    arms = draw(st.lists(st.sampled_from(ALL), min_size=1, unique=True))
    parts = KINDS.items() if {"critiques", "placebo"} & set(arms) else [("raters", KINDS["raters"])]
    for part, kinds in parts:
        kind = made[f"{part}.kind"] = draw(st.sampled_from(sorted(kinds)))
        for name, values in kinds[kind].items():
            if name == "model" or draw(st.booleans()):
                made[f"{part}.{name}"] = draw(values)
    made["raters.count"] = str(draw(st.integers(5, 1000)))
    more = {
        "cases.n": st.integers(5, 1000).map(str), "cases.words": WHOLE, "cases.difficulty": shares(),
        "cases.flawed": shares(), "items_per_rater": st.integers(1, 900).map(str), "expected.ratio": shares(0.05, 20),
        "expected.power": shares(0.01, 0.99), "seed": WHOLE,
    }  # fmt: skip
    made |= {name: draw(values) for name, values in more.items() if draw(st.booleans())}
    return made, arms


@settings(max_examples=150, deadline=None)
@given(form=forms())
def test_the_file_of_a_form_reads_back_as_the_same_study(
    tmp_path_factory: pytest.TempPathFactory, form: tuple[dict[str, str], list[str]]
) -> None:
    fields, arms = form
    assert fields.keys() <= set(FIELDS)
    study = study_of(fields, arms)
    file = tmp_path_factory.getbasetemp() / "form.yaml"
    file.write_bytes(as_file(study).encode())  # as a browser saves it
    assert read_study(file) == study
    assert (study.name, study.arms) == (fields["name"], ("none", *arms))


def test_the_form_has_every_kind_of_critic_and_of_raters() -> None:
    for part, kinds in KINDS.items():
        said = "critics" if part == "critic" else "rater_kinds"
        schema = Study.model_json_schema()["properties"][part]["discriminator"]["mapping"]
        assert set(schema) == set(kinds) == set(texts()["design"][said])


def test_what_was_typed_is_what_is_set() -> None:
    typed = {
        "name": "one", "cases.words": "300", "critic.kind": "passages", "critic.model": " folder ",
        "critic.threshold": "0.25", "raters.kind": "simulated", "raters.work.trust": "0.9", "items_per_rater": "",
    }  # fmt: skip
    study = study_of(typed, ["critiques"])
    assert (study.cases.words, study.critic.kind, study.items_per_rater) == (300, "passages", None)
    assert study.critic.model_dump() == {
        "kind": "passages", "model": "folder", "threshold": 0.25, "most": 3, "max_tokens": 60,
    }  # fmt: skip
    assert study.raters.kind == "simulated"
    assert study.raters.work.trust == 0.9
    sandwich = {
        "name": "two", "cases.testbed": "facts", "cases.view": "judge", "critic.kind": "model",
        "critic.model": "http://here", "critic.key": "A_KEY",
    }  # fmt: skip
    study = study_of(sandwich, ["critiques"])
    assert study.cases.view == "judge"
    assert study.critic.kind == "model"
    assert study.critic.key == "A_KEY"
