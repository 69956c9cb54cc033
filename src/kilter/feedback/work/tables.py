"""Work in progress: tables beside the record that, unlike it, change.

They lie in the same database, so that one transaction holds both.

What raters said is on the record; here is who is asked next, and which names and passwords belong to whom. Nothing
here is needed to verify the record or to learn from it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

tasks = Table(
    "work_tasks",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("definition", Text, nullable=False),  # canonical JSON of a Task
    Column("artifact", String(64), nullable=False),  # the same on the record
    Column("open", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("seed", BigInteger, nullable=False),
)

items = Table(
    "work_items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", String(60), ForeignKey("work_tasks.name"), nullable=False),
    Column("artifact", String(64), nullable=False),
    Column("number", Integer, nullable=False),  # place in the order they were given in
    Column("use", String(20), nullable=False),
    Column("content", Text, nullable=False),  # JSON of the whole TaskItem, hidden parts included
    Column("wanted", Integer),  # raters; null: any number
    Column("taken", Integer, nullable=False),  # submitted
    Column("held", Integer, nullable=False),  # given to a rater and not submitted yet
    Column("free", Boolean, nullable=False),  # whether one more rater may have it; kept so that an index finds it
    Column("priority", Double, nullable=False),
    Column("place", BigInteger, nullable=False),  # order among equal priorities
    UniqueConstraint("task", "artifact"),
)
Index(
    "work_items_next", items.c.task, items.c.use, items.c.free, items.c.priority.desc(), items.c.place, items.c.id
)  # in the very order in which items are handed out: the first free one is found without sorting

assignments = Table(
    "work_assignments",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("task", String(60), ForeignKey("work_tasks.name"), nullable=False),
    Column("item", Integer, ForeignKey("work_items.id"), nullable=False),
    Column("rater", String(32), nullable=False, index=True),
    Column("state", String(12), nullable=False),  # held, freed, submitted, skipped, flagged, surplus
    Column("sides", Text, nullable=False),  # JSON: for each place on screen, the response's number
    Column("seed", BigInteger, nullable=False),
    Column("given", Double, nullable=False),
    Column("until", Double, nullable=False),  # then it is freed
    Column("submitted", Double),
    Column("submission", String(64)),  # the browser's name for what it sent, so that it may send it twice
    Column("answers", Text),  # JSON: a draft, or what was submitted, as the rater saw it
    Column("judgments", Text),  # JSON: ids on the record, by question
    Column("reason", Text),  # of a skip or flag
    UniqueConstraint("item", "rater"),
    Index("work_assignments_state", "task", "state", "until"),
    Index("work_assignments_mine", "rater", "task", "state"),
)

second_looks = Table(
    "work_second_looks",  # in experiments on help: begun with the unaided answer; beside `assignments`, which older
    metadata,  # workspaces have without these columns
    Column("assignment", String(32), ForeignKey("work_assignments.id"), primary_key=True),
    Column("task", String(60), ForeignKey("work_tasks.name"), nullable=False),
    Column("rater", String(32), nullable=False),
    Column("number", Integer, nullable=False),  # of the rater among those who began this task, from 0
    Column("arm", String(40), nullable=False),
    Column("began", Double, nullable=False),  # when the help was first sent
    Column("submission", String(64), nullable=False),  # the browser's name for the unaided answer
    Column("answers", Text, nullable=False),  # JSON: the unaided ones, as the rater saw the item
    Column("judgments", Text, nullable=False),  # JSON: their ids on the record, by question
    Column("alone_ms", BigInteger, nullable=False),  # at it before the help
    Column("aided_ms", BigInteger, nullable=False),  # and after, corrections included
    Column("followed", Text, nullable=False),  # JSON: for each claim decided so far whether it was accepted
    Column("opened", Text, nullable=False),  # JSON: numbers of the claims looked at
    Index("work_second_looks_raters", "task", "rater"),
)

decisions = Table(
    "work_decisions",  # of researchers, on items that raters differ about; the last one of each item
    metadata,
    Column("item", Integer, ForeignKey("work_items.id"), primary_key=True),
    Column("task", String(60), ForeignKey("work_tasks.name"), nullable=False, index=True),
    Column("person", String(32), nullable=False),
    Column("submission", String(64), nullable=False),  # the browser's name for what it sent
    Column("submitted", Double, nullable=False),
    Column("judgments", Text, nullable=False),  # JSON: ids on the record, by question
)

flags = Table(
    "work_flags",  # of items that somebody flagged: while it stands, `wanted` of the item is 0
    metadata,
    Column("item", Integer, ForeignKey("work_items.id"), primary_key=True),
    Column("wanted", Integer),  # raters it was for before
    Column("retired", Boolean, nullable=False),  # a researcher has decided that it stays out
)

standings = Table(
    "work_standings",
    metadata,
    Column("task", String(60), ForeignKey("work_tasks.name"), primary_key=True),
    Column("rater", String(32), primary_key=True),
    Column("stage", String(16), nullable=False),  # training, qualifying, working, refused
    Column("judged", Integer, nullable=False),  # work and gold items submitted
    Column("right", Integer, nullable=False),  # known answers met, in qualification
    Column("asked", Integer, nullable=False),
)

people = Table(
    "work_people",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("alias", String(32), nullable=False, unique=True),  # the judge's name on the record is people/<alias>
    Column("role", String(16), nullable=False),  # owner, researcher, rater, auditor; or deleted
    Column("name", Text, unique=True),  # null once deleted
    Column("password", Text),  # argon2 hash
    Column("subject", Text, unique=True),  # at an OpenID provider
    Column("tasks", Text),  # JSON: names of the tasks a rater may see; null: all
    Column("created", Double, nullable=False),
)

invitations = Table(
    "work_invitations",
    metadata,
    Column("token", String(64), primary_key=True),  # SHA-256: who reads the database cannot use it
    Column("role", String(16), nullable=False),
    Column("tasks", Text),
    Column("uses", Integer, nullable=False),  # left
    Column("until", Double, nullable=False),
    Column("created", Double, nullable=False),
)

sessions = Table(
    "work_sessions",
    metadata,
    Column("token", String(64), primary_key=True),  # SHA-256
    Column("person", String(32), ForeignKey("work_people.id"), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created", Double, nullable=False),
    Column("until", Double, nullable=False),
)
