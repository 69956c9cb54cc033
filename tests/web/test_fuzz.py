"""Every route against its OpenAPI schema, as everybody: never a fault, answers as described, nobody else's work.

Schemathesis draws requests from the schema, valid and not. Names, words and ids that exist are put in their places most
of the time, or nothing would come past the doors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import schemathesis
from argon2 import PasswordHasher
from conftest import PASSWORD, Office, made_office
from fake_provider import CLIENT, FakeProvider
from fake_provider import SECRET as SECRET_THERE
from helped import TEXT, claim, helped_task
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select

from kilter.feedback.accounts import ROLES, passwords
from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Submission
from kilter.feedback.work.tables import assignments, second_looks
from kilter.oversight.study import Study
from kilter.serving import running
from kilter.web import Site, create_app
from kilter.web.designing import FIELDS
from kilter.web.limits import Limits
from kilter.web.oidc import OIDCSettings, Provider

EXAMPLES = 25
ACTORS = (*ROLES, None)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SECRET = "what the victim wrote and has not sent"
STARTED = "2026-11-23T10:00:00Z"


@dataclass
class World:
    """A site on which somebody, the victim, has work in hand and work done."""

    office: Office
    app: Any
    schema: Any
    operations: dict[str, Any]
    study: Task
    victim: str
    theirs: list[str]
    own: dict[str, list[str]] = field(default_factory=dict)

    def signed_in(self, actor: str | None) -> dict[str, str]:
        """Cookies of somebody, who is signed in or joins again if an example has ended that."""
        if actor is None:
            return {}
        people = self.office.site.people
        if people.session(self.office.tokens.get(actor)) is None:
            there = [one for one in people.all() if one.name == actor and one.role == actor]
            if there:
                self.office.tokens[actor] = people.open_session(there[0].id)
            else:
                self._join(actor)
            self.own.pop(actor, None)
        return {"kilter_session": self.office.tokens[actor]}

    def word(self, actor: str | None) -> str:
        session = None if actor is None else self.office.site.people.session(self.office.tokens[actor])
        return "" if session is None else session.csrf

    def hands(self, actor: str | None) -> list[str]:
        """Assignments of the actor's own."""
        if actor in (None, "auditor"):
            return []
        if actor not in self.own:
            session = self.office.site.people.session(self.office.tokens[actor])
            assert session is not None
            given = self.office.site.desk.next(self.office.task, session.person.rater, 3)
            helped = self.office.site.desk.next(self.study, session.person.rater, 2)
            self.own[actor] = [one.id for one in (*given, *helped)]
        return self.own[actor]

    def work_of_the_victim(self) -> list[Any]:
        """All that is kept of it; `until` may move, for who comes back holds an item longer."""
        columns = [one for one in assignments.columns if one.name != "until"]
        with self.office.site.desk.record.reading() as connection:
            query = select(*columns).where(assignments.c.rater == self.victim).order_by(assignments.c.id)
            kept = [tuple(row) for row in connection.execute(query)]
            looks = select(second_looks).where(second_looks.c.rater == self.victim)
            kept += [tuple(row) for row in connection.execute(looks)]
        return [*kept, len(self.office.site.desk.record.judgments(judge=self._judge))]

    @property
    def _judge(self) -> str:
        return f"people/{self.office.site.people.about(self.victim)['alias']}"

    def _join(self, actor: str) -> None:
        for one in self.office.site.people.all():  # another role by now, or a name that an example took
            if one.name == actor:
                self.office.site.people.forget(one.id)
        self.office.add(actor, actor)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    minutes = count(step=100_000)
    fake = FakeProvider()
    with (
        made_office(tmp_path_factory.mktemp("fuzz"), items=400) as office, running(fake.app()) as fake.issuer,
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # hundreds of passwords are tried
        patch.setattr(passwords, "_HASHER", cheap)
        patch.setattr(passwords, "_NOBODYS", cheap.hash("nobody's"))
        provider = Provider.discover(
            OIDCSettings(issuer=fake.issuer, client_id=CLIENT, admit={"ada@lab.example": "rater"}), SECRET_THERE
        )
        clock = Limits(lambda: float(next(minutes)))
        site = Site(office.site.desk, office.site.people, limits=clock, oidc=provider, runs=office.site.runs)
        begin_study(office.site)
        office = Office(site, office.task, office.tokens)
        for name in ("spare", "victim"):  # an owner more, so that the others may go
            office.add(name, "owner" if name == "spare" else "rater")
        session = site.people.session(office.tokens["victim"])
        assert session is not None
        rater = session.person.rater
        held = site.desk.next(office.task, rater, 3)
        site.desk.submit(office.task, rater, held[0].id, Submission("victims-key", {"better": 1}, STARTED, {}))
        site.desk.save_draft(office.task, rater, held[1].id, {"better": SECRET})
        study = helped_task(help={"arms": ["critiques"]}, overlap={"judges": 1})
        site.desk.add_task(study)
        rows = [{"prompt": f"study {n}", "responses": [TEXT], "help": {"critiques": [
            claim("Alba", text=f"claim {n}" if n else SECRET)]}} for n in range(100)]  # fmt: skip
        site.desk.add_items(study, [read_item(one, "x") for one in rows])
        [looked] = site.desk.next(study, rater)
        site.desk.submit(study, rater, looked.id, Submission("victims-alone", {"flaws": []}, STARTED, {}))
        held.append(looked)
        app = create_app(site)
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        found = {one.ok().label: one.ok() for one in schema.get_all_operations()}
        yield World(office, app, schema, found, study, session.person.id, [one.id for one in held])


def begin_study(site: Site) -> None:
    """A study that was begun and reported, in the workspace's folder of runs."""
    assert site.runs is not None
    folder = site.runs / "begun"
    folder.mkdir()
    (folder / "study.json").write_text(Study(name="begun").model_dump_json())
    (folder / "report.html").write_text("<!doctype html><title>A report</title>")


def operations() -> list[str]:
    """Every operation of the site, by method and path; the site itself is made once, when the tests run."""
    app = create_app(Site(None, None))  # type: ignore[arg-type]  # its routes are not asked here
    paths = app.openapi()["paths"]
    own = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return [*own, "GET /oidc", "GET /oidc/callback"]


def fitted(world: World, case: Case, actor: str | None, draw: Any) -> Case:
    """The case with what exists in most of its places."""
    usually = st.integers(0, 4).map(bool)

    def one_of(there: list[str]) -> str:
        """Drawn by a number, for how many there are depends on what earlier examples did."""
        return there[draw(st.integers(0, 999)) % len(there)]

    places = case.path_parameters or {}
    if "task" in places and draw(usually):
        places["task"] = draw(st.sampled_from(["helpful", "helpful", "study"]))
    if "person" in places and draw(usually):
        strangers = [one.id for one in world.office.site.people.all() if one.name != "spare" and one.id != world.victim]
        places["person"] = one_of(strangers)
    if "token" in places and draw(usually):
        places["token"] = world.office.site.people.invite("rater")
    if "study" in places and draw(usually):
        places["study"] = "begun"
    if case.headers is not None and draw(usually):
        case.headers["x-csrf"] = world.word(actor)
    if isinstance(case.body, dict):
        body = case.body
        if case.media_type != "application/json":
            if draw(usually):
                body["csrf"] = world.word(actor)
            if "password" in body and draw(usually):
                body["password"] = PASSWORD
        if "assignment" in body and draw(usually):
            body["assignment"] = one_of([*world.hands(actor), *world.theirs])
        if "before" in body and draw(usually):
            body["before"] = one_of([*world.hands(actor), *world.theirs])
        if "answers" in body and draw(usually):
            value = draw(st.sampled_from([0, 1, "tie", None, 7, {"choice": 1}, [0], 10**400, "\ud800"]))
            body["answers"] = draw(st.sampled_from([{"better": value}, {"better": value}, {"flaws": []}]))
        if "fields" in body and draw(usually):
            numbers = st.sampled_from(["6", "0.5", "", "1e400", "-1", "nan", "x" * 300, "9" * 300])
            names = st.sampled_from([name for name in FIELDS if not name.startswith(("name", "cases.t", "critic.k"))])
            body["fields"] = {"name": "fuzzed", "cases.testbed": "reasoning"} | draw(
                st.dictionaries(names, numbers, max_size=4)
            )
            body["arms"] = draw(st.sampled_from([["oracle"], ["critiques", "placebo"], [], ["oracle", "oracle"]]))
        if "followed" in body and draw(usually):
            body["followed"] = draw(st.sampled_from([None, {}, {"0": True}, {"0": None}, {"1": False}]))
            body["opened"] = draw(st.sampled_from([[], [0], [1]]))
    return case


@pytest.mark.parametrize("label", operations())
def test_every_route_holds_to_its_schema_and_to_the_persons_own_work(world: World, label: str) -> None:
    operation = world.operations[label]
    before = world.work_of_the_victim()
    strategies = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.explicit, Phase.generate],
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(strategies), actor=st.sampled_from(ACTORS), data=st.data())
    def ask(case: Case, actor: str | None, data: Any) -> None:
        cookies = world.signed_in(actor)
        fitted(world, case, actor, data.draw)
        if label == "GET /oidc/callback" and data.draw(st.booleans()):
            assert world.office.site.oidc is not None
            flow = world.office.site.oidc.flows.begin("http://testserver/oidc/callback", "/")
            cookies["kilter_oidc"] = flow.browser
            case.query = {**(case.query or {}), "state": flow.state}
        answer = case.call(cookies=cookies, allow_redirects=False)
        case.validate_response(answer, checks=CHECKS)
        assert SECRET not in answer.content.decode(errors="replace")
        assert world.work_of_the_victim() == before
        if label.endswith("/open"):
            for task in ("helpful", "study"):
                world.office.site.desk.set_open(task, True)

    ask()


