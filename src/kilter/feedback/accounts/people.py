"""The people of a workspace: who they are, what they may do, and how they come in.

What identifies them lies here alone. On the record they are `people/<alias>`, an alias drawn at random; who is deleted
leaves the judgments and takes name, password and sessions along.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Literal, get_args

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from kilter.errors import DataError
from kilter.feedback.accounts.passwords import hash_password, is_right
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.tables import invitations, metadata, people, sessions
from kilter.record import Record

Role = Literal["owner", "researcher", "rater", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)
SESSION_DAYS = 14
DAY = 24 * 3600.0
LONGEST_NAME = 80


@dataclass(frozen=True)
class Person:
    """One of the people.

    Attributes:
        alias: their name on the record, after "people/".
        tasks: names of the tasks a rater may see; None: all.
    """

    id: str
    alias: str
    role: Role
    name: str
    tasks: tuple[str, ...] | None = None

    @property
    def rater(self) -> Rater:
        """The person as a judge."""
        return Rater(self.id, f"people/{self.alias}")

    def may(self, *roles: Role) -> bool:
        """Whether one of these roles is theirs; an owner may do all that a researcher may."""
        return self.role in roles or (self.role == "owner" and "researcher" in roles)

    def may_judge(self, task: str) -> bool:
        """Whether a task is open to them."""
        return self.role != "auditor" and (self.tasks is None or task in self.tasks)


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in, and the word that their forms must carry."""

    person: Person
    csrf: str


_SESSION = (
    select(people, sessions.c.csrf)
    .join(sessions, sessions.c.person == people.c.id)
    .where(
        sessions.c.token == bindparam("hashed"), sessions.c.until > bindparam("now"), people.c.name.is_not(None)
    )
)  # fmt: skip
"""Made once, for every request needs it: making a statement takes longer than asking it."""


class People:
    """Accounts, invitations and sessions of one workspace."""

    def __init__(self, record: Record, now: Callable[[], float] = time.time) -> None:
        self._record = record
        self._now = now
        record.lay(metadata)

    # Coming in

    def invite(self, role: Role, *, tasks: Sequence[str] | None = None, uses: int = 1, days: float = 7) -> str:
        """A token that lets so many people join; only its hash is kept, so it is shown this once."""
        token = secrets.token_urlsafe(24)
        row = {
            "token": _hashed(token), "role": role, "tasks": None if tasks is None else json.dumps(list(tasks)),
            "uses": uses, "until": self._now() + days * DAY, "created": self._now(),
        }  # fmt: skip
        with self._record.transaction() as transaction:
            transaction.connection.execute(insert(invitations), row)
        return token

    def invited(self, token: str) -> Role | None:
        """The role that an invitation gives, or None when it is used up, too old or none at all."""
        with self._record.reading() as connection:
            row = _invitation(connection, token, self._now())
        return None if row is None else row["role"]

    def join(self, token: str, name: str, password: str) -> Person:
        """Make an account of an invitation.

        Raises:
            DataError: the invitation does not hold any more, the name is taken or the password too short.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise DataError(
                f"A name has 1 to {LONGEST_NAME} letters, signs and spaces; it is how you sign in, and only the "
                "researchers see it."
            )
        hashed = hash_password(password)
        with self._record.transaction() as transaction:
            connection = transaction.connection
            invitation = _invitation(connection, token, self._now())
            if invitation is None:
                raise DataError("This invitation was used already or is too old; ask whoever sent it for another.")
            connection.execute(
                update(invitations).where(invitations.c.token == _hashed(token)).values(uses=invitations.c.uses - 1)
            )
            return _add(connection, name, invitation["role"], invitation["tasks"], hashed, self._now())

    def sign_in(self, name: str, password: str) -> str | None:
        """A session's token, or None when name and password do not belong together."""
        with self._record.reading() as connection:
            row = _one(connection, people.c.name == " ".join(name.replace("\x00", "").split()))
        if not is_right(None if row is None else row["password"], password) or row is None:
            return None
        return self.open_session(row["id"])

    def enter(self, subject: str, name: str, role: Role, tasks: Sequence[str] | None = None) -> str:
        """Sign in somebody whom an OpenID provider has named; the session's token.

        `subject` is the provider and its own name for them. Who comes for the first time gets an account with this name
        (numbered where it is taken: nobody becomes somebody else), role and tasks; later those on the page hold.
        """
        with self._record.transaction() as transaction:
            connection = transaction.connection
            row = _one(connection, people.c.subject == subject)
            if row is None:
                kept = None if tasks is None else json.dumps(list(tasks))
                added = _add(connection, _free_name(connection, name), role, kept, None, self._now(), subject)
            person = added.id if row is None else row["id"]
        return self.open_session(person)

    def open_session(self, person: str) -> str:
        """Sign a person in who has shown who they are; the session's token."""
        token = secrets.token_urlsafe(32)
        row = {
            "token": _hashed(token), "person": person, "csrf": secrets.token_urlsafe(24), "created": self._now(),
            "until": self._now() + SESSION_DAYS * DAY,
        }  # fmt: skip
        with self._record.transaction() as transaction:
            transaction.connection.execute(delete(sessions).where(sessions.c.until < self._now()))
            transaction.connection.execute(insert(sessions), row)
        return token

    def session(self, token: str | None) -> Session | None:
        """Who is signed in with a token."""
        if not token:
            return None
        with self._record.reading() as connection:
            row = connection.execute(_SESSION, {"hashed": _hashed(token), "now": self._now()}).mappings().one_or_none()
        return None if row is None else Session(_person(row), row["csrf"])

    def sign_out(self, token: str) -> None:
        """End a session."""
        with self._record.transaction() as transaction:
            transaction.connection.execute(delete(sessions).where(sessions.c.token == _hashed(token)))

    # Who is there

    def all(self) -> list[Person]:
        """Everybody who has an account, in the order in which they came."""
        with self._record.reading() as connection:
            query = select(people).where(people.c.name.is_not(None)).order_by(people.c.created)
            return [_person(row) for row in connection.execute(query).mappings()]

    def has_owner(self) -> bool:
        """Whether somebody owns the workspace."""
        with self._record.reading() as connection:
            return _owners(connection) > 0

    def change(self, person: str, role: Role, tasks: Sequence[str] | None = None) -> None:
        """Give a person another role or other tasks, and end their sessions.

        Raises:
            DataError: nobody would own the workspace any more.
        """
        with self._record.transaction() as transaction:
            _keep_an_owner(transaction.connection, person, role)
            kept = {"role": role, "tasks": None if tasks is None else json.dumps(list(tasks))}
            transaction.connection.execute(update(people).where(people.c.id == person).values(kept))
            transaction.connection.execute(delete(sessions).where(sessions.c.person == person))

    def set_password(self, person: str, password: str) -> None:
        """Change a password, and end the person's sessions.

        Raises:
            DataError: it is too short, or the person signs in with an account elsewhere.
        """
        hashed = hash_password(password)
        with self._record.transaction() as transaction:
            row = _one(transaction.connection, people.c.id == person)
            if row is not None and row["subject"] is not None:
                raise DataError("You sign in with an account elsewhere; its password is changed there.")
            transaction.connection.execute(update(people).where(people.c.id == person).values(password=hashed))
            transaction.connection.execute(delete(sessions).where(sessions.c.person == person))

    def about(self, person: str) -> dict[str, Any]:
        """All that identifies a person, for them to take along."""
        with self._record.reading() as connection:
            row = _one(connection, people.c.id == person)
        if row is None:
            raise DataError("There is no such account.")
        kept = {key: row[key] for key in ("name", "alias", "role", "created", "subject")}
        return {**kept, "judge": f"people/{row['alias']}", "tasks": json.loads(row["tasks"] or "null")}

    def forget(self, person: str) -> None:
        """Delete what identifies a person; what they judged stays, by an alias that names nobody.

        Raises:
            DataError: nobody would own the workspace any more.
        """
        with self._record.transaction() as transaction:
            _keep_an_owner(transaction.connection, person, None)
            nobody = {"name": None, "password": None, "subject": None, "tasks": None}
            transaction.connection.execute(update(people).where(people.c.id == person).values(nobody))
            transaction.connection.execute(delete(sessions).where(sessions.c.person == person))


