"""A PostgreSQL server for a measurement, with the durability that it has by default; gone after."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import postgresql_server as server


@contextmanager
def durable_postgresql() -> Iterator[str]:
    """The address of a new database, on this machine's installed programs."""
    programs = server.find_programs()
    if programs is None:
        raise SystemExit("There is no PostgreSQL server program here; install Debian's package postgresql.")
    folder, account = Path(tempfile.mkdtemp(prefix="kilter-pg-")), server.unprivileged()
    server.SETTINGS = {"listen_addresses": ""}  # what the tests switch off stays on: every commit is on the disk
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        server.make_cluster(programs, folder, account)
        server.control(programs, folder, account, "start", "--wait", "--timeout=120", f"--log={folder / 'log'}")
        try:
            yield f"postgresql://kilter@/postgres?host={folder}"
        finally:
            server.control(programs, folder, account, "stop", "--mode=fast")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
