"""Studies from end to end: with simulated raters, with models that are pretended, killed in the middle, and shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_cases import made_case

from kilter.errors import DataError, ModelError, ServerError, SettingsError
from kilter.models import endpoint
from kilter.models.chat import ChatModel
from kilter.oversight.conduct import conduct, done_so_far
from kilter.oversight.kept import STUDY, TRIALS, Kept
from kilter.oversight.page import write_page
from kilter.oversight.prompted import ATTEMPTS, NEXT_SEED
from kilter.oversight.results import critic_alone, evidence_of, results_of
from kilter.oversight.study import PromptedSettings, Study
from kilter.record import Workspace
from kilter.settings import build
from kilter.testbeds import as_jsonl
from kilter.testbeds.facts import judge_view

Pretend = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "w") as opened:
        yield opened


@pytest.fixture
def cases_file(tmp_path: Path) -> str:
    file = tmp_path / "cases.jsonl"
    file.write_text(as_jsonl(made_case(number, wrong=(number % 8, (number + 3) % 8)) for number in range(20)))
    return str(file)


def no_model(*_: object) -> ChatModel:
    raise AssertionError("no model is asked in this study")


def quiet(*_: object) -> None:
    pass


def simulated(cases_file: str, **values: Any) -> Study:
    return build(Study, {"name": "one", "cases": {"file": cases_file}, "expected": {"ratio": 2}, **values}, "here")


def test_help_helps_placebo_does_not_and_misleading_harms(workspace: Workspace, cases_file: str) -> None:
    done = conduct(
        simulated(cases_file, critic={"kind": "program", "finds": 0.8, "invents": 0.1}), workspace, no_model, quiet
    )
    assert len(done.outcomes) == 20 * 20
    results = results_of(done)
    ratios = {arm: one.effect.ratio.estimate for arm, one in results.arms.items() if one.effect.ratio}
    assert ratios["critiques"].low > 1
    assert ratios["oracle"].low > 1
    assert ratios["placebo"].low < 1 < ratios["placebo"].high
    assert ratios["misleading"].high < 1
    assert results.arms["misleading"].effect.false.value > results.arms["none"].effect.false.value
    assert results.critic is not None
    assert results.critic.found.estimate.value == pytest.approx(0.8, abs=0.15)
    figures = evidence_of(results)
    assert figures["found_ratio_critiques"] == ratios["critiques"]


def test_everything_is_on_the_record_twice_answered_and_with_its_help(workspace: Workspace, cases_file: str) -> None:
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    judgments = workspace.record.judgments()
    assert len(judgments) == 2 * len(done.outcomes)
    first = {one.id for one in judgments if one.supersedes is None}
    second = [one for one in judgments if one.supersedes is not None]
    assert {one.supersedes for one in second} == first
    assert {one.principal for one in judgments} == {"simulated"}
    exposures = workspace.record.exposures()
    assert len(exposures) == sum(len(one.help.claims) for one in done.outcomes)
    assert {one.judgment for one in exposures} <= {one.id for one in second}
    assert sum(one.accepted is True for one in exposures) == sum(
        one.review.followed.count(True) for one in done.outcomes
    )
    assert workspace.record.verify().ok
    size = workspace.record.size()
    again = conduct(simulated(cases_file), workspace, no_model, quiet)
    assert again.outcomes == done.outcomes
    assert workspace.record.size() == size


def test_two_studies_of_the_same_cases_and_seed_share_no_judgment(workspace: Workspace, cases_file: str) -> None:
    one, two = (
        conduct(simulated(cases_file, name=name, arms=["none", arm]), workspace, no_model, quiet)
        for name, arm in (("one", "critiques"), ("two", "oracle"))
    )
    assert [each.review.alone for each in one.outcomes] == [each.review.alone for each in two.outcomes]
    record = workspace.record
    assert len(record.judgments()) == 2 * (len(one.outcomes) + len(two.outcomes))
    shown = {judgment: set[str]() for judgment in {each.judgment for each in record.exposures()}}
    for each in record.exposures():
        shown[each.judgment].add(str(record.artifact(each.assistance).producer))
    assert {len(critics) for critics in shown.values()} == {1}
    size = record.size()
    conduct(one.study, workspace, no_model, quiet)
    assert record.size() == size


def test_another_study_of_the_same_name_is_refused(workspace: Workspace, cases_file: str) -> None:
    conduct(simulated(cases_file), workspace, no_model, quiet)
    with pytest.raises(DataError, match="another study of the name 'one'"):
        conduct(simulated(cases_file, seed=1), workspace, no_model, quiet)


def test_as_long_as_nothing_was_judged_a_study_may_be_mended(workspace: Workspace, cases_file: str) -> None:
    critic = {"kind": "surprise", "model": "nowhere"}
    with pytest.raises(ModelError, match="nowhere holds no critic"):
        conduct(simulated(cases_file, critic=critic, arms=["none", "critiques"]), workspace, no_model, quiet)
    silent = simulated(cases_file, critic={"kind": "program", "finds": 0, "invents": 0})
    with pytest.raises(DataError, match="nothing to show"):
        conduct(silent, workspace, no_model, quiet)
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    assert any(one.claims for one in done.shown["critiques"])
    assert done_so_far(workspace, "one").study == simulated(cases_file)


def test_a_misspelt_type_is_refused_before_anything_is_kept(workspace: Workspace, cases_file: str) -> None:
    odd = simulated(cases_file, raters={"kind": "simulated", "work": {"sees_type": {"ood": 0.5}}})
    with pytest.raises(SettingsError, match="did you mean 'odd'"):
        conduct(odd, workspace, no_model, quiet)
    assert not (workspace.runs / "one").exists()


def test_what_is_kept_with_every_setting_is_read(workspace: Workspace, cases_file: str) -> None:
    study = simulated(cases_file, arms=["none", "oracle"])
    done = conduct(study, workspace, no_model, quiet)
    kept = json.loads((done.folder / STUDY).read_text())
    assert {"testbed", "seed"} <= kept["cases"].keys()
    assert kept["critic"]["kind"] == "program"
    assert done_so_far(workspace, "one").study == study
    assert conduct(study, workspace, no_model, quiet).outcomes == done.outcomes
    del kept["cases"]["view"]  # as an earlier Kilter kept it, and then it took 60 cases of a file at most
    kept["cases"]["n"] = 60
    (done.folder / STUDY).write_text(json.dumps(kept))
    assert done_so_far(workspace, "one").outcomes == done.outcomes
    with pytest.raises(DataError, match="another study of the name 'one'"):
        conduct(study, workspace, no_model, quiet)


def test_of_a_file_that_has_grown_the_cases_of_the_first_time_are_judged(workspace: Workspace, cases_file: str) -> None:
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    with Path(cases_file).open("a") as file:
        file.write(as_jsonl(made_case(number) for number in range(20, 30)))
    assert conduct(simulated(cases_file), workspace, no_model, quiet).outcomes == done.outcomes


def test_a_kept_line_of_another_kind_is_named(workspace: Workspace, cases_file: str) -> None:
    file = conduct(simulated(cases_file), workspace, no_model, quiet).folder / TRIALS
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join([first, '{"rater": 0}\n', *others[1:]]))
    with pytest.raises(DataError, match=r"trials.jsonl, line 2 is not what a study keeps"):
        done_so_far(workspace, "one")


def test_trials_of_another_plan_are_shown_and_not_gone_on_with(workspace: Workspace, cases_file: str) -> None:
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    file = done.folder / TRIALS
    rows = [json.loads(line) for line in file.read_text().splitlines()[:100]]
    arms = {"none": "oracle", "oracle": "none"}
    for row in rows:
        row["arm"] = arms.get(row["arm"], row["arm"])
        row["followed"] = [None] * len(done.shown[row["arm"]][row["item"]].claims)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert len(done_so_far(workspace, "one").outcomes) == 100
    with pytest.raises(DataError, match=r"begun by an earlier Kilter.* another name"):
        conduct(simulated(cases_file), workspace, no_model, quiet)


def test_a_line_that_was_cut_off_is_judged_again(workspace: Workspace, cases_file: str) -> None:
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    file = done.folder / TRIALS
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert 0 < len(done_so_far(workspace, "one").outcomes) < len(done.outcomes)
    again = conduct(simulated(cases_file), workspace, no_model, quiet)
    assert again.outcomes == done.outcomes
    assert len(workspace.record.judgments()) == 2 * len(done.outcomes)


def test_a_damaged_trial_is_named_with_its_line(workspace: Workspace, cases_file: str) -> None:
    file = conduct(simulated(cases_file), workspace, no_model, quiet).folder / TRIALS
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], "{broken\n", *lines[2:]]))
    with pytest.raises(DataError, match=r"trials.jsonl, line 2 is not valid JSON"):
        done_so_far(workspace, "one")


def test_an_unfinished_study_is_shown_as_far_as_it_came(workspace: Workspace, cases_file: str) -> None:
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    few = [one for one in done.outcomes if one.trial.arm in ("none", "oracle")][:40]
    part = replace(done, outcomes=few)
    results = results_of(part)
    assert set(results.arms) == {"none", "oracle"}
    page = write_page(part, results).page.read_text()
    assert "With oracle" in page
    assert 'data-label="Placebo"' not in page
    assert "Not every planned trial was done: 40 of 400" in page
    assert "Latin square" not in page
    assert "Not every case met every arm" in page
    whole = write_page(done, results_of(done))
    assert "Not every planned" not in whole.page.read_text()
    assert "every case was judged with every arm: a Latin square" in whole.page.read_text()
    assert (whole.summary["trials"], whole.summary["planned"], whole.summary["unread"]) == (400, 400, 0)
    alone = replace(done, outcomes=[one for one in few if one.trial.arm == "none"])
    with pytest.raises(DataError, match="comparison of arms"):
        results_of(alone)


def test_a_study_that_was_refused_can_be_run_when_it_is_mended(workspace: Workspace, cases_file: str) -> None:
    Kept(workspace.runs / "one", simulated(cases_file))
    with pytest.raises(DataError, match="was judged yet"):
        done_so_far(workspace, "one")
    assert len(conduct(simulated(cases_file), workspace, no_model, quiet).cases) == 20


def test_a_critic_without_a_word_is_no_help(workspace: Workspace, cases_file: str) -> None:
    silent = simulated(cases_file, critic={"kind": "program", "finds": 0, "invents": 0})
    with pytest.raises(DataError, match="critiques and placebo there is nothing to show"):
        conduct(silent, workspace, no_model, quiet)


def test_the_page_shows_every_arm_and_the_summary_has_the_figures(workspace: Workspace, cases_file: str) -> None:
    done = conduct(simulated(cases_file), workspace, no_model, quiet)
    results = results_of(done)
    page = write_page(done, results).page.read_text()
    for words in ("never an effect on people", "Critiques", "Placebo", "Misleading", "Oracle", "The critic alone"):
        assert words in page
    assert "<script" not in page
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["arms"]["oracle"]["ratio"]["value"] == results.arms["oracle"].effect.ratio.estimate.value
    assert summary["raters"] == "simulated"
    assert len(summary["skill_maps"]["critiques"]) == 25


class Reader:
    """A model that sees one flaw of the text by itself, and every one that a critic names; `limit` answers at most."""

    def __init__(self, limit: int | None = None, answer: str | None = None) -> None:
        self.limit, self.said, self.answered = limit, answer, 0

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "reader"}]}
        self.answered += 1
        if self.limit is not None and self.answered > self.limit:
            return 500, {"error": {"message": "no more"}}
        return 200, {"choices": [{"message": {"content": self.said or self._read(body["messages"][0]["content"])}}]}

    def _read(self, text: str) -> str:
        units = dict(re.findall(r"^(\d+)\. (\w+)\.", text, re.M))
        wrong = [number for number, unit in units.items() if unit.startswith("x")]
        named = [number for number in wrong if f'"{units[number]}' in text]
        seen = sorted({*wrong[:1], *named}, key=int)
        return (
            "\n".join(f"{number} | {'odd' if (int(number) - 1) % 2 else 'even'} | It begins with x." for number in seen)
            or "none"
        )


class Mumbler(Reader):
    """It cannot be understood about one case of twenty."""

    def _read(self, text: str) -> str:
        return "Well." if "x0005" in text else super()._read(text)


def prompted(cases_file: str, address: str, **values: Any) -> Study:
    raters = {"kind": "model", "model": address, "count": 3}
    return simulated(cases_file, raters=raters, arms=["none", "oracle"], expected={"power": 0.1}, **values)


def asking(asked: PromptedSettings) -> ChatModel:
    return ChatModel(asked.model, asked.name, key=asked.key, max_tokens=asked.max_tokens)


def test_a_model_judges_alone_and_again_with_help(workspace: Workspace, cases_file: str, pretend: Pretend) -> None:
    done = conduct(prompted(cases_file, pretend(Reader())), workspace, asking, quiet)
    assert len(done.outcomes) == 60
    for one in done.outcomes:
        assert one.alone.found == 1
        assert one.found.found == (2 if one.trial.arm == "oracle" else 1)
        assert not one.found.false
    assert {one.principal for one in workspace.record.judgments()} == {"model"}
    assert {one.judge for one in workspace.record.judgments()} == {f"prompted/reader-{number}" for number in range(3)}


class Overheard(Reader):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__(answer="1 | wrong_value | It is another.")
        self.asked: list[str] = []

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path != "/v1/models":
            self.asked.append(body["messages"][0]["content"])
        return super().__call__(method, path, body)


def test_raters_are_asked_by_their_view_and_critics_see_all(workspace: Workspace, pretend: Pretend) -> None:
    critic, rater = Overheard(), Overheard()
    values = {
        "name": "sandwich", "cases": {"testbed": "facts", "n": 6, "flawed": 1, "view": "judge"},
        "arms": ["none", "critiques"], "critic": {"kind": "model", "model": pretend(critic)},
        "raters": {"kind": "model", "model": pretend(rater), "count": 2}, "expected": {"power": 0.01},
    }  # fmt: skip
    done = conduct(build(Study, values, "here"), workspace, asking, quiet)
    assert (len(critic.asked), len(rater.asked)) == (6, 2 * 12)
    for case in done.cases:
        assert sum(case.source in one for one in critic.asked) == 1
        assert not any(case.source in one for one in rater.asked)
        assert sum(judge_view(case) in one for one in rater.asked) == 4


def test_a_server_that_dies_keeps_what_was_judged(
    workspace: Workspace, cases_file: str, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_pause", lambda _: 0.0)
    dying = Reader(limit=50)
    study = prompted(cases_file, pretend(dying))
    with pytest.raises(ServerError):
        conduct(study, workspace, asking, quiet)
    kept = done_so_far(workspace, "one").outcomes
    assert 0 < len(kept) < 60
    assert len(workspace.record.judgments()) == 2 * len(kept)
    dying.limit = None
    done = conduct(study, workspace, asking, quiet)
    assert len(done.outcomes) == 60
    assert done.outcomes[: len(kept)] == kept


def test_a_rater_who_talks_nonsense_is_refused(workspace: Workspace, cases_file: str, pretend: Pretend) -> None:
    with pytest.raises(ModelError, match=r"said nothing that can be read in 8 of 8 answers, such as 'I like it\.'"):
        conduct(prompted(cases_file, pretend(Reader(answer="I like it."))), workspace, asking, quiet)
    assert not workspace.record.judgments()


class Slurring(Reader):
    """Of some cases it says what can be read only when it is asked by one of the later seeds, and of some never."""

    def __init__(self, later: str, never: str) -> None:
        super().__init__()
        self.later, self.never = re.compile(later), re.compile(never)

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        text = body["messages"][0]["content"] if body else ""
        odd = self.never.search(text) or (self.later.search(text) and body["seed"] < 2 * NEXT_SEED)
        self.said = "Hm." if odd else None
        return super().__call__(method, path, body)


def test_an_answer_that_cannot_be_read_is_asked_for_anew(
    workspace: Workspace, cases_file: str, pretend: Pretend
) -> None:
    done = conduct(prompted(cases_file, pretend(Slurring("x000", "never"))), workspace, asking, quiet)
    assert (len(done.outcomes), done.planned, list(done.unread)) == (60, 60, [])


def test_trials_that_stay_unreadable_are_counted_and_the_others_kept(
    workspace: Workspace, cases_file: str, pretend: Pretend
) -> None:
    slurring = Slurring("never", "x0005")
    study = prompted(cases_file, pretend(slurring))
    done = conduct(study, workspace, asking, quiet)
    assert (len(done.outcomes), done.planned) == (57, 60)
    assert {(one.trial.item, one.said) for one in done.unread} == {(5, "Hm.")}
    assert len(workspace.record.judgments()) == 2 * 57
    asked = slurring.answered
    assert asked == 2 * 57 + ATTEMPTS * 3
    again = conduct(study, workspace, asking, quiet)
    assert (again.outcomes, again.unread, slurring.answered) == (done.outcomes, done.unread, asked)
    shown = done_so_far(workspace, "one")
    page = write_page(shown, results_of(shown))
    assert "3 of 60 trials are left out: their answers could not be read" in page.page.read_text()
    assert (page.summary["trials"], page.summary["planned"], page.summary["unread"]) == (57, 60, 3)


def test_at_temperature_zero_nothing_is_asked_twice(workspace: Workspace, cases_file: str, pretend: Pretend) -> None:
    slurring = Slurring("never", "x0005")
    raters = {"kind": "model", "model": pretend(slurring), "count": 3, "temperature": 0}
    values = {"raters": raters, "arms": ["none", "oracle"], "expected": {"power": 0.1}}
    assert len(conduct(simulated(cases_file, **values), workspace, asking, quiet).unread) == 3
    assert slurring.answered == 2 * 57 + 3


def test_too_many_answers_that_cannot_be_read_are_too_many_of_the_run(
    workspace: Workspace, cases_file: str, pretend: Pretend
) -> None:
    study = prompted(cases_file, pretend(Slurring("never", "x000[0-4]")))
    with pytest.raises(ModelError, match=r"in 1[3-9] of \d+ answers"):
        conduct(study, workspace, asking, quiet)
    kept = done_so_far(workspace, "one")
    assert len(kept.outcomes) > 30
    assert 0 < len(kept.unread) <= 12
    critic = {"kind": "model", "model": pretend(Slurring("never", "x000[0-3]"))}
    some = simulated(cases_file, critic=critic, arms=["none", "critiques"], name="two")
    done = conduct(some, workspace, asking, quiet)
    assert [one.readable for one in done.shown["critiques"]] == [number > 3 for number in range(20)]
    assert {one.said for one in done.shown["critiques"]} == {"", "Hm."}
    critic = {"kind": "model", "model": pretend(Slurring("never", "x00(0[5-7]|1[57])"))}
    with pytest.raises(ModelError, match="in 5 of 20 answers"):
        conduct(simulated(cases_file, critic=critic, name="three"), workspace, asking, quiet)


def test_a_model_as_critic(workspace: Workspace, cases_file: str, pretend: Pretend) -> None:
    critic = {"kind": "model", "model": pretend(Reader())}
    done = conduct(simulated(cases_file, critic=critic, arms=["none", "critiques"]), workspace, asking, quiet)
    assert [len(one.claims) for one in done.shown["critiques"]] == [1] * 20
    assert {one.critic for one in done.shown["critiques"]} == {"prompted/reader"}
    nonsense = {"kind": "model", "model": pretend(Reader(answer="Well."))}
    with pytest.raises(ModelError, match="8 of 8 answers"):
        conduct(simulated(cases_file, critic=nonsense, name="two"), workspace, asking, quiet)


class Wavering(Reader):
    """Names the first passage always and the second by every other seed; of claims it finds the first false."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[tuple[int, float]] = set()

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path != "/v1/models":
            text = body["messages"][0]["content"]
            self.asked.add((body["seed"], body["temperature"]))
            self.said = "1 | odd | It is another.\n"
            if "false_claim" in text:
                self.said = "1 | false_claim | It is not."
            elif body["seed"] % 2:
                self.said += "2 | even | This too."
        return super().__call__(method, path, body)


