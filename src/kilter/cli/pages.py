"""The pages where people judge, opened while a recipe waits for them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kilter.feedback.accounts import People
    from kilter.record import Record

HOST, PORT = "127.0.0.1", 8040


@contextmanager
def open_pages(
    record: Record, task: str, tell: Callable[[str], None], runs: Path | None = None
) -> Iterator[None]:  # fmt: skip
    """Serve the pages of a record on this machine inside the block, and tell where the task is judged.

    The usual port is taken where it is free, so that a page that is open already goes on; else any. `runs` is the
    workspace's folder of runs, whose studies the pages then show.
    """
    from kilter.feedback.accounts import People
    from kilter.feedback.work import Desk
    from kilter.serving.running import running
    from kilter.web import Site, create_app

    people = People(record)
    with running(create_app(Site(Desk(record), people, runs=runs)), HOST, PORT if _is_free(PORT) else 0) as address:
        link = owner_link(people, address)
        if link is not None:
            tell(f"First open {link} to make your account, once, within a day.")
        tell(f"Judge at {address}/tasks/{task}/judge ; Ctrl-C stops, and the same command goes on.")
        yield


def owner_link(people: People, address: str) -> str | None:
    """A link that makes its reader the owner of the workspace, within a day; None where somebody owns it."""
    return None if people.has_owner() else f"{address}/join/{people.invite('owner', days=1)}"


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True
