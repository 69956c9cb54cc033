"""Who compared responses, how much, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.recipes import rows
from kilter.stats import Estimate, Ratings, agreement, rate


@dataclass
class Raters:
    """The raters of a step that compared.

    Attributes:
        judges: principal and number of judgments by name, as on the record.
        agrees: how often each orders a pair as the others who judged it did, where there were others.
        alpha: Krippendorff's, of all.
        refused: why a figure could not be had, by its name.
    """

    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    agrees: dict[str, Estimate] = field(default_factory=dict)
    alpha: Estimate | None = None
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether simulated raters are among them: the record says who stands behind a judgment."""
        return any(one["principal"] == "simulated" for one in self.judges.values())


def read_raters(labels: Path, judges: Mapping[str, Mapping[str, Any]]) -> Raters:
    """The raters who gave the labels in a file, if there is one; several may have judged the same pair."""
    raters = Raters(judges)
    triples = [tuple(one["triple"]) for one in rows.read_dicts(labels)] if labels.exists() else []
    if not triples:
        return raters
    by_pair: dict[str, list[tuple[str, float]]] = {}
    for rater, pair, value in triples:
        by_pair.setdefault(pair, []).append((rater, value))
    agreed: dict[str, tuple[list[float], list[str]]] = {}
    for pair, said in by_pair.items():
        for rater, value in said:
            others = [other for name, other in said if name != rater]
            if others:
                values, clusters = agreed.setdefault(rater, ([], []))
                values.append(sum(other == value for other in others) / len(others))
                clusters.append(pair.split(":")[0])
    for rater, (values, clusters) in agreed.items():
        try:
            raters.agrees[rater] = rate(values, clusters)
        except DataError as error:
            raters.refused[f"agreement of {rater}"] = str(error)
    _add_alpha(raters, triples)
    return raters


def _add_alpha(raters: Raters, triples: Sequence[tuple[Any, ...]]) -> None:
    # One pair per prompt: pairs of one ranking are not independent, and alpha's interval resamples items.
    single = [one for one in triples if one[1].endswith(":0:1")]
    tied = any(value not in (0, 1) for _, _, value in single)
    try:
        found = agreement(Ratings.from_triples(single), "interval" if tied else "nominal")
        raters.alpha = found.alpha.estimate
        if found.alpha.reason is not None:
            raters.refused["rater_alpha"] = found.alpha.reason
    except DataError as error:
        raters.refused["rater_agreement"] = str(error)