def test_several_critiques_of_a_model_are_made_into_one(
    workspace: Workspace, cases_file: str, pretend: Pretend
) -> None:  # fmt: skip
    server = Wavering()
    critic = {"kind": "model", "model": pretend(server), "temperature": 0.7, "samples": 4}
    claims = {}
    for name, more in (
        ("best", {}), ("half", {"threshold": 0.5}), ("most", {"threshold": 0.75}),
        ("over", {"threshold": 0.5, "looks_over": 1}),
    ):  # fmt: skip
        study = simulated(cases_file, critic={**critic, **more}, arms=["none", "critiques"], name=name)
        done = conduct(study, workspace, asking, quiet)
        (claims[name],) = {
            tuple((case.units.index((claim.start, claim.end)), claim.probability) for claim in help_.claims)
            for case, help_ in zip(done.cases, done.shown["critiques"], strict=True)
        }
    assert claims == {
        "best": ((0, None),), "half": ((0, 1.0), (1, 0.5)), "most": ((0, 1.0),), "over": ((1, 0.5),)
    }  # fmt: skip
    assert len(server.asked) == 4
    assert {temperature for _, temperature in server.asked} == {0.7}


def test_an_answer_that_cannot_be_read_is_silence_and_is_said(
    workspace: Workspace, cases_file: str, pretend: Pretend
) -> None:
    critic = {"kind": "model", "model": pretend(Mumbler())}
    done = conduct(simulated(cases_file, critic=critic, arms=["none", "critiques"]), workspace, asking, quiet)
    assert [one.readable for one in done.shown["critiques"]] == [number != 5 for number in range(20)]
    again = done_so_far(workspace, "one")
    assert "1 of 20 answers of the critic could not be read" in write_page(again, results_of(again)).page.read_text()


