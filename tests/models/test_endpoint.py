"""An address: what is tried again, what is not, and what is said in the end."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from kilter.errors import ServerError, SettingsError
from kilter.models import endpoint
from kilter.models.endpoint import Endpoint

Pretend = Callable[..., str]
KEY = "sk-very-secret"


class Answer(BaseModel):
    value: int


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return f"http://127.0.0.1:{place.getsockname()[1]}"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_faults_are_tried_again(pretend: Pretend, impatient: None, status: int) -> None:
    calls: list[Any] = []

    def answer(*call: Any) -> tuple[int, Any]:
        calls.append(call)
        return (status, {"error": {"message": "busy"}}) if len(calls) < 3 else (200, {"value": 7})

    assert Endpoint(pretend(answer)).post("/v1/x", {"a": 1}, Answer).value == 7
    assert calls == [("POST", "/v1/x", {"a": 1})] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_refusals_are_not_tried_again(pretend: Pretend, impatient: None, status: int) -> None:
    calls: list[Any] = []

    def answer(*call: Any) -> tuple[int, Any]:
        calls.append(call)
        return status, {"error": {"message": "no, thanks"}}

    address = pretend(answer)
    with pytest.raises(ServerError, match=f"{address} refused GET /v1/x with status {status}: no, thanks") as caught:
        Endpoint(address).get("/v1/x", Answer)
    assert caught.value.status == status
    assert len(calls) == 1


def test_a_dead_address_is_one_clean_error(impatient: None) -> None:
    address = closed_port()
    with pytest.raises(ServerError, match=r"in 3 attempts; .*ConnectError.* same command goes on") as caught:
        Endpoint(address).tell("/v1/x")
    assert address in str(caught.value)
    assert caught.value.exit_code == 8


def test_pauses_grow_and_heed_the_server(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    pause = endpoint._pause

    def note(state: Any) -> float:
        slept.append(pause(state))
        return 0

    monkeypatch.setattr(endpoint, "_pause", note)
    asked = {"Retry-After": "17"}
    with pytest.raises(ServerError, match=f"{endpoint.ATTEMPTS} attempts"):
        Endpoint(pretend(lambda *_: (503, "", {}))).tell("/x")
    assert len(slept) == endpoint.ATTEMPTS  # the last one is not waited for
    assert all(0.5 * 2**place <= one <= 0.5 * 2**place + 0.5 for place, one in enumerate(slept[:6]))
    slept.clear()
    with pytest.raises(ServerError):
        Endpoint(pretend(lambda *_: (429, "", asked))).tell("/x")
    assert slept[:5] == [17.0] * 5


@pytest.mark.parametrize("value", ["<html>", {}, {"value": "x"}, [1]])
def test_something_else_than_the_protocol(pretend: Pretend, value: Any) -> None:
    with pytest.raises(ServerError, match="something else than the protocol asks for"):
        Endpoint(pretend(lambda *_: (200, value))).get("/v1/x", Answer)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", "nonsense", "http://x?key=1", ""])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(SettingsError, match="no address of a server"):
        Endpoint(address)


@pytest.mark.parametrize("address", ["http://x:80/v1", "http://x:80/v1/", "http://x:80", "http://x:80/#model"])
def test_v1_may_be_left_out(address: str) -> None:
    assert Endpoint(address).address == "http://x"


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        Endpoint("http://me:hunter2@x")
    assert "hunter2" not in str(caught.value)


def test_the_key_goes_to_the_server_and_nowhere_else(
    pretend: Pretend, impatient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(method: str, path: str, body: Any) -> tuple[Any, ...]:
        if path == "/moved":
            return 302, "", {"Location": "http://127.0.0.1:1/elsewhere"}
        return (401 if path == "/no" else 500), {"error": {"message": f"Incorrect key provided: {KEY}"}}

    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(0)
    place = Endpoint(pretend(answer), key="MY_KEY")
    for path in ("/no", "/fault", "/moved"):
        with pytest.raises(ServerError) as caught:
            place.tell(path)
        assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in caplog.text
    assert KEY not in repr(place)


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(SettingsError, match="MY_KEY should hold the server's key"):
        Endpoint("http://x", key="MY_KEY")
