"""A PostgreSQL server for the tests: the one of KILTER_TEST_POSTGRES, or one that is started here and is gone after.

KILTER_TEST_POSTGRES is the address of a database in which its user may make schemas. Without it the server's programs
are looked for, and where there are none the tests that need them are skipped.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

# What makes a server durable costs the tests time and shows nothing that they could see.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "shared_buffers": "32MB",
    "autovacuum": "off",
}
# Everyone is let in, but who is called guarded needs a password.
LOGINS = "local all guarded scram-sha-256\nlocal all all trust\n"


@dataclass
class Server:
    """A running server; `own` when it was started for the tests, which may then do to it what they like."""

    url: URL
    own: bool
    schemas: list[str] = field(default_factory=list)

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Carry out statements, each on its own, as the user of the address."""
        import psycopg

        url = self.url.set(database=database or self.url.database)
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def schema(self) -> str:
        """The address of a new and empty schema."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE SCHEMA {name}")
        self.schemas.append(name)
        return self.address(options=f"-csearch_path={name}")

    def address(self, user: str | None = None, database: str | None = None, **query: str) -> str:
        """The address with something in it changed."""
        url = self.url.set(username=user or self.url.username, database=database or self.url.database)
        return url.update_query_dict(query).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    given = os.environ.get("KILTER_TEST_POSTGRES")
    if given:
        server = Server(make_url(given).set(drivername="postgresql"), own=False)
        yield server
        server.execute(*(f"DROP SCHEMA {name} CASCADE" for name in server.schemas))
        return
    programs = find_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server program (Debian's package postgresql)")
    # Not pytest's folder: it is closed to other users, and its path is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="kilter-pg-"))
    account = unprivileged()
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        make_cluster(programs, folder, account)
        control(programs, folder, account, "start", "--wait", "--timeout=120", f"--log={folder / 'log'}")
        try:
            yield Server(URL.create("postgresql", "kilter", database="postgres", query={"host": str(folder)}), own=True)
        finally:
            control(programs, folder, account, "stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_programs() -> Path | None:
    """The folder of initdb and pg_ctl; of several versions the newest."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    on_path = shutil.which("initdb")
    folders = [path.parent for path in ([Path(on_path).resolve(), *found] if on_path else found)]
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


def unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as: PostgreSQL refuses root. None for the user of this process."""
    if os.getuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def make_cluster(programs: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    data = folder / "data"
    start(
        [programs / "initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=kilter", data],
        folder,
        account,
    )
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        file.write(f"unix_socket_directories = '{folder}'\n")
    (data / "pg_hba.conf").write_text(LOGINS)


def control(programs: Path, folder: Path, account: pwd.struct_passwd | None, *words: str) -> None:
    start([programs / "pg_ctl", "--silent", f"--pgdata={folder / 'data'}", *words], folder, account)


def start(command: list[str | Path], folder: Path, account: pwd.struct_passwd | None) -> None:
    as_account = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    said = folder / "said"
    with said.open("w") as output:  # a file, since a server that inherits a pipe keeps it open
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=output, check=False, **as_account
        )  # type: ignore[call-overload]
    if done.returncode != 0:
        log = folder / "log"
        pytest.fail(f"{command[0]}: {said.read_text()} {log.read_text() if log.exists() else ''}", pytrace=False)