def test_the_fuzz_comes_past_the_doors(world: World) -> None:
    """What this file proves is worth nothing where all its requests are refused."""
    for actor in ("owner", "researcher", "rater"):
        cookies = world.signed_in(actor)
        [assignment, *_] = world.hands(actor)
        body = {"assignment": assignment, "key": f"a-key-of-{actor}", "answers": {"better": 0}, "started": STARTED}
        case = world.operations["POST /api/tasks/{task}/submit"].Case(
            path_parameters={"task": "helpful"}, headers={"x-csrf": world.word(actor)}, body=body,
            media_type="application/json",
        )  # fmt: skip
        answer = case.call(cookies=cookies)
        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code == 200, answer.content
        assert json.loads(answer.content)["state"] == "submitted"


def test_the_fuzz_comes_to_the_second_look(world: World) -> None:
    cookies = world.signed_in("owner")
    session = world.office.site.people.session(world.office.tokens["owner"])
    assert session is not None
    given = world.office.site.desk.next(world.study, session.person.rater, 50)
    assignment = next(one.id for one in given if one.look is None)
    for more in ({}, {"followed": {"0": True}, "opened": [0]}):
        body = {
            "assignment": assignment,
            "key": f"key-of-look-{len(more)}",
            "answers": {"flaws": []},
            "started": STARTED,
        }
        case = world.operations["POST /api/tasks/{task}/submit"].Case(
            path_parameters={"task": "study"}, headers={"x-csrf": world.word("owner")}, body=body | more,
            media_type="application/json",
        )  # fmt: skip
        answer = case.call(cookies=cookies)
        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code == 200, answer.content
        assert (json.loads(answer.content)["second"] is None) == bool(more)
