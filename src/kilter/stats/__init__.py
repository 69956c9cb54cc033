"""Numbers that experts trust: every figure with its interval, its n and its method.

Rates, paired differences, win rates (raw and length-controlled), calibration, agreement of raters on labels,
rankings and passages, aggregation of their answers, strengths from comparisons, drift and habits of a rater, what
help is worth to raters and the power to show it. What the data cannot support is refused with the reason.
"""

from kilter.stats.aggregate import majority, mean_grades
from kilter.stats.agreement import (
    Agreement,
    Level,
    agreement,
    gwet_ac1,
    krippendorff_alpha,
    raw_agreement,
)
from kilter.stats.bradley_terry import BradleyTerry, bradley_terry
from kilter.stats.calibration import Calibration, ReliabilityPoint, calibration
from kilter.stats.dawid_skene import ConfusionIntervals, DawidSkene, confusion_intervals, dawid_skene
from kilter.stats.drift import Drift, difference_of_rates, drift_of_rate, drift_of_time
from kilter.stats.estimate import Estimate, Finding
from kilter.stats.glad import Glad, glad
from kilter.stats.intervals import bootstrap_mean, paired_difference, rate, wilson
from kilter.stats.length_control import LengthControl, length_controlled_win_rate
from kilter.stats.median import median
from kilter.stats.mixed_poisson import MixedPoisson, mixed_poisson
from kilter.stats.permutation import permutation_tests
from kilter.stats.position import first_place_share
from kilter.stats.power import Design, power
from kilter.stats.rankings import RankAgreement, Ranking, kendall_tau, rank_agreement, ranking_pairs, ranks
from kilter.stats.ratings import Ratings
from kilter.stats.spans import MarkedText, Span, SpanAgreement, matched_spans, span_agreement
from kilter.stats.trials import Trials
from kilter.stats.two_way import two_way_ratios
from kilter.stats.winrate import WinRate, win_rate

__all__ = [
    "Agreement",
    "BradleyTerry",
    "Calibration",
    "ConfusionIntervals",
    "DawidSkene",
    "Design",
    "Drift",
    "Estimate",
    "Finding",
    "Glad",
    "LengthControl",
    "Level",
    "MarkedText",
    "MixedPoisson",
    "RankAgreement",
    "Ranking",
    "Ratings",
    "ReliabilityPoint",
    "Span",
    "SpanAgreement",
    "Trials",
    "WinRate",
    "agreement",
    "bootstrap_mean",
    "bradley_terry",
    "calibration",
    "confusion_intervals",
    "dawid_skene",
    "difference_of_rates",
    "drift_of_rate",
    "drift_of_time",
    "first_place_share",
    "glad",
    "gwet_ac1",
    "kendall_tau",
    "krippendorff_alpha",
    "length_controlled_win_rate",
    "majority",
    "matched_spans",
    "mean_grades",
    "median",
    "mixed_poisson",
    "paired_difference",
    "permutation_tests",
    "power",
    "rank_agreement",
    "ranking_pairs",
    "ranks",
    "rate",
    "raw_agreement",
    "span_agreement",
    "two_way_ratios",
    "wilson",
    "win_rate",
]
