"""What a study found, in figures: per arm what help was worth, how it was relied on, and the critic by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kilter.oversight.assistance import Arm, Assistance, Claim
from kilter.oversight.conduct import Conducted
from kilter.oversight.effects import ArmEffect, Reliance, effects, found_by, reliance
from kilter.oversight.experiment import Outcome
from kilter.oversight.findings import Findings, Mark, compare
from kilter.stats import Estimate, Finding, bootstrap_mean, calibration, rate
from kilter.testbeds import Case


@dataclass(frozen=True)
class CriticAlone:
    """The critic's claims taken as they are, nobody looking them over.

    Attributes:
        found: share of the planted flaws that it names.
        false: right passages per item that it calls wrong.
        ece: expected calibration error of how sure it says it is.
        unreadable: its answers that could not be read, and count as silence.
    """

    found: Finding
    false: Estimate
    ece: Finding
    unreadable: int = 0


@dataclass(frozen=True)
class ArmResult:
    """One arm.

    Attributes:
        alone: share of the planted flaws found before help, by the same raters on the same items.
        found: the same after it.
        ece: expected calibration error of the raters' confidence in their marks.
        by_type, by_severity: shares found after help.
    """

    effect: ArmEffect
    alone: Finding
    found: Finding
    reliance: Reliance
    ece: Finding
    by_type: dict[str, Estimate]
    by_severity: dict[str, Estimate]


@dataclass(frozen=True)
class Results:
    """All of it, by arm, and the critic by itself where there is one."""

    arms: dict[Arm, ArmResult]
    critic: CriticAlone | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        arms = {
            name: {
                **one.effect.as_dict(), "alone_share": one.alone.as_dict(), "found_share": one.found.as_dict(),
                "over_reliance": one.reliance.over.as_dict(), "under_reliance": one.reliance.under.as_dict(),
                "ece": one.ece.as_dict(),
                "by_type": {kind: share.as_dict() for kind, share in one.by_type.items()},
                "by_severity": {kind: share.as_dict() for kind, share in one.by_severity.items()},
            }
            for name, one in self.arms.items()
        }  # fmt: skip
        critic = None if self.critic is None else {
            "found": self.critic.found.as_dict(), "false": self.critic.false.as_dict(),
            "ece": self.critic.ece.as_dict(), "unreadable": self.critic.unreadable}  # fmt: skip
        return {"arms": arms, "critic": critic}


def results_of(done: Conducted) -> Results:
    """The figures of a study.

    Raises:
        DataError: no trial without help was done, so that there is nothing to compare with.
    """
    seed, worth = done.study.seed, effects(done.outcomes, seed=done.study.seed)
    arms = {name: _arm(done.outcomes, name, worth[name], seed) for name in done.study.arms if name in worth}
    critiques = done.shown.get("critiques")
    return Results(arms, None if critiques is None else critic_alone(done.cases, critiques, seed))


def critic_alone(cases: Sequence[Case], critiques: Sequence[Assistance], seed: int = 0) -> CriticAlone:
    """What the critic finds and invents when nobody looks its claims over."""
    wrong = [[claim for claim in one.claims if claim.verdict == "wrong"] for one in critiques]
    found = [
        compare(case, [Mark(claim.start, claim.end, claim.type) for claim in each])
        for case, each in zip(cases, wrong, strict=True)
    ]
    hits = [(float(hit is not None), number) for number, one in enumerate(found) for hit in one.hits]
    return CriticAlone(
        Finding.of(lambda: rate([hit for hit, _ in hits], [number for _, number in hits])),
        bootstrap_mean([len(one.false) for one in found], list(range(len(found))), seed=seed),
        _claims_calibration(wrong, found, seed),
        sum(not one.readable for one in critiques),
    )


def _claims_calibration(claims: Sequence[Sequence[Claim]], found: Sequence[Findings], seed: int) -> Finding:
    sure = [
        (claim.probability, int(place not in one.false), number)
        for number, (each, one) in enumerate(zip(claims, found, strict=True))
        for place, claim in enumerate(each)
        if claim.probability is not None
    ]
    if not sure:
        return Finding(None, "This critic does not say how sure it is.")
    stated, true, items = zip(*sure, strict=True)
    return Finding.of(lambda: calibration(stated, true, items, symmetric=False, seed=seed).ece)


def _arm(outcomes: Sequence[Outcome], arm: Arm, effect: ArmEffect, seed: int) -> ArmResult:
    mine = [one for one in outcomes if one.trial.arm == arm]
    return ArmResult(
        effect,
        _share([(hit is not None, one.trial.item) for one in mine for hit in one.alone.hits]),
        _share([(hit is not None, one.trial.item) for one in mine for hit in one.found.hits]),
        reliance(outcomes, arm),
        _calibration_error(mine, seed),
        found_by(outcomes, arm, "type"),
        found_by(outcomes, arm, "severity"),
    )


def _calibration_error(outcomes: Sequence[Outcome], seed: int) -> Finding:
    """Of the confidence in marks: a mark is right where it found a flaw."""
    stated, true, raters = [], [], []
    for one in outcomes:
        for number, mark in enumerate(one.review.marks):
            stated.append(mark.confidence)
            true.append(int(number not in one.found.false))
            raters.append(one.trial.rater)
    if set(stated) <= {1.0}:
        return Finding(None, "These raters do not say how sure they are of a mark.")
    return Finding.of(lambda: calibration(stated, true, raters, symmetric=False, seed=seed).ece)


def _share(hits: Sequence[tuple[bool, int]]) -> Finding:
    return Finding.of(lambda: rate([float(hit) for hit, _ in hits], [item for _, item in hits]))


def evidence_of(results: Results) -> dict[str, Estimate]:
    """The figures that go on the record, by name."""
    figures: dict[str, Estimate] = {}
    for arm, one in results.arms.items():
        figures[f"flaws_found_{arm}"], figures[f"right_passages_marked_{arm}"] = one.effect.found, one.effect.false
        for name, found in (("found_ratio", one.effect.ratio), ("marked_ratio", one.effect.false_ratio)):
            if found is not None and found.estimate is not None:
                figures[f"{name}_{arm}"] = found.estimate
    return figures