def _add(
    connection: Connection, name: str, role: Role, tasks: str | None, password: str | None, now: float,
    subject: str | None = None,
) -> Person:  # fmt: skip
    row = {
        "id": secrets.token_hex(16), "alias": secrets.token_hex(4), "role": role, "name": name, "password": password,
        "subject": subject, "tasks": tasks, "created": now,
    }  # fmt: skip
    try:
        connection.execute(insert(people), row)
    except IntegrityError as error:
        raise DataError(f"Somebody here is called '{name}' already; choose another name.") from error
    found = _one(connection, people.c.id == row["id"])
    assert found is not None
    return _person(found)


def _free_name(connection: Connection, name: str) -> str:
    """The name, or the name with the first number that makes it nobody's."""
    wanted = " ".join(name.split())[:LONGEST_NAME]
    numbered = (f"{wanted} ({number})" for number in count(2))
    return next(one for one in chain([wanted], numbered) if _one(connection, people.c.name == one) is None)


def _invitation(connection: Connection, token: str, now: float) -> RowMapping | None:
    query = select(invitations).where(
        invitations.c.token == _hashed(token), invitations.c.uses > 0, invitations.c.until > now
    )
    return connection.execute(query).mappings().one_or_none()


def _keep_an_owner(connection: Connection, person: str, role: Role | None) -> None:
    row = _one(connection, people.c.id == person)
    if row is not None and row["role"] == "owner" and role != "owner" and _owners(connection) == 1:
        raise DataError("This is the only owner; make somebody else an owner first.")


def _owners(connection: Connection) -> int:
    query = select(func.count()).select_from(people).where(people.c.role == "owner", people.c.name.is_not(None))
    return connection.execute(query).scalar_one()


def _one(connection: Connection, condition: Any) -> RowMapping | None:
    return connection.execute(select(people).where(condition)).mappings().one_or_none()


def _person(row: RowMapping) -> Person:
    tasks = None if row["tasks"] is None else tuple(json.loads(row["tasks"]))
    return Person(row["id"], row["alias"], row["role"], row["name"], tasks)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
