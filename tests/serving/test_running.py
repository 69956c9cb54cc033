from __future__ import annotations

import sys

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from kilter.serving.running import running

ELSEWHERE = "127.0.0.2"  # an address that is not this machine's usual one


async def who_asks(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        client = Request(scope).client
        await PlainTextResponse(client.host if client else "nobody")(scope, receive, send)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no second loopback address")
@pytest.mark.parametrize(
    ("proxy", "seen"),
    [(None, ELSEWHERE), ("10.0.0.0/24", ELSEWHERE), (ELSEWHERE, "203.0.113.7"), ("127.0.0.0/30", "203.0.113.7")],
)
def test_whom_a_request_comes_from_is_what_a_named_proxy_says(proxy: str | None, seen: str) -> None:
    transport = httpx2.HTTPTransport(local_address=ELSEWHERE)
    with running(who_asks, proxy=proxy) as address, httpx2.Client(transport=transport) as client:
        assert client.get(address, headers={"X-Forwarded-For": "203.0.113.7"}).text == seen
