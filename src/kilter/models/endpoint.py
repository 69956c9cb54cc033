"""A server's address: JSON over HTTP, with faults that may pass tried again and all others said in one paragraph."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from kilter.errors import ServerError, SettingsError

ATTEMPTS = 7
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt, doubled after each, and the longest such pause."""

CONCURRENCY = 32
"""Requests of one `ask_all` that are under way at once."""

Reply = TypeVar("Reply", bound=BaseModel)
Asked = TypeVar("Asked")
Told = TypeVar("Told")


class Card(BaseModel):
    """One entry of /v1/models; an adapter has a parent."""

    id: str
    owned_by: str = ""
    parent: str | None = None


class _Cards(BaseModel):
    data: list[Card]


class _Passing(Exception):
    """A fault that may pass: no connection, 408, 429 or 5xx; `pause` is how long the server asked to wait."""

    def __init__(self, reason: str, status: int | None = None, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.pause = status, pause


class Endpoint:
    """An OpenAI-compatible server.

    Args:
        address: such as http://127.0.0.1:8000, with or without /v1.
        key: name of the environment variable that holds the bearer key; None sends none.
        timeout: seconds to wait for an answer; a connection must be there in ten.

    Raises:
        SettingsError: the address is none, holds a password, or the environment variable is not set.
    """

    def __init__(self, address: str, *, key: str | None = None, timeout: float = 600.0) -> None:
        self.address = _checked(address)
        self._key = bearer_key(key) if key is not None else None
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        waits = httpx2.Timeout(timeout, connect=10)
        # redirects are not followed: the key is for this address alone
        self._client = httpx2.Client(base_url=self.address, headers=headers, timeout=waits)

    def get(self, path: str, reply: type[Reply]) -> Reply:
        """What the server answers to GET `path`.

        Raises:
            ServerError: it did not answer, refused, or answered with something else than `reply`.
        """
        return self._read(f"GET {path}", self._ask("GET", path), reply)

    def post(self, path: str, body: Mapping[str, Any], reply: type[Reply]) -> Reply:
        """What the server answers to `body` at POST `path`.

        Raises:
            ServerError: as for `get`.
        """
        return self._read(f"POST {path}", self._ask("POST", path, body), reply)

    def cards(self) -> list[Card]:
        """The models and adapters that the server lists."""
        return self.get("/v1/models", _Cards).data

    def tell(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        """POST something whose answer says nothing but that it was done.

        Raises:
            ServerError: the server did not answer, or refused.
        """
        self._ask("POST", path, body)

    def ask_all(self, ask: Callable[[Asked], Told], what: Sequence[Asked]) -> list[Told]:
        """What `ask`, which sends a request through this endpoint, gives for each of `what`; in order, several at once.

        Raises:
            Exception: whatever the first `ask` that failed has raised; what was not sent by then is not sent.
        """
        pool = ThreadPoolExecutor(CONCURRENCY)
        try:
            return list(pool.map(ask, what))
        except KeyboardInterrupt:
            self.close()  # or leaving would wait for answers that nobody wants any more
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        attempts = Retrying(
            retry=retry_if_exception_type(_Passing), stop=stop_after_attempt(ATTEMPTS), wait=_pause, reraise=True
        )
        try:
            return attempts(self._once, method, path, body)
        except _Passing as fault:
            raise ServerError(
                f"The server at {self.address} did not answer {method} {path} in {ATTEMPTS} attempts; the last one "
                f"ended with {fault}. Start it again or give another address; what was finished is kept, and the same "
                "command goes on from there.",
                fault.status,
            ) from fault

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx2.Response:
        try:
            response = self._client.request(method, path, json=body)
        except httpx2.RequestError as error:
            raise _Passing(f"{type(error).__name__} ({self._safe(str(error))})") from error
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise _Passing(f"status {status} ({self._said(response)})", status, _asked_pause(response))
        if status != 200:
            hint = " Name the environment variable that holds its key." if status == 401 and not self._key else ""
            raise ServerError(
                f"The server at {self.address} refused {method} {path} with status {status}: "
                f"{self._said(response)}.{hint}",
                status,
            )
        return response

    def _read(self, what: str, response: httpx2.Response, reply: type[Reply]) -> Reply:
        try:
            return reply.model_validate_json(response.content)
        except ValidationError as error:
            problem = error.errors(include_input=False)[0]
            where = ".".join(map(str, problem["loc"])) or "the whole"
            raise ServerError(
                f"The server at {self.address} answered {what} with something else than the protocol asks for: "
                f"{where}: {problem['msg']}. Is it an OpenAI-compatible server?"
            ) from error

    def _said(self, response: httpx2.Response) -> str:
        """The server's own words on an error, one short line."""
        try:
            content = response.json()
            error = content.get("error", content.get("detail"))
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, AttributeError, KeyError):
            text = response.text
        return self._safe(text)

    def _safe(self, text: str) -> str:
        """One short line without the key, should a server repeat it."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:300].rstrip(".") or "no words"


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: doubling with jitter, or longer where the server asks for it."""
    usual = wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT)(state)
    fault = state.outcome.exception() if state.outcome is not None else None
    return max(usual, fault.pause) if isinstance(fault, _Passing) else usual


def _asked_pause(response: httpx2.Response) -> float:
    """Seconds that a Retry-After header asks for, up to LONGEST_WAIT; a date counts as nothing asked."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT) if text.isdigit() else 0.0


def _checked(address: str) -> str:
    try:
        url = httpx2.URL(address.strip())
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query:
        raise SettingsError(f"'{address}' is no address of a server; write for example http://127.0.0.1:8000.")
    if url.userinfo:
        raise SettingsError("An address with a password in it would be logged; name the key's environment variable.")
    return str(url.copy_with(fragment=None)).rstrip("/").removesuffix("/v1")


def bearer_key(variable: str) -> str:
    """The server's key, which this environment variable holds.

    Raises:
        SettingsError: it is not set.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SettingsError(f"The environment variable {variable} should hold the server's key, but it is not set.")
    return key
