"""What help was worth: flaws found and false flaws marked, against no help, with three methods side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kilter.errors import DataError
from kilter.oversight.assistance import Arm
from kilter.oversight.experiment import Outcome
from kilter.stats import Estimate, Finding, Trials, bootstrap_mean, mixed_poisson, permutation_tests, two_way_ratios
from kilter.stats import rate as rate_of


@dataclass(frozen=True)
class ArmEffect:
    """One arm against the baseline.

    Attributes:
        found, false: true flaws found and right passages marked, per item.
        ratio: of flaws found to the baseline's, by the mixed Poisson model.
        resampled: the same ratio, raters and items resampled.
        p: of the permutation test of flaws found.
        false_ratio: of right passages marked to the baseline's, by the model.
        effort: per item, in what the raters' reviews count it in: units looked at, answers, or seconds.
    """

    found: Estimate
    false: Estimate
    ratio: Finding | None
    resampled: Finding | None
    p: float | None
    false_ratio: Finding | None
    effort: Estimate

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        plain = {name: None if one is None else one.as_dict() for name, one in (
            ("found", self.found), ("false", self.false), ("ratio", self.ratio), ("resampled", self.resampled),
            ("false_ratio", self.false_ratio), ("effort", self.effort))}  # fmt: skip
        return {**plain, "p": self.p}


@dataclass(frozen=True)
class Reliance:
    """How claims were taken: of wrong ones the share that was followed, of right ones the share that was not."""

    over: Finding
    under: Finding


def effects(outcomes: Sequence[Outcome], baseline: Arm = "none", *, seed: int = 0) -> dict[Arm, ArmEffect]:
    """Every arm, the baseline first.

    Raises:
        DataError: no trial of the baseline, or of another arm.
    """
    found = _trials(outcomes, baseline, lambda one: one.found.found)
    false = _trials(outcomes, baseline, lambda one: len(one.found.false))
    modeled, resampled = _ratios(lambda: mixed_poisson(found).ratios), _ratios(lambda: two_way_ratios(found, seed=seed))
    false_modeled = _ratios(lambda: mixed_poisson(false).ratios)
    chances = permutation_tests(found, seed=seed)
    arms: dict[Arm, ArmEffect] = {}
    for name in found.names:
        mine = [one for one in outcomes if one.trial.arm == name]
        raters = [one.trial.rater for one in mine]
        arms[mine[0].trial.arm] = ArmEffect(
            bootstrap_mean([one.found.found for one in mine], raters, seed=seed),
            bootstrap_mean([len(one.found.false) for one in mine], raters, seed=seed),
            None if name == baseline else modeled(name),
            None if name == baseline else resampled(name),
            chances.get(name),
            None if name == baseline else false_modeled(name),
            bootstrap_mean([one.review.effort for one in mine], raters, seed=seed),
        )
    return arms


def reliance(outcomes: Sequence[Outcome], arm: Arm) -> Reliance:
    """Over- and under-reliance on the claims of an arm, of those that are about the item at all."""
    wrong: list[tuple[bool, int]] = []
    right: list[tuple[bool, int]] = []
    for one in (one for one in outcomes if one.trial.arm == arm):
        for claim, went_along in zip(one.help.claims, one.review.followed, strict=True):
            if claim.applies_to(one.case.response):
                is_flaw = any(flaw.start < claim.end and claim.start < flaw.end for flaw in one.case.flaws)
                true = is_flaw == (claim.verdict == "wrong")
                (right if true else wrong).append((went_along is True, one.trial.rater))
    return Reliance(
        Finding.of(lambda: _share([went for went, _ in wrong], [rater for _, rater in wrong], "wrong")),
        Finding.of(lambda: _share([not went for went, _ in right], [rater for _, rater in right], "right")),
    )


def found_by(outcomes: Sequence[Outcome], arm: Arm, what: str) -> dict[str, Estimate]:
    """Share of planted flaws that were found in an arm, by "type" or by "severity" of the flaw."""
    hits: dict[str, list[tuple[float, int]]] = {}
    for one in (one for one in outcomes if one.trial.arm == arm):
        for flaw, hit in zip(one.case.flaws, one.found.hits, strict=True):
            hits.setdefault(str(getattr(flaw, what)), []).append((float(hit is not None), one.trial.item))
    return {name: rate_of([hit for hit, _ in each], [item for _, item in each]) for name, each in sorted(hits.items())}


def _trials(outcomes: Sequence[Outcome], baseline: Arm, count: Callable[[Outcome], float]) -> Trials:
    return Trials.from_rows(
        ((one.trial.rater, one.trial.item, one.trial.arm, count(one)) for one in outcomes), baseline
    )


def _ratios(fit: Callable[[], dict[str, Estimate]]) -> Callable[[str], Finding]:
    """Of each arm, or of all of them the reason why there are none."""
    try:
        found = fit()
    except DataError as refusal:
        reason = str(refusal)
        return lambda _: Finding(None, reason)
    return lambda arm: Finding(found[arm])


def _share(values: Sequence[bool], raters: Sequence[int], kind: str) -> Estimate:
    if not values:
        raise DataError(f"No {kind} claim about an item was shown in this arm.")
    return rate_of([float(one) for one in values], raters)
