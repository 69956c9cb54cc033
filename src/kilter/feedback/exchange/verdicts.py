"""What was said of each item in the end: every judgment for itself, or one verdict of several raters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilter.errors import SettingsError
from kilter.feedback.readings import Skip, Skipped
from kilter.feedback.tasks import Question, TaskItem
from kilter.feedback.work import Result
from kilter.stats import Ratings, dawid_skene

Aggregator = Callable[[Ratings], NDArray[np.float64]]
"""Probability of each category for each item, `[items, categories]`, in the order of the ratings' own."""

AGGREGATORS: dict[str, Aggregator | None] = {
    "none": None,
    "majority": None,
    "dawid-skene": lambda ratings: dawid_skene(ratings).posteriors,
}
"""By name, so that others can be put in; the first two need no model."""

ADJUDICATED = "adjudicated"
VOTED = ("comparison", "label", "steps")
AVERAGED = ("ranking", "rating")


@dataclass(frozen=True)
class Verdict:
    """What was said of an item, and on which judgments that rests.

    Attributes:
        value: in the form of the question's judgments; of ratings means, of rankings groups.
        share: of the judges who said exactly this; of a ranking, of the pairs that they order alike; of steps, of the
            least agreed one; None for means. Of a decision, of the raters it decided between.
        posterior: probability of the value under a model of the raters; of steps, of the least certain one.
        method: "none" for a single judgment, "majority", "mean", "mean rank", the aggregator's name, or "adjudicated"
            where a researcher decided, whose judgment alone is then among `results`.
        strength: mean grade of those who said it, where a comparison has grades.
    """

    item: TaskItem
    artifact: str
    results: tuple[Result, ...]
    value: Any
    share: float | None
    posterior: float | None = None
    method: str = "none"
    strength: float | None = None


def ways(question: Question) -> tuple[str, ...]:
    """The names under which judgments of a question can be aggregated, the default first."""
    if question.type in VOTED and not (question.type == "label" and question.several):
        return "majority", "none", *(name for name in AGGREGATORS if name not in ("majority", "none"))
    return ("majority", "none") if question.type in (*AVERAGED, "label") else ("none",)


def verdicts(question: Question, results: Iterable[Result], aggregate: str) -> tuple[list[Verdict], Skipped]:
    """The verdicts in an order that depends on what was said only, and how many items have none.

    An item that a researcher decided has that verdict; a model of the raters learns from what they said of it all the
    same. With "none" the decision is one judgment more.

    Args:
        question: what was asked.
        results: the answers to it, decisions among them.
        aggregate: "none" for each judgment by itself, "majority", or another name of `AGGREGATORS`.

    Raises:
        SettingsError: judgments of this question cannot be put together so.
        DataError: the aggregator's model cannot be fitted to these judgments.
    """
    if aggregate not in ways(question):
        raise SettingsError(
            f"Answers to '{question.name}' ({question.type}) cannot be aggregated by '{aggregate}': "
            f"{' or '.join(ways(question))}."
        )
    ordered = sorted(results, key=lambda one: (one.artifact, one.id))
    if aggregate == "none":
        return [_single(question, one) for one in ordered], Skipped()
    together: dict[str, list[Result]] = {}
    for one in ordered:
        if not one.adjudicated:
            together.setdefault(one.artifact, []).append(one)
    decided = {one.artifact: _decided(question, one, together.get(one.artifact, [])) for one in ordered
               if one.adjudicated}  # fmt: skip
    open_ones = [several for artifact, several in together.items() if artifact not in decided]
    if aggregate == "majority":
        kept, skipped = _each(open_ones, lambda several: _settled(question, several))
    else:
        kept, skipped = (
            _modeled(question, list(together.values()), open_ones, aggregate) if open_ones else ([], Skipped())
        )
    return sorted([*kept, *decided.values()], key=lambda one: one.artifact), skipped


def _single(question: Question, one: Result) -> Verdict:
    better, strength = _parted(one.value) if question.type == "comparison" else (one.value, None)
    method = ADJUDICATED if one.adjudicated else "none"
    return Verdict(one.item, one.artifact, (one,), better, 1.0, method=method, strength=strength)


def _decided(question: Question, one: Result, raters: Sequence[Result]) -> Verdict:
    """What a researcher decided, and how many of the raters had said it."""
    found = _single(question, one)
    said = [_single(question, other).value == found.value for other in raters]
    return replace(found, share=sum(said) / len(said) if said else None)


def _parted(value: Any) -> tuple[Any, float | None]:
    """The side of a comparison, and by how much."""
    return (value["better"], float(value["strength"])) if isinstance(value, dict) else (value, None)


def _each(groups: Iterable[list[Result]], settle: Callable[[list[Result]], Verdict]) -> tuple[list[Verdict], Skipped]:
    kept, skipped = [], Skipped()
    for several in groups:
        try:
            kept.append(settle(several))
        except Skip as reason:
            skipped.add(str(reason), f"item {several[0].artifact[:8]}")
    return kept, skipped


def _settled(question: Question, several: list[Result]) -> Verdict:
    match question.type:
        case "ranking":
            return _mean_rank(several)
        case "rating":
            return _mean(several)
        case "steps":
            return _steps(several)
        case "label" if question.several:
            return _labels(several, question.labels)
        case _:
            return _vote(several)


def _vote(several: list[Result]) -> Verdict:
    """What most said; a comparison's strength is that of those who said it."""
    said = [_parted(one.value) for one in several]
    value, share = _most(value for value, _ in said)
    grades = [grade for other, grade in said if other == value and grade is not None]
    strength = sum(grades) / len(grades) if grades else None
    return Verdict(
        several[0].item, several[0].artifact, tuple(several), value, share, method="majority", strength=strength
    )


