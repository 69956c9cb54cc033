from __future__ import annotations

from collections.abc import Iterator

import pytest

from kilter.training import loop as loops


@pytest.fixture
def running_clock() -> Iterator[None]:
    """`tiny_runs.run` stops the loop's clock; let it run again for other tests."""
    clock = loops.time
    yield
    loops.time = clock  # type: ignore[attr-defined]
