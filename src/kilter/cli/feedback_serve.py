"""`kilter feedback serve`: the pages where people judge, until Ctrl-C."""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilter.cli.pages import owner_link
from kilter.cli.workspace import DatabaseOption, WorkspaceOption
from kilter.errors import SettingsError

if TYPE_CHECKING:
    from kilter.feedback.tasks import Task
    from kilter.feedback.work import Desk
    from kilter.web.oidc import Provider


def serve(
    tasks: Annotated[
        list[Path] | None, typer.Argument(metavar="[TASK.yaml]...", help="Task files; their items are added.")
    ] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8040,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is reached by others.")] = "127.0.0.1",
    public: Annotated[
        str | None, typer.Option(metavar="URL", help="Where people reach it behind a reverse proxy, path included.")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Reverse proxy on another machine, or its network: 10.0.0.0/24."),
    ] = None,
    oidc: Annotated[
        Path | None, typer.Option("--oidc", metavar="FILE.yaml", help="Let people sign in with an account elsewhere.")
    ] = None,
) -> None:
    """Let people judge in their browsers: opens the tasks and prints the address; Ctrl-C ends.

    Everything is kept in the workspace the moment it is sent, and the same command goes on from there. The first time a
    link is printed that makes its reader the owner; who else may come in, the owner decides on the page.
    """
    _check_public(public, host)
    _check_proxy(proxy)
    from kilter.feedback.accounts import People
    from kilter.feedback.work import Desk
    from kilter.record import Workspace
    from kilter.serving.running import run
    from kilter.web import Site, create_app

    provider = None if oidc is None else _provider(oidc)
    with Workspace.open(workspace, database) as opened:
        desk, people = Desk(opened.record), People(opened.record)
        for file in tasks or []:
            _add(desk, file)
        site = Site(desk, people, public, oidc=provider, runs=opened.runs)

        def ready(address: str) -> None:
            typer.echo(f"Judge at {site.address(address)}/ ; Ctrl-C ends.")
            if provider is not None:
                typer.echo(f"{provider.settings.name} must know this address: {site.address(address)}/oidc/callback")
            link = owner_link(site.people, site.address(address))
            if link is not None:
                typer.echo(f"You own this workspace: open {link} once, within a day.")

        with contextlib.suppress(KeyboardInterrupt):
            run(create_app(site), host, port, ready, proxy)


def add_task(desk: Desk, task: Task) -> int:
    """Put a task and the items it names on the record; how many items are new."""
    from kilter.feedback.tasks import read_items

    new = [] if task.items is None else read_items(task.items)
    task.check_items(new, task.items or task.name)
    desk.add_task(task)
    return desk.add_items(task, new)


def _add(desk: Desk, file: Path) -> None:
    from kilter.feedback.tasks import read_task

    task = read_task(file)
    new = add_task(desk, task)
    progress = desk.progress(task.name)
    typer.echo(f"{task.name}: {progress.items} items ({new} new), {progress.judgments} of {progress.wanted} judgments.")


def _provider(file: Path) -> Provider:
    from kilter.web.oidc import Provider, read_oidc, read_secret

    settings = read_oidc(file)
    return Provider.discover(settings, read_secret(settings, file.parent))


def _check_public(public: str | None, host: str) -> None:
    if public is not None and not public.startswith(("http://", "https://")):
        raise SettingsError(
            f"--public is the address that people type, such as https://lab.example/kilter, not {public}."
        )
    if public is None and not _local(host):
        typer.echo(
            "Others reach this server by http, which anybody on the way can read. Put a reverse proxy with https "
            "before it and name its address with --public.", err=True,
        )  # fmt: skip


def _check_proxy(proxy: str | None) -> None:
    try:
        ipaddress.ip_network(proxy or "127.0.0.1")
    except ValueError as error:
        raise SettingsError(
            f"--proxy is the IP address of the reverse proxy, or its network such as 10.0.0.0/24, not {proxy}: {error}."
        ) from error


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
