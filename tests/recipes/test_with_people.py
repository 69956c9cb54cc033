"""The recipe that waits for people, from end to end: judged through the real pages, killed and resumed."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from scripted_rater import ScriptedRater
from speaking_model import make_speaking_model

from kilter.recipes.rows import COMPARISONS, read_comparisons, read_dicts
from kilter.record import Judgment, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # three processes, each of which starts anew

RECIPE = Path(__file__).parents[2] / "recipes" / "with_people.yaml"
LORA = "lora={first_layer: 0, rank: 2, alpha: 4}"
TINY = [
    f"sft.{LORA}", f"dpo.{LORA}", "sft.lr=0.01", "dpo.lr=0.02", "data.demonstrations=32", "data.comparisons=30",
    "data.prompts=8", "data.test=14", "comparisons.items=13", "comparisons.max_new_tokens=24", "check.prompts=14",
    "check.max_new_tokens=24", "check.temperature=1.0", "report.pairs=4",
]  # fmt: skip


def liked(text: str) -> tuple[int, str]:
    """How a rater who likes words orders two texts; of the same length, one is still the better."""
    return len(text), text


def longer(prompt: str, responses: tuple[str, ...]) -> int:
    return max(range(len(responses)), key=lambda place: liked(responses[place]))


class Run:
    """`kilter run` in a process of its own, whose lines are read as they come."""

    def __init__(self, words: list[str]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kilter", "run", str(RECIPE), *words], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line)
        self._queue.put(None)

    def until(self, pattern: str) -> str:
        """The first group of the next line that matches."""
        while True:
            line = self._queue.get()  # as long as it takes; pytest's own limit ends a test that hangs
            assert line is not None, "".join(self.lines)
            self.lines.append(line)
            found = re.search(pattern, line)
            if found:
                return found[1]

    def end(self) -> int:
        """Read the rest; its exit code."""
        while (line := self._queue.get()) is not None:
            self.lines.append(line)
        return self.process.wait()

    def stop(self, how: signal.Signals) -> int:
        """Send a signal and wait; its exit code."""
        self.process.send_signal(how)
        return self.end()


@dataclass
class Story:
    """A run that was stopped twice while somebody judged, and what is left of it."""

    workspace: Path
    rater: ScriptedRater
    lines: list[str]
    codes: list[int]

    @property
    def folder(self) -> Path:
        return self.workspace / "runs" / "with_people"

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text())

    def step(self, name: str) -> Path:
        (folder,) = (self.workspace / "steps").glob(f"{name}-*")
        return folder

    def result(self, name: str) -> dict[str, Any]:
        return json.loads((self.step(name) / "step.json").read_text())["result"]

    def judgments(self) -> list[Judgment]:
        with self.opened() as workspace:
            return workspace.record.judgments()

    @contextmanager
    def opened(self) -> Iterator[Workspace]:
        with Workspace.open(self.workspace, create=False) as workspace:
            yield workspace


JOIN, JUDGE = r"open (http\S+/join/\S+) to", r"Judge at (http\S+/judge)"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Ctrl-C after four comparisons, kill -9 after nine, and the same command each time."""
    root = tmp_path_factory.mktemp("people")
    model = make_speaking_model(root / "speaking")
    words = [f"model.name={model}", *TINY, "--workspace", str(root / "w")]
    rater, codes, lines = ScriptedRater(), [], []
    run = Run(words)
    rater.join(run.until(JOIN))
    assert rater.judge(run.until(JUDGE), longer, most=4) == 4
    codes.append(run.stop(signal.SIGINT))
    lines += run.lines
    run = Run(words)
    assert rater.judge(run.until(JUDGE), longer, most=5) == 5
    codes.append(run.stop(signal.SIGKILL))
    lines += run.lines
    run = Run(words)
    rater.judge(run.until(JUDGE), longer)
    rater.judge(run.until(JUDGE), longer)
    codes.append(run.end())
    return Story(root / "w", rater, [*lines, *run.lines], codes)


