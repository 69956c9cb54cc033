"""A site with one task and people of every role, asked through a client or a real address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kilter.feedback.accounts import ROLES, People, Role
from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Desk
from kilter.record import Workspace
from kilter.web import Site, create_app

PASSWORD = "correct horse battery"


@dataclass
class Office:
    """The site, and how to come in."""

    site: Site
    task: Task
    tokens: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, role: Role, tasks: list[str] | None = None) -> None:
        """Give somebody an account, and sign them in."""
        token = self.site.people.invite(role, tasks=tasks)
        person = self.site.people.join(token, name, PASSWORD)
        self.tokens[name] = self.site.people.open_session(person.id)

    def client(self, name: str | None = None) -> Browser:
        """A browser, signed in as somebody."""
        return Browser(self, name)


class Browser(TestClient):
    """A client that sends what the pages' scripts send."""

    def __init__(self, office: Office, name: str | None) -> None:
        super().__init__(create_app(office.site), follow_redirects=False)
        if name is not None:
            self.cookies.set("kilter_session", office.tokens[name])
            session = office.site.people.session(office.tokens[name])
            assert session is not None
            self.csrf = session.csrf

    def api(self, path: str, body: Any = None) -> Any:
        """Post JSON with the session's word; the answer's JSON."""
        answer = self.post(path, json={} if body is None else body, headers={"X-CSRF": self.csrf})
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with made_office(tmp_path) as made:
        yield made


@contextmanager
def made_office(folder: Path, items: int = 8) -> Iterator[Office]:
    """A site with a task of so many items."""
    with Workspace.open(folder / "ws") as opened:
        site = Site(Desk(opened.record), People(opened.record), runs=opened.runs)
        task = Task.model_validate(
            {
                "name": "helpful", "title": "Which helps more?", "guidelines": "Be *kind*.",
                "questions": [{"type": "comparison", "name": "better"}], "order": "given",
            }
        )  # fmt: skip
        site.desk.add_task(task)
        rows = [{"prompt": f"prompt {n}", "responses": [f"good {n}", f"bad {n}"]} for n in range(items)]
        site.desk.add_items(task, [read_item(one, "test") for one in rows])
        found = Office(site, task)
        for role in ROLES:
            found.add(role, role)
        yield found


def key_of(text: str) -> str:
    """The word that the forms of a page carry."""
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found is not None
    return found.group(1)
