"""`kilter serve MODEL`: a model behind an address, for rollouts, judges and any OpenAI client."""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from kilter.errors import SettingsError
from kilter.models.endpoint import bearer_key


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A catalogue name, a folder, or a hub id.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is reached by others and needs a key.")] = (
        "127.0.0.1"
    ),
    adapters: Annotated[
        Path | None, typer.Option(help="Let adapters and weights be loaded from under this folder. [not at all]")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable with a key that requests must bring.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What requests call the model. [MODEL]")] = None,
) -> None:
    """Answer as an OpenAI-compatible server, for rollouts and judges; Ctrl-C ends.

    It gives token ids and log-probabilities as vLLM does, and loads adapters while it runs. One request is carried out
    at a time: it is there to try things out and for small models.
    """
    if key is None and not _local(host):
        raise SettingsError(f"At {host} others reach the server, so it needs a key: --key NAME, and set NAME.")
    secret = bearer_key(key) if key is not None else None
    if adapters is not None and not adapters.is_dir():
        raise SettingsError(f"There is no folder {adapters}; make it, or name one that holds the runs to be served.")
    from kilter.models import load
    from kilter.serving import ServedModel, create_app
    from kilter.serving.running import run

    app = create_app(ServedModel(load(model), name or model, adapters), secret)
    with contextlib.suppress(KeyboardInterrupt):
        run(app, host, port, lambda address: typer.echo(f"{name or model} at {address}; Ctrl-C ends."))


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
