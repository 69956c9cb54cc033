"""The child: reads programs from stdin, runs each in a fork of its own, writes what became of them to stdout.

Run as a script, by the bare interpreter. The first line says which protection there is, then one JSON line follows for
each program. It never sees what the caller will compare outputs with.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from namespaces import die_with_parent, enter, give_up_privileges, limit  # type: ignore[import-not-found]

Task = dict[str, Any]
_OTHERS = {"bubblewrap": 2, "namespaces": 1, "limits": 0}  # processes of ours that count as the program's user's


def main() -> None:
    """Enter the protection asked for, then run every program."""
    die_with_parent()
    task: Task = json.loads(sys.stdin.buffer.read())
    if task["protection"] == "namespaces":
        try:
            enter(task["folder"], task["limits"]["file_mb"])
        except OSError as error:
            _say({"error": str(error)})
            return
        inner = os.fork()  # the first process of the new PID namespace
        if inner:
            os.waitpid(inner, 0)
            return
        give_up_privileges()
        die_with_parent()  # giving up privileges had taken it back
        os.chdir("/tmp")
    else:
        os.chdir(task["folder"])
    task["limits"]["processes"] += _OTHERS[task["protection"]]
    _say({"protection": task["protection"]})
    for code, given in task["programs"]:
        _say(_run(code, given, task["limits"], alone=task["protection"] != "limits"))
    os._exit(0)


def _say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _run(code: str, given: str, limits: dict[str, Any], alone: bool) -> dict[str, Any]:
    """One program in a fork, in a folder that is removed afterwards."""
    folder = tempfile.mkdtemp(dir=".")
    outputs = [os.pipe(), os.pipe()]
    began = time.monotonic()
    with tempfile.TemporaryFile(dir=".") as file:
        file.write(given.encode("utf-8", "surrogatepass"))
        file.seek(0)
        pid = os.fork()
        if pid == 0:
            _become(code, folder, [file.fileno(), outputs[0][1], outputs[1][1]], limits)
    for _, end in outputs:
        os.close(end)
    texts, why = _collect([start for start, _ in outputs], began + limits["seconds"], limits["output_bytes"])
    status = _end(pid, alone, kill=why is not None, until=began + limits["seconds"])
    if status is None:
        why, status = "timeout", signal.SIGKILL
    for start, _ in outputs:
        os.close(start)
    shutil.rmtree(folder, ignore_errors=True)
    number = os.waitstatus_to_exitcode(status)
    said = why or ("ok" if number == 0 else "timeout" if number == -signal.SIGXCPU else "error")
    said = "killed" if said == "error" and number < 0 else said
    row = {"status": said, "exit_code": number, "seconds": time.monotonic() - began}
    return row | {"stdout": texts[0].decode("utf-8", "replace"), "stderr": texts[1].decode("utf-8", "replace")}


def _become(code: str, folder: str, streams: list[int], limits: dict[str, Any]) -> None:
    """Never returns: this process is the program."""
    number = 1
    try:
        os.setsid()
        die_with_parent()
        os.chdir(folder)
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
        os.closerange(3, 4096)
        os.environ.clear()
        limit(*(limits[name] for name in ("cpu_seconds", "memory_mb", "file_mb", "processes", "open_files")))
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(place, mode, encoding="utf-8", closefd=False)
                                             for place, mode in enumerate("rww"))  # fmt: skip
        names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(code, "program.py", "exec"), names)
        number = 0
    except SystemExit as error:
        number = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        inside = error.__traceback__ and error.__traceback__.tb_next  # not the line of this file
        traceback.print_exception(type(error), error, inside)
    finally:
        for output in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                output.flush()
        os._exit(number & 0xFF)


def _collect(pipes: list[int], until: float, most: int) -> tuple[list[bytearray], str | None]:
    """What comes out of the pipes, until they are closed, too much has come, or time is up."""
    texts, still = [bytearray(), bytearray()], list(pipes)
    while still:
        left = until - time.monotonic()
        ready = select.select(still, [], [], max(0.0, left))[0] if left > 0 else []
        if not ready:
            return texts, "timeout"
        for pipe in ready:
            text = texts[pipes.index(pipe)]
            part = os.read(pipe, 65536)
            if not part:
                still.remove(pipe)
            text += part[: most - len(text)]
            if len(part) and len(text) >= most:
                return texts, "flood"
    return texts, None


def _end(pid: int, alone: bool, kill: bool, until: float) -> int | None:
    """Wait for a program, kill whatever it left behind, and give its status; None where it had to be killed."""
    status: int | None = None
    while not kill:  # its pipes are closed, but it may live on
        done, found = os.waitpid(pid, os.WNOHANG)
        if done:
            status = found
            break
        if time.monotonic() > until:
            break
        time.sleep(0.0005)
    for target, ask in ((-1, os.kill), (pid, os.killpg)) if alone else ((pid, os.killpg),):
        with contextlib.suppress(OSError):
            ask(target, signal.SIGKILL)
    if status is None:
        _, found = os.waitpid(pid, 0)
        status = found if kill else None
    with contextlib.suppress(ChildProcessError):  # the first process of a namespace inherits the orphans
        while alone:
            os.waitpid(-1, 0)
    return status


if __name__ == "__main__":
    main()
