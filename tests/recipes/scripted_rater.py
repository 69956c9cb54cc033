"""A rater made of a function, who comes in by the invitation and judges by the requests of the judging page.

For the tests a person: the server cannot tell. What it says proves the loop, and nothing about people.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

PASSWORD = "four unrelated words here"
Prefer = Callable[[str, Sequence[str]], Any]
"""prefer(prompt, responses in the order of the screen) -> the answer, places counted from 0; both as HTML."""


class ScriptedRater:
    """One browser's worth of a rater; cookies last as long as the object."""

    def __init__(self, name: str = "Ann") -> None:
        self.name = name
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self._client = httpx2.Client(follow_redirects=True, timeout=60)

    def join(self, link: str) -> None:
        """Make an account by an invitation."""
        assert self._client.get(link).status_code == 200
        answer = self._client.post(link, data={"name": self.name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text

    def judge(self, address: str, prefer: Prefer, most: int = 10**6) -> int:
        """Judge on the page at `address` until nothing is handed out, or so many; returns how many."""
        page, done = self._open(address), 0
        question = page["questions"][0]["name"]
        while done < most:
            items = self._post(page, "/next", {})["items"]
            if not items:
                break
            for item in items[: most - done]:
                prompt, responses = item["prompt"][-1]["html"], item["responses"]
                self.seen.append((prompt, tuple(sorted(responses))))
                answers = {question: prefer(prompt, responses)}
                self._post(page, "/submit", {**_entry(item), "answers": answers, "active_ms": {question: 4000}})
                done += 1
        return done

    def skip(self, address: str, count: int) -> None:
        """Skip the first items in hand."""
        page = self._open(address)
        for item in self._post(page, "/next", {})["items"][:count]:
            self._post(page, "/aside", {**_entry(item), "state": "skipped", "reason": "unclear"})

    def _open(self, address: str) -> dict[str, Any]:
        """What the judging page tells its script."""
        shown = self._client.get(address)
        found = re.search(r'<script type="application/json" id="page">(.*?)</script>', shown.text, re.S)
        assert found is not None, shown.text
        page: dict[str, Any] = json.loads(found[1])
        return {**page, "api": "{0.scheme}://{0.netloc}{1}".format(urlsplit(address), page["api"])}

    def _post(self, page: dict[str, Any], path: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(page["api"] + path, json=body, headers={"X-CSRF": page["csrf"]})
        assert answer.status_code == 200, answer.text
        return answer.json()


def _entry(item: dict[str, Any]) -> dict[str, Any]:
    return {"assignment": item["assignment"], "key": secrets.token_hex(8), "started": "2026-11-23T10:00:00Z"}
