"""Models of who is right: Dawid-Skene and GLAD fitted to an aspect, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kilter.errors import DataError
from kilter.feedback.quality.aspects import Aspect
from kilter.stats import DawidSkene, Glad, Ratings, dawid_skene, glad

GRADED = (
    "grades are averaged: a model of who is right would take each grade for a name of its own, and needs many more "
    "judgments than there are for the confusion of so many"
)


@dataclass(frozen=True)
class Fits:
    """What the models say of an aspect; each is None where it was refused, and says why in `..._refused`."""

    aspect: Aspect

    @cached_property
    def ratings(self) -> Ratings:
        """The aspect's ratings."""
        return self.aspect.ratings()

    @cached_property
    def _dawid_skene(self) -> DawidSkene | str:
        if self.aspect.scale is not None:
            return GRADED
        try:
            return dawid_skene(self.ratings)
        except DataError as refusal:
            return str(refusal)

    @cached_property
    def _glad(self) -> Glad | str:
        if self.aspect.scale is not None:
            return GRADED
        try:
            return glad(self.ratings, self.aspect.clusters(self.ratings))
        except DataError as refusal:
            return str(refusal)

    @property
    def dawid_skene(self) -> DawidSkene | None:
        """Dawid and Skene's fit."""
        return None if isinstance(self._dawid_skene, str) else self._dawid_skene

    @property
    def dawid_skene_refused(self) -> str | None:
        """Why there is none."""
        return self._dawid_skene if isinstance(self._dawid_skene, str) else None

    @property
    def glad(self) -> Glad | None:
        """GLAD's fit."""
        return None if isinstance(self._glad, str) else self._glad

    @property
    def glad_refused(self) -> str | None:
        """Why there is none."""
        return self._glad if isinstance(self._glad, str) else None