def test_stopped_and_killed_it_goes_on_to_its_report(story: Story) -> None:
    from kilter.cli.main import INTERRUPTED

    assert story.codes == [INTERRUPTED, -signal.SIGKILL, 0], "".join(story.lines)
    assert any("the same command goes on from there" in line for line in story.lines)
    assert story.lines[-1].startswith("Report: ")


def test_the_owners_link_is_printed_until_somebody_used_it(story: Story) -> None:
    assert sum("/join/" in line for line in story.lines) == 1


def test_nothing_judged_is_lost_or_asked_again(story: Story) -> None:
    assert len(story.rater.seen) == len(set(story.rater.seen))
    assert len(story.judgments()) == len(story.rater.seen) == 13 + len(asked(story))
    assert {one.judge for one in story.judgments()} == {next(iter(story.result("comparisons")["judges"]))}


def asked(story: Story) -> list[dict[str, Any]]:
    return [line for line in read_dicts(story.step("check") / "check.jsonl") if line["asked"]]


def test_the_model_learned_from_what_the_person_said(story: Story) -> None:
    compared = read_comparisons(story.step("comparisons") / COMPARISONS)
    assert len(compared) == 13
    for row in compared:
        ((better, worse),) = row.pairs or [(0, 0)]
        assert liked(row.responses[better].text) >= liked(row.responses[worse].text)
        assert row.responses[0].tokens
    with story.opened() as workspace:
        shaping = workspace.record.judgments_that_shaped(story.result("dpo")["artifacts"]["model"])
        assert workspace.record.verify().ok
    assert {one.judgment.target for one in shaping} == {row.target for row in compared}
    assert {one.judgment.principal for one in shaping} == {"human"}
    assert all(one.judgment.active_ms == 4000 and one.judgment.side_shown for one in shaping)


def test_the_check_counts_what_the_person_said(story: Story) -> None:
    won, said = story.result("check"), [one for line in asked(story) for one in line["said"]]
    lines = read_dicts(story.step("check") / "check.jsonl")
    assert len(lines) == 14
    assert len(said) == won["judged"] >= 10, "the tiny models differ too seldom for this test"
    assert won["wins"] == sum(liked(line["after"]["text"]) > liked(line["before"]["text"]) for line in asked(story))
    rate = story.summary["people_win_rate"]
    assert rate["n"] == 14
    assert rate["value"] == pytest.approx((won["wins"] + 0.5 * (won["ties"] + won["same"])) / 14)
    assert {one["side"] for one in said} == {0, 1}
    assert {line["after_is"] for line in lines} == {0, 1}
    with story.opened() as workspace:
        evidence = [one for one in workspace.record.evidence() if one.metric == "people_win_rate"]
    assert [(one.value, one.n) for one in evidence] == [(rate["value"], 14)]


def test_the_report_speaks_of_people_and_never_calls_them_simulated(story: Story) -> None:
    page = (story.folder / "report.html").read_text()
    assert "simulated" not in page.lower().replace("the quickstart", "")
    for words in ("Preferred by people", "made by one person", "That is few", "After DPO", "Before (sft)", "human"):
        assert words in page
    (judge,) = story.result("comparisons")["judges"]
    assert judge in page
    assert f"13 to learn from, {len(asked(story))} in the blind check" in page
    assert "Reward model accuracy" not in page
    assert "Ann" not in page


def test_which_model_wrote_what_never_leaves_the_server(story: Story) -> None:
    texts = {line[side]["text"] for line in asked(story) for side in ("before", "after")}
    assert texts  # the pages showed them, and nothing else of the lines is in a TaskItem
    with story.opened() as workspace:
        bodies = [workspace.record.json(one.target) for one in story.judgments()]
    assert all(body.keys() == {"prompt", "responses"} for body in bodies)
