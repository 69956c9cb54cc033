from __future__ import annotations

from threading import Event

import pytest

from kilter.errors import DataError
from kilter.web.figures import Figures


def test_what_is_known_is_computed_once() -> None:
    figures, calls = Figures(), []

    def compute() -> int:
        calls.append(1)
        return 7

    for _ in range(3):
        found = figures.look(("a",), 1, compute, patience=30)
        assert found is not None
        assert (found.value, found.fresh) == (7, True)
    assert len(calls) == 1
    assert figures.stamp(("a",)) == 1


def test_nobody_waits_and_a_second_look_starts_nothing() -> None:
    figures, go, calls = Figures(), Event(), []

    def slow() -> int:
        calls.append(1)
        go.wait(30)
        return 1

    assert figures.look(("a",), 1, slow, patience=0) is None
    assert figures.look(("a",), 1, slow, patience=0) is None
    assert figures.stamp(("a",)) is None
    quick = figures.look(("b",), 1, lambda: 2, "quick", patience=30)
    assert quick is not None, "the other lane is free"
    go.set()
    found = figures.look(("a",), 1, slow, patience=30)
    assert found is not None
    assert (found.value, len(calls)) == (1, 1)


def test_older_figures_are_shown_while_newer_ones_are_computed() -> None:
    figures, go = Figures(), Event()
    figures.look(("a",), 1, lambda: "old", patience=30)

    def newer() -> str:
        go.wait(30)
        return "new"

    found = figures.look(("a",), 2, newer, patience=0)
    assert found is not None
    assert (found.value, found.stamp, found.fresh) == ("old", 1, False)
    go.set()
    found = figures.look(("a",), 2, newer, patience=30)
    assert found is not None
    assert (found.value, found.stamp, found.fresh) == ("new", 2, True)


def test_who_comes_while_older_figures_are_computed_starts_the_newer_ones() -> None:
    figures, go = Figures(), Event()

    def old() -> str:
        go.wait(30)
        return "old"

    assert figures.look(("a",), 1, old, patience=0) is None
    go.set()
    found = figures.look(("a",), 2, lambda: "new", patience=30)
    assert found is not None
    assert found.value in ("old", "new")
    while not found.fresh:
        found = figures.look(("a",), 2, lambda: "never", patience=0) or found
    assert found.value in ("new", "never")


def test_a_refusal_is_told_as_one() -> None:
    def refuse() -> int:
        raise DataError("Nobody has judged.")

    found = Figures().look(("a",), 1, refuse, patience=30)
    assert found is not None
    assert (found.value, found.refusal) == (None, "Nobody has judged.")


def test_after_a_fault_the_next_look_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    figures = Figures()

    def fault() -> int:
        raise RuntimeError

    assert figures.look(("a",), 1, fault, patience=30) is None
    assert "could not be computed" in caplog.text
    found = figures.look(("a",), 1, lambda: 3, patience=30)
    assert found is not None
    assert found.value == 3
