"""Simulated raters with known habits, who work at a real desk: what the numbers about raters must find again.

The truth of each item lies in its meta, {"truth": {question: ...}}, where no rater of flesh would see it:

    comparison    0, 1 or "tie"                      label    the label
    ranking       a worth for each response          rating   {dimension: grade}, or a list of such
    steps         1, 0 or -1 for each step           flaws    [{response, start, end, type}]

Nothing here says anything about people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from kilter.feedback.tasks import Shown, Task, TaskItem, read_answers
from kilter.feedback.work import Assignment, Desk, Rater, Result, Submission
from kilter.record import Judgment, Workspace

START = 1_800_000_000.0  # seconds since 1970 at which the first item is shown


@dataclass(frozen=True)
class SimulatedRater:
    """What one simulated rater does.

    Attributes:
        accuracy: chance of the true answer; else any other, with equal chances.
        fatigue: how much of the accuracy is gone at the last item; it goes steadily.
        first: share of comparisons answered with the first place, unseen.
        confusion: chances of each answer for each true label, in place of accuracy.
        severity: added to every grade. noise: standard deviation of grades.
        temperature: of rankings: worths are divided by it; small is careful.
        invented: flaws marked where there is none, per response.
        seconds: median time per item; spread: standard deviation of its logarithm.
        hurry: the median at the last item as a share of that at the first.
        skips: share of items skipped.
    """

    name: str
    accuracy: float = 0.85
    fatigue: float = 0.0
    first: float = 0.0
    confusion: Mapping[str, Mapping[str, float]] | None = None
    severity: float = 0.0
    noise: float = 0.7
    temperature: float = 1.0
    invented: float = 0.0
    seconds: float = 12.0
    spread: float = 0.5
    hurry: float = 1.0
    skips: float = 0.0

    @property
    def judge(self) -> str:
        return f"simulated/{self.name}"

    def time(self, progress: float, random: Random) -> int:
        """Milliseconds for an item."""
        median = self.seconds * self.hurry**progress
        return max(1, round(1000 * median * math.exp(random.gauss(0, self.spread))))

    def answers(self, task: Task, one: Assignment, progress: float, random: Random) -> dict[str, Any]:
        """What the rater would click, by question, with responses by their place on screen."""
        truth = one.content.meta["truth"]
        right = max(0.0, self.accuracy - self.fatigue * progress)
        return {
            question.name: getattr(self, f"_{question.type}")(question, truth[question.name], one, right, random)
            for question in task.questions
            if question.name in truth
        }

    def _comparison(self, question: Any, truth: Any, one: Assignment, right: float, random: Random) -> Any:
        choices = [0, 1, *(["tie"] if question.tie else [])]
        if random.random() < self.first:
            return self._graded(question, 0, random)
        said = truth if random.random() < right else random.choice([other for other in choices if other != truth])
        return said if said == "tie" else self._graded(question, one.sides.index(said), random)

    def _graded(self, question: Any, place: int, random: Random) -> Any:
        return {"choice": place, "strength": random.randint(1, question.strength)} if question.strength > 1 else place

    def _label(self, question: Any, truth: Any, one: Assignment, right: float, random: Random) -> Any:
        if self.confusion is not None:
            chances = self.confusion[truth]
            return random.choices(list(chances), list(chances.values()))[0]
        return truth if random.random() < right else random.choice([each for each in question.labels if each != truth])

    def _rating(self, question: Any, truth: Any, one: Assignment, right: float, random: Random) -> Any:
        def grades(true: Mapping[str, float]) -> dict[str, int]:
            noisy = {name: true[name] + self.severity + random.gauss(0, self.noise) for name in question.dimensions}
            return {name: min(question.high, max(question.low, round(grade))) for name, grade in noisy.items()}

        return grades(truth) if question.of == "item" else [grades(truth[number]) for number in one.sides]

    def _ranking(self, question: Any, truth: Any, one: Assignment, right: float, random: Random) -> Any:
        noise = [-math.log(-math.log(random.uniform(1e-12, 1 - 1e-12))) for _ in truth]  # Gumbel: Plackett-Luce
        worth = [truth[number] / self.temperature + extra for number, extra in enumerate(noise)]
        return sorted(range(len(truth)), key=lambda place: -worth[one.sides[place]])

    def _steps(self, question: Any, truth: Any, one: Assignment, right: float, random: Random) -> Any:
        said = []
        for step in truth:
            said.append(step if random.random() < right else random.choice([k for k in (1, 0, -1) if k != step]))
            if question.stop_at_bad and said[-1] == -1:
                break
        return said

    def _flaws(self, question: Any, truth: Any, one: Assignment, right: float, random: Random) -> Any:
        found = [dict(flaw) for flaw in truth if random.random() < right]
        for number, text in enumerate(one.content.responses):
            if random.random() < self.invented:
                start = random.randrange(len(text) - 5)
                found.append({"response": number, "start": start, "end": start + 5, "type": question.types[0]})
        return [
            {**flaw, "place": one.sides.index(flaw["response"]), "severity": question.severities[0]} for flaw in found
        ]


class Floor:
    """A workspace with a desk whose clock the raters drive, each at their own pace."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.workspace = Workspace.open(root)
        self.seed = seed
        self._clock = START
        self.desk = Desk(self.workspace.record, lambda: self._clock)

    def close(self) -> None:
        self.workspace.close()

    def open_task(self, task: Task, items: Sequence[TaskItem]) -> None:
        task.check_items(list(items), "the test's items")
        self.desk.add_task(task, self.seed)
        self.desk.add_items(task, items)

    def work(
        self, task: Task, raters: Sequence[SimulatedRater], most: int = 10_000, expected: int | None = None
    ) -> None:
        """Let all raters work in turn until nothing is left for them, or each has had `most` items.

        `expected` is the number of items after which fatigue and hurry are complete; by default the number of items.
        """
        expected = expected or self.desk.progress(task.name).items
        randoms = {one.name: Random(f"{self.seed}/{task.name}/{one.name}") for one in raters}
        done = dict.fromkeys(randoms, 0)
        waiting = list(raters)
        while waiting:
            for rater in list(waiting):
                if done[rater.name] >= most or not self._turn(task, rater, done[rater.name], expected, randoms):
                    waiting.remove(rater)
                done[rater.name] += 1

    def _turn(
        self, task: Task, rater: SimulatedRater, number: int, expected: int, randoms: Mapping[str, Random]
    ) -> bool:
        person = Rater(rater.name, rater.judge, "simulated")
        given = self.desk.next(task, person)
        if not given:
            return False
        random, one = randoms[rater.name], given[0]
        progress = min(1.0, number / expected)
        started = datetime.fromtimestamp(self._clock, UTC).isoformat()
        spent = rater.time(progress, random)
        self._clock += spent / 1000 / max(1, len(randoms))
        if random.random() < rater.skips:
            self.desk.set_aside(task, person, one.id, "skipped", "I cannot tell", one.id, started)
            return True
        answers = rater.answers(task, one, progress, random)
        shares = {name: spent // len(answers) for name in answers}
        self.desk.submit(task, person, one.id, Submission(one.id, answers, started, shares))
        return True


def comparisons(count: int, seed: int = 0, models: Sequence[str] = ("sft", "ppo"), **extra: Any) -> list[TaskItem]:
    """Pairs of which response 0 is truly better half of the time."""
    random = Random(f"comparisons/{seed}")
    return [
        TaskItem(
            prompt=({"role": "user", "content": f"Question {seed}.{number}"},),
            responses=(f"First answer to {seed}.{number}.", f"Second answer to {seed}.{number}."),
            meta={"truth": {"better": random.randint(0, 1)}, "models": list(models)},
            **extra,
        )
        for number in range(count)
    ]


def with_use(items: Sequence[TaskItem], use: Any) -> list[TaskItem]:
    """The same items with their truth as the known answers."""
    return [
        TaskItem(
            one.prompt, one.responses, one.steps, use, dict(one.meta["truth"]), "Because.", one.stratum, one.priority,
            one.meta,
        )
        for one in items
    ]  # fmt: skip


def on_paper(
    task: Task, items: Sequence[TaskItem], raters: Sequence[SimulatedRater], per_item: int | None = None, seed: int = 0
) -> list[Result]:
    """What `Desk.results` would return had `per_item` of the raters (all by default) judged each item; no database.

    Items come in the given order to each rater; gold and other items with known answers go to all of them.
    """
    random = Random(f"paper/{seed}")
    chosen = [
        set(
            range(len(raters))
            if item.use != "work" or per_item is None
            else random.sample(range(len(raters)), per_item)
        )
        for item in items
    ]
    found = []
    for index, rater in enumerate(raters):
        own = Random(f"{seed}/{rater.name}")
        mine = [number for number, judges in enumerate(chosen) if index in judges]
        clock = START
        for turn, number in enumerate(mine):
            sides = list(range(len(items[number].responses)))
            own.shuffle(sides)
            one = Assignment(
                "a", task.name, number, rater.name, "held", f"{number:064x}", items[number], tuple(sides), 0, 0, 0
            )
            progress = turn / max(1, len(mine) - 1)
            spent = rater.time(progress, own)
            clock += spent / 1000
            given = read_answers(task.questions, rater.answers(task, one, progress, own), Shown(one.content, one.sides))
            found += [
                Result(
                    f"{index}-{number}-{name}", name, one.content,
                    Judgment(
                        one.artifact, name, rater.judge, "simulated", answer.value, spans=answer.spans,
                        side_shown=sides or None, active_ms=spent // len(given),
                    ),
                    clock,
                )
                for name, answer in given.items()
            ]  # fmt: skip
    return sorted(found, key=lambda result: result.submitted)
