"""The account that a report gives of how a study went: only what is true of the trials that were done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from kilter.oversight.conduct import Conducted
from kilter.oversight.experiment import Outcome
from kilter.oversight.study import shows_critic

EFFORT = {"simulated": "Effort, in passages", "model": "Answers asked for", "people": "Time, in seconds"}
"""What the effort of a review is counted in, by the kind of raters."""
OF_NOBODY = {
    "simulated": "The raters are simulated. What is shown here proves the protocol and the statistics, never an effect "
    "on people.",
    "model": "The raters are prompted models. What helps a model need not help people.",
}
SECOND_LOOK = {
    "simulated": "The second look takes the same effort with help and without, so that help is not compared with more "
    "time.",
    "model": "The second look is one more answer, with help and without.",
    "people": "The second look takes the time that people want; it stands beside what they found.",
}


def notices(done: Conducted) -> list[str]:
    """What whoever reads the figures must know first: who judged, and which trials are missing."""
    kind, judged, odd = done.study.raters.kind, len(done.outcomes), len(done.unread)
    said = [OF_NOBODY[kind]] if kind in OF_NOBODY else []
    if judged + odd < done.planned:
        said.append(
            f"Not every planned trial was done: {judged + odd:,} of {done.planned:,}, and the figures are those of "
            "these alone."
        )
    if odd:
        said.append(
            f"{odd:,} of {done.planned:,} trials are left out: their answers could not be read, however often they "
            "were asked for."
        )
    return said


def account_of(done: Conducted) -> list[str]:
    """How arms were dealt, what raters saw, and what the second look took."""
    study = done.study
    lines = _dealing(done)
    if study.cases.view == "judge":
        critic = ", and the critic all of it" if shows_critic(study.arms) else ""
        lines.append(f"The raters saw the source without what is cut from the view of a judge{critic}.")
    return [*lines, SECOND_LOOK[study.raters.kind]]


def _dealing(done: Conducted) -> list[str]:
    arms, raters = len(done.study.arms), len({one.trial.rater for one in done.outcomes})
    every, met = _with_every(done.outcomes, "rater", arms), _with_every(done.outcomes, "item", arms)
    if every < raters or met < len(done.cases):
        found = (
            f"{every:,} of {raters:,} raters judged with every arm, and {met:,} of {len(done.cases):,} cases were "
            "judged with every arm."
        )
        apart = ["Not every case met every arm, so arms are compared on cases that are not all the same."]
        return [found, *(apart if met < len(done.cases) else [])]
    is_square = len(done.outcomes) == raters * len(done.cases) and done.study.raters.kind != "people"
    how = ": a Latin square, in random order" if is_square else ""
    return [f"Every rater judged with every arm, and every case was judged with every arm{how}."]


def _with_every(outcomes: Sequence[Outcome], who: Literal["rater", "item"], arms: int) -> int:
    """How many raters, or cases, came together with all of the arms."""
    met: defaultdict[int, set[str]] = defaultdict(set)
    for one in outcomes:
        met[one.trial.rater if who == "rater" else one.trial.item].add(one.trial.arm)
    return sum(len(each) == arms for each in met.values())