def test_a_critic_of_passages_says_how_sure_it_is(
    workspace: Workspace, cases_file: str, tiny_folder: Callable[..., Path]
) -> None:
    critic = {"kind": "passages", "model": str(tiny_folder()), "threshold": 0.0, "most": 8, "max_tokens": 4}
    done = conduct(simulated(cases_file, critic=critic, arms=["none", "critiques"]), workspace, no_model, quiet)
    assert [len(one.claims) for one in done.shown["critiques"]] == [8] * 20
    assert all(0 < claim.probability < 1 for one in done.shown["critiques"] for claim in one.claims)
    assert {one.critic for one in done.shown["critiques"]} == {f"passages/{tiny_folder()}"}
    alone = critic_alone(done.cases, done.shown["critiques"])
    assert alone.ece.estimate is not None, alone.ece.reason
    assert 0 <= alone.ece.estimate.value <= 1
    unsure = [replace(one, claims=tuple(replace(claim, probability=None) for claim in one.claims))
              for one in done.shown["critiques"]]  # fmt: skip
    assert "does not say how sure" in critic_alone(done.cases, unsure).ece.reason
    with pytest.raises(ModelError, match="nowhere"):
        conduct(simulated(cases_file, name="two", critic={**critic, "model": "nowhere"}), workspace, no_model, quiet)
