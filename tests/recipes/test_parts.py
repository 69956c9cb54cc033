from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from light_jobs import double, fault, refuse

from kilter.errors import DataError, SettingsError, WorkerError
from kilter.recipes import Part, fan_out, open_workers
from kilter.recipes.parts import Here, cut


def parts(count: int) -> list[Part]:
    return [Part(f"part {number}", number) for number in range(count)]


def test_results_come_in_order_and_only_as_they_are_asked_for() -> None:
    done: list[int] = []

    def job(data: int) -> int:
        done.append(data)
        return 2 * data

    results = fan_out(job, parts(3), Here())
    assert done == []
    assert next(results) == 0
    assert done == [0]
    assert list(results) == [2, 4]
    assert list(fan_out(job, [], Here())) == []


def test_an_error_keeps_its_kind_and_names_its_part() -> None:
    with pytest.raises(DataError, match=r"^part 1: It holds nothing\.$"):
        list(fan_out(refuse, parts(3), Here()))
    with pytest.raises(ZeroDivisionError) as caught:
        list(fan_out(fault, parts(3), Here()))
    assert caught.value.__notes__ == ["It happened in: part 1."]


def test_after_an_error_nothing_is_left_to_do() -> None:
    workers = Here()
    with pytest.raises(DataError):
        list(fan_out(refuse, parts(5), workers))
    assert list(fan_out(double, parts(2), workers)) == [0, 2]
    results = fan_out(double, parts(5), workers)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert list(fan_out(double, parts(2), workers)) == [0, 2]


@given(st.integers(0, 50), st.integers(1, 60))
def test_pieces_are_consecutive_none_empty_and_of_like_size(count: int, pieces: int) -> None:
    found = cut(count, pieces)
    assert [number for piece in found for number in piece] == list(range(count))
    assert len(found) == min(count, pieces)
    assert max(map(len, found), default=0) - min(map(len, found), default=0) <= 1


@pytest.mark.parametrize("on", ["there", "ray://", "host:", ":6379", "host:port", ""])
def test_a_place_that_is_none_is_refused(on: str) -> None:
    with pytest.raises(SettingsError, match=r"Write 'here' .* 'ray' .* HOST:PORT"), open_workers(on):
        pass


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import of it then finds
    with pytest.raises(WorkerError, match=r"here it is not: pip install .*Without --on"), open_workers("ray"):
        pass


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_told_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))  # bound, but not listening
        address = f"{scheme}127.0.0.1:{own.getsockname()[1]}"
        with pytest.raises(WorkerError, match=rf"{address} cannot be reached.*ray start --head"), open_workers(address):
            pass


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Version mismatch: The cluster was started with Ray: 2.1", r"another version of Ray or Python.*Ray: 2\.1"),
        ("Ray Client requires pip package `ray[client]`.", r"pip install 'ray\[client\]' here and on the cluster"),
        ("the head has gone", r"cannot be reached: the head has gone"),
    ],
)
def test_what_ray_says_is_explained(said: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray: Any = pytest.importorskip("ray")

    def init(**options: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(WorkerError, match=expected), open_workers("ray"):
        pass
