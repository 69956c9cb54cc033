"""An application at an address: until Ctrl-C, or from a thread for as long as a block lasts."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from kilter.errors import SettingsError


def run(app: ASGIApp, host: str, port: int, ready: Callable[[str], None], proxy: str | None = None) -> None:
    """Serve until interrupted; `ready` is told the address once requests can come.

    `proxy` is the address or network of a reverse proxy on another machine, which says whom a request comes from; one
    on this machine is believed anyway.

    Raises:
        SettingsError: the address cannot be had.
    """
    place = _listen(host, port)
    ready(_address(place))
    _server(app, proxy).run(sockets=[place])


@contextmanager
def running(app: ASGIApp, host: str = "127.0.0.1", port: int = 0, proxy: str | None = None) -> Iterator[str]:
    """Serve from a thread inside the block, and give the address; port 0 takes a free one. `proxy` as in `run`."""
    place = _listen(host, port)
    server = _server(app, proxy)
    thread = Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        yield _address(place)
    finally:
        server.should_exit = True
        thread.join()
        place.close()


def _server(app: ASGIApp, proxy: str | None) -> uvicorn.Server:
    trusted = None if proxy is None else ["127.0.0.1", "::1", proxy]
    # no access log: it would name every request
    config = uvicorn.Config(app, log_level="warning", access_log=False, forwarded_allow_ips=trusted)
    return uvicorn.Server(config)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise SettingsError(
            f"Nothing can be served at {host}, port {port}: {error.strerror}. Choose another --port."
        ) from error


def _address(place: socket.socket) -> str:
    host, port = place.getsockname()[:2]
    return f"http://{host}:{port}"
