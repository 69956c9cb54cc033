from __future__ import annotations

import pytest

from kilter.errors import DataError
from kilter.testbeds import Case, Flaw
from kilter.testbeds.shortcuts import shortcuts
from kilter.testbeds.stories import generate


def pair(response: str, correct: str) -> Case:
    flaw = Flaw(0, 1, "wrong_fact", "minor", "note")
    return Case("t", "s", "train", 0.5, "task", "source", response, (flaw,), correct, ((0, len(response)),))


def test_a_leak_in_the_words_is_found() -> None:
    found = shortcuts([pair(f"it was {n} never", f"it was {n} always") for n in range(60)])
    assert found["words"].low > 0.9
    assert found["length"].value > 0.9  # "never" is shorter than "always"


def test_a_leak_in_the_length_is_found_where_the_words_differ() -> None:
    found = shortcuts([pair(f"w{n} " * 9, f"w{n} " * 4) for n in range(60)])
    assert found["length"].low > 0.9


def test_pairs_without_a_leak_are_at_chance() -> None:
    cases = [pair(f"{'a b'[n % 2 * 2]} first", f"{'a b'[2 - n % 2 * 2]} first") for n in range(200)]
    assert all(abs(one.value - 0.5) < 0.1 for one in shortcuts(cases).values())


def test_stories_are_near_chance() -> None:
    cases = generate(400, 11, words=200, flawed=1)
    for found in (shortcuts(cases), shortcuts(cases, generate(200, 12, "test", words=200, flawed=1))):
        assert found["length"].value < 0.56
        assert found["words"].value < 0.58  # 400 pairs: the standard error is about 0.02


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="at least 20 cases with flaws, not 3"):
        shortcuts([pair("a", "b")] * 3)