def _most(values: Iterable[Hashable]) -> tuple[Any, float]:
    votes = Counter(values).most_common()
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        raise Skip("items on which as many judges said one thing as another")
    return votes[0][0], votes[0][1] / sum(count for _, count in votes)


def _labels(several: list[Result], order: Sequence[str]) -> Verdict:
    """The labels that more than half of the judges gave."""
    counts = Counter(label for one in several for label in one.value)
    if any(2 * count == len(several) for count in counts.values()):
        raise Skip("items on which as many judges said one thing as another")
    value = [label for label in order if 2 * counts[label] > len(several)]
    share = sum(one.value == value for one in several) / len(several)
    return Verdict(several[0].item, several[0].artifact, tuple(several), value, share, method="majority")


def _steps(several: list[Result]) -> Verdict:
    """What most said of each step, up to the first bad one, and up to the first on which there is no most."""
    value: list[int] = []
    shares = []
    for step in range(max(len(one.value) for one in several)):
        try:
            label, share = _most(one.value[step] for one in several if len(one.value) > step)
        except Skip:
            if not value:
                raise
            break
        value.append(label)
        shares.append(share)
        if label == -1:
            break
    return Verdict(several[0].item, several[0].artifact, tuple(several), value, min(shares), method="majority")


def ranks_of(value: Any) -> dict[int, float]:
    """The rank of each response in a ranking, 0 the best; those that are tied share the mean of their places."""
    ranks: dict[int, float] = {}
    for group in value:
        members = group if isinstance(group, list) else [group]
        ranks |= dict.fromkeys(members, len(ranks) + (len(members) - 1) / 2)
    return ranks


def groups_by(scores: dict[int, float]) -> list[list[int]]:
    """Responses in groups of equal score, the smallest first."""
    groups: dict[float, list[int]] = {}
    for number, score in sorted(scores.items()):
        groups.setdefault(round(score, 9), []).append(number)
    return [groups[score] for score in sorted(groups)]


def _mean_rank(several: list[Result]) -> Verdict:
    """The order of the mean ranks (Borda); its share is that of the pairs that each judge orders alike."""
    ranks = [ranks_of(one.value) for one in several]
    means = {number: sum(one[number] for one in ranks) / len(ranks) for number in ranks[0]}
    value = groups_by(means)
    settled = ranks_of(value)
    pairs = [(i, j) for i in settled for j in settled if i < j]
    alike = sum(_sign(one[i] - one[j]) == _sign(settled[i] - settled[j]) for one in ranks for i, j in pairs)
    share = alike / (len(pairs) * len(ranks))
    return Verdict(several[0].item, several[0].artifact, tuple(several), value, share, method="mean rank")


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _mean(several: list[Result]) -> Verdict:
    """The means of the grades, by dimension, and by response where each has its own."""
    values = [one.value for one in several]
    if isinstance(values[0], list):
        value: Any = [_means([one[number] for one in values]) for number in range(len(values[0]))]
    else:
        value = _means(values)
    return Verdict(several[0].item, several[0].artifact, tuple(several), value, None, method="mean")


def _means(grades: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in grades) / len(grades) for name in grades[0]}


# With a model of the raters


def _modeled(
    question: Question, groups: list[list[Result]], settled: list[list[Result]], aggregate: str
) -> tuple[list[Verdict], Skipped]:
    """Fit the model to `groups`, and take its verdicts on those that are to be `settled`."""
    fit = AGGREGATORS[aggregate]
    assert fit is not None
    ratings = Ratings.from_triples(_triples(question, groups))
    probabilities = fit(ratings)
    by_item = {item: probabilities[row] for row, item in enumerate(ratings.items)}

    def settle(several: list[Result]) -> Verdict:
        artifact = several[0].artifact
        if question.type != "steps":
            value, posterior = _likeliest(ratings, by_item[artifact])
            strengths = [grade for one in several for side, grade in [_parted(one.value)]
                         if side == value and grade is not None]  # fmt: skip
            share = sum(_parted(one.value)[0] == value for one in several) / len(several)
            strength = sum(strengths) / len(strengths) if strengths else None
            return Verdict(several[0].item, artifact, tuple(several), value, share, posterior, aggregate, strength)
        value, posteriors, shares = [], [], []
        for step in range(max(len(one.value) for one in several)):
            label, posterior = _likeliest(ratings, by_item[artifact, step])
            said = [one.value[step] for one in several if len(one.value) > step]
            value.append(label)
            posteriors.append(posterior)
            shares.append(said.count(label) / len(said))
            if label == -1:
                break
        return Verdict(several[0].item, artifact, tuple(several), value, min(shares), min(posteriors), aggregate)

    return _each(settled, settle)


def _triples(question: Question, groups: list[list[Result]]) -> Iterator[tuple[Hashable, Hashable, Hashable]]:
    for several in groups:
        for one in several:
            if question.type == "steps":
                yield from ((one.judge, (one.artifact, step), label) for step, label in enumerate(one.value))
            else:
                yield one.judge, one.artifact, _parted(one.value)[0] if question.type == "comparison" else one.value


def _likeliest(ratings: Ratings, probabilities: NDArray[np.float64]) -> tuple[Any, float]:
    best, second = np.sort(probabilities)[::-1][:2]
    if best - second < 1e-9:
        raise Skip("items of which the model holds two answers equally likely")
    return ratings.categories[int(np.argmax(probabilities))], float(best)
