"""Parts done by the workers of a Ray cluster (docs.ray.io, Ray Core: tasks).

What goes over the wire is plain data: the job's name, the part's data, versions, and the result. Ray's own retries
are off, because they are silent: a part whose worker or node was lost is submitted again here, told of and counted. A
result is taken once, from the attempt that was last submitted; whatever an earlier one still does is never looked at.
"""

from __future__ import annotations

import importlib
import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

from kilter.errors import KilterError, WorkerError
from kilter.recipes.parts import Done, Job, Part, Retry, Tell, of_part

ATTEMPTS = 3
"""A part whose worker is lost this often is given up."""

MUST_AGREE = ("kilter", "torch", "transformers")
"""Packages whose versions must be the same everywhere, for the same rows to come out; Ray checks Python and itself."""

_PASSED_ON = ("HF_HUB_", "TRANSFORMERS_", "TOKENIZERS_", "KILTER_HOME", "KILTER_OFFLINE_BY_DEFAULT")
_LOOK_AGAIN = 30.0  # seconds of waiting after which the cluster is asked whether any node is left
_HEEDS = 5.0  # seconds in which a part that is interrupted should end
_REACHABLE = 10.0  # seconds; Ray itself tries for two minutes, and then ends the process


def perform(job: str, data: Any, versions: dict[str, str], threads: int, folder: str) -> Any:
    """What a worker does: check that it is like the driver, then call the job `module:function`."""
    own = versions_here()
    if own != versions:
        differ = ", ".join(
            f"{name} {own[name]} instead of {versions[name]}" for name in own if own[name] != versions[name]
        )
        raise WorkerError(
            f"The node {platform.node()} has {differ}. The same rows come out only of the same versions: install on "
            "every node what this machine has (constraints.txt)."
        )
    # Sums have the driver's order, whatever Ray thinks the part should take; set before the job may import torch.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if os.path.isdir(folder):  # the driver's, so that a relative path means the same here
        os.chdir(folder)
    module, _, name = job.partition(":")
    function = getattr(importlib.import_module(module), name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return function(data)


def versions_here() -> dict[str, str]:
    """The versions that must agree, of this process."""
    return {name: version(name).partition("+")[0] for name in MUST_AGREE}


class OnRay:
    """The workers of a connected cluster. Each part claims the processors that this process computes with."""

    def __init__(self, tell: Tell) -> None:
        import ray
        import torch

        self._ray, self._tell = ray, tell
        self._threads, self._versions = torch.get_num_threads(), versions_here()
        nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
        most = max((int(one.get("CPU", 0)) for one in nodes), default=0)
        # A node with fewer processors than this process has threads does the part all the same, only more slowly.
        self._cpus = max(1, min(self._threads, most))
        self._gpus = int(any(one.get("GPU") for one in nodes))
        rooms = [min(one.get("CPU", 0) // self._cpus, one.get("GPU", 0) if self._gpus else 1e9) for one in nodes]
        self.slots = max(1, int(sum(rooms)))
        self._pending: dict[Any, tuple[int, Job, Part, int]] = {}
        self._retries: list[Retry] = []

    def submit(self, number: int, job: Job, part: Part, attempt: int = 1) -> None:
        """Send a part; Ray chooses the node, the emptiest first."""
        remote = self._ray.remote(perform).options(
            num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0, scheduling_strategy="SPREAD", name=part.name
        )
        ref = remote.remote(_name_of(job), part.data, self._versions, self._threads, os.getcwd())
        self._pending[ref] = (number, job, part, attempt)

    def next(self) -> Done:
        """Wait for any part; one whose worker was lost is sent again, up to ATTEMPTS times."""
        while True:
            ready, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=_LOOK_AGAIN)
            if not ready:
                self._require_a_node()
                continue
            number, job, part, attempt = self._pending.pop(ready[0])
            try:
                return Done(number, self._ray.get(ready[0]))
            except self._ray.exceptions.RayTaskError as error:
                return Done(number, error=of_part(_cause(error), part))
            except self._ray.exceptions.RayError as error:
                reason = _first_sentence(error)
            self._retries.append(Retry(part.name, attempt, reason))
            if attempt == ATTEMPTS:
                return Done(number, error=_given_up(part, reason))
            self._tell(f"{part.name}: its worker was lost ({reason}); attempt {attempt + 1} of {ATTEMPTS}")
            self.submit(number, job, part, attempt + 1)

    def cancel(self) -> None:
        """Interrupt all outstanding parts, and end the workers of those that do not heed it."""
        left, self._pending = list(self._pending), {}
        for force in (False, True):  # force alone, as a part ends by itself, makes Ray 2.60 abort this process
            for ref in left:
                with suppress(Exception):  # it may just have ended; nothing of it is wanted any more
                    self._ray.cancel(ref, force=force)
            if left:
                _, left = self._ray.wait(left, num_returns=len(left), timeout=_HEEDS)

    def take_retries(self) -> list[Retry]:
        """The retries since this was last asked."""
        taken, self._retries = self._retries, []
        return taken

    def _require_a_node(self) -> None:
        found = [one["Resources"] for one in self._ray.nodes() if one["Alive"]]
        if not any(one.get("CPU", 0) >= self._cpus and one.get("GPU", 0) >= self._gpus for one in found):
            wanted = f"{self._cpus} free processors" + (" and a GPU" if self._gpus else "")
            self._tell(f"{len(self._pending)} parts wait for a node with {wanted}, which the cluster does not have now")


@contextmanager
def open_ray(on: str, tell: Tell) -> Iterator[OnRay]:
    """Connect to the cluster that `on` names (see `open_workers`); a connection that was there before stays.

    Raises:
        WorkerError: Ray is not installed, the cluster cannot be reached, or its versions differ.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise WorkerError(
            "Work can be done on Ray only where Ray is installed, and here it is not: pip install -c constraints.txt "
            "'.[ray]' in Kilter's folder, on every node. Without --on, everything is done by this process."
        ) from error
    connected = ray.is_initialized()
    if not connected:
        _connect(ray, on)
    workers = OnRay(tell)
    try:
        yield workers
    finally:
        workers.cancel()
        if not connected:
            ray.shutdown()


def _connect(ray: Any, on: str) -> None:
    address = os.environ.get("RAY_ADDRESS", "auto") if on == "ray" else on
    _require_reachable(address)
    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    options = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": passed}}
    try:
        try:
            ray.init(address=address, **options)
        except ConnectionError:
            if address != "auto":
                raise
            ray.init(address="local", include_dashboard=False, **options)
    except Exception as error:
        raise WorkerError(_why_not(address, error)) from error


def _require_reachable(address: str) -> None:
    """Find out in seconds that nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHABLE).close()
    except OSError as error:
        raise WorkerError(_why_not(address, error)) from error


def _why_not(address: str, error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if "ersion mismatch" in said:
        return (
            f"The Ray cluster at {address} has another version of Ray or Python than this machine. Install the same on "
            f"both (constraints.txt), and start the cluster again. Ray says: {said}"
        )
    if "ray[client]" in said:
        return (
            f"An address like {address} needs Ray's client, which plain Ray does not bring: pip install 'ray[client]' "
            "here and on the cluster. Or run this command on a node of the cluster, with --on ray."
        )
    return (
        f"The Ray cluster at {address} cannot be reached: {said}. Start it with 'ray start --head' on one machine and "
        "'ray start --address=HOST:PORT' on the others, check with 'ray status' there, set "
        "RAY_AUTH_MODE=token with the same ~/.ray/auth_token on all if the head asks for a token, or leave out --on."
    )


def _cause(error: Any) -> Exception:
    """What the job raised, as it raised it."""
    cause: Exception = error.cause if isinstance(getattr(error, "cause", None), Exception) else error
    if not isinstance(cause, KilterError) and "failed to import on the worker" in str(cause):
        return WorkerError(
            "A node of the cluster cannot import Kilter. Install on every node what this machine has: pip install -c "
            "constraints.txt '.[ray]' in Kilter's folder."
        )
    return cause


def _given_up(part: Part, reason: str) -> WorkerError:
    return WorkerError(
        f"{part.name}: its worker was lost {ATTEMPTS} times, the last time because: {reason}. If the system ended "
        "it for want of memory, let fewer parts run on a node (ray start --num-cpus) or give it smaller ones."
    )


def _first_sentence(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said.partition('. ')[0].rstrip('.')[:200]}"


def _name_of(job: Job) -> str:
    name: str = getattr(job, "__qualname__", "")
    if getattr(sys.modules.get(job.__module__), name, None) is not job:
        raise TypeError(f"{job!r} is no function at the top of a module, so a worker could not find it by name.")
    return f"{job.__module__}:{name}"
