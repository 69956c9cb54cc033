"""What a rater may see of a case: all that an expert sees, or the source less what is cut from the judge's view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from kilter.errors import SettingsError
from kilter.testbeds import Case
from kilter.testbeds.facts import judge_view

View = Literal["judge", "expert"]


def seen_source(case: Case, view: View) -> str:
    """The source as a rater sees it."""
    return judge_view(case) if view == "judge" else case.source


def unchecked_units(case: Case, view: View) -> frozenset[int]:
    """Numbers of the units that nobody can check by what this view shows."""
    if view == "expert":
        return frozenset()
    return frozenset(number for number, enough in enumerate(case.hidden["suffices"]) if not enough)


def require_view(cases: Sequence[Case], view: View) -> None:
    """Raises `SettingsError` where the judge's view is asked for, and a case has none."""
    if view == "expert":
        return
    for number, case in enumerate(cases, 1):
        cut, enough = case.hidden.get("cut"), case.hidden.get("suffices")
        if not (_are_passages(cut) and isinstance(enough, list) and len(enough) == len(case.units)):
            raise SettingsError(
                f"cases.view is 'judge', but nothing says what a judge may see of case {number} (of the testbed "
                f"'{case.testbed}'). Cases of the testbed 'facts' have a view that passages are cut from "
                "(hidden.cut, and hidden.suffices for each unit); take those, or leave cases.view out."
            )


def _are_passages(given: Any) -> bool:
    """Whether it is a list of [start, end]."""
    return isinstance(given, list) and all(
        isinstance(one, list | tuple) and len(one) == 2 and all(isinstance(end, int) for end in one) for one in given
    )
