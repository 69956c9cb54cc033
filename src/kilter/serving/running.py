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


def run(app: ASGIApp, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; `ready` is told the address once requests can come.

    Raises:
        SettingsError: the address cannot be had.
    """
    place = _listen(host, port)
    ready(_address(place))
    _server(app).run(sockets=[place])


@contextmanager
def running(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve from a thread inside the block, and give the address; port 0 takes a free one."""
    place = _listen(host, port)
    server = _server(app)
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


def _server(app: ASGIApp) -> uvicorn.Server:
    # no access log: it would name every request
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))


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
