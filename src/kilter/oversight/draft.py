"""A study before it is begun: the file that says what differs from the defaults, and what it takes of its raters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from kilter.oversight.people import judges_per_case
from kilter.oversight.study import PeopleSettings, Study
from kilter.testbeds import Case

WORDS_A_MINUTE = 238.0
"""Adults reading English non-fiction in silence (Brysbaert 2019, doi 10.1016/j.jml.2019.104047)."""
MINUTES_A_LOOK = 1.0
"""What a look takes beside the reading: marking, or checking claims. A guess, and called one where it is shown."""


@dataclass(frozen=True)
class Effort:
    """What a study takes.

    Attributes:
        trials: one case judged by one rater with one kind of help.
        each: most trials of one rater.
        judgments: an answer before help and one after it for each trial.
        minutes: rough total for all people together; None where the raters are no people.
    """

    trials: int
    each: int
    judgments: int
    minutes: float | None


def as_file(study: Study) -> str:
    """The YAML that `read_study` reads as this study: its name, and only what differs from the defaults."""
    tree = study.model_dump(mode="json", exclude_defaults=True)
    for part, kind in (("critic", study.critic.kind), ("raters", study.raters.kind)):
        if part in tree:
            tree[part] = {"kind": kind, **tree[part]}  # a default of its own class, but it says which class
    nested = any(isinstance(one, dict | list) for one in tree.values())
    # PyYAML writes these line breaks of Unicode into plain quotes and reads spaces there; escaped they stay themselves.
    broken = any(mark in json.dumps(tree, ensure_ascii=False) for mark in "\x85\u2028\u2029")
    text = yaml.safe_dump(
        tree, sort_keys=False, allow_unicode=not broken, width=100, default_flow_style=None if nested else False
    )
    return f"# kilter oversee run {study.name}.yaml\n{text}"


def effort_of(study: Study, cases: int, words: float) -> Effort:
    """What a study takes of so many cases that hold so many words each, source and response together."""
    each = study.items_per_rater or cases
    if not isinstance(study.raters, PeopleSettings):
        trials = study.raters.count * each
        return Effort(trials, each, 2 * trials, None)
    trials = judges_per_case(study, cases) * cases
    return Effort(trials, each, 2 * trials, trials * (words / WORDS_A_MINUTE + 2 * MINUTES_A_LOOK))


def words_per_case(cases: Sequence[Case]) -> float:
    """Words that a rater reads of a case on average: task, source and response."""
    return sum(len(f"{one.task} {one.source} {one.response}".split()) for one in cases) / len(cases)
