"""Two hundred simulated raters on the real pages: nothing lost, nothing doubled, and how long a submit takes.

`python bench/raters.py [--judgments 50000] [--kills 10] [--postgresql]`, into results/feedback.json.

Each rater signs in, asks for items and submits them as the page's outbox does: under a name of its own, again and again
until the server has said that it has it. The server is `kilter feedback serve` in a process of its own, on the real
database with its durable settings; with --kills it is killed (SIGKILL) that often while all are at work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from durable_postgresql import durable_postgresql
from rows import RESULTS, commit, describe_machine, keep

TASK = "pairs"
PASSWORD = "as many words as needed"


@dataclass
class Tally:
    """What the raters saw.

    Attributes:
        acknowledged: (assignment, answer) of every submission that the server said it has, by its key.
        surplus: those that came too late to count.
        milliseconds: of each submit, from its first try until the server said that it has it.
        retried: submissions that needed more than one try.
    """

    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)
    surplus: int = 0
    milliseconds: list[float] = field(default_factory=list)
    retried: int = 0


class Server:
    """`kilter feedback serve`, started and killed."""

    def __init__(self, folder: Path, port: int, database: str | None) -> None:
        self.address = f"http://127.0.0.1:{port}"
        words = [sys.executable, "-m", "kilter", "feedback", "serve", "--port", str(port)]
        self._words = [*words, "--workspace", str(folder), *(["--database", database] if database else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx2.get(f"{self.address}/sign-in", timeout=1)
                return
            except httpx2.TransportError:
                time.sleep(0.05)
        raise SystemExit("The server did not start within a minute.")

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is flushed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def set_up(folder: Path, database: str | None, items: int, judges: int, raters: int) -> list[str]:
    """A task with its items, and as many raters; their sessions' tokens."""
    from kilter.feedback.accounts import People
    from kilter.feedback.tasks import Task, read_item
    from kilter.feedback.work import Desk
    from kilter.record import Workspace

    options = {} if database is None else {"database": database}
    with Workspace.open(folder, **options) as opened:
        desk, people = Desk(opened.record), People(opened.record)
        people.join(people.invite("owner"), "owner", PASSWORD)
        task = Task.model_validate(
            {
                "name": TASK, "title": "Pairs", "questions": [{"type": "comparison", "name": "better"}],
                "overlap": {"judges": judges, "sample": 0.1, "sample_judges": judges + 2},
            }
        )  # fmt: skip
        desk.add_task(task)
        rows = ({"prompt": f"prompt {n}", "responses": [f"good {n}", f"bad {n}"]} for n in range(items))
        desk.add_items(task, [read_item(row, "bench") for row in rows])
        token = people.invite("rater", uses=raters)
        persons = [people.join(token, f"rater {number}", PASSWORD) for number in range(raters)]
        return [people.open_session(one.id) for one in persons]


class SimulatedRater:
    """One rater: a client, an outbox of one, and a pace."""

    def __init__(self, number: int, address: str, session: str, tally: Tally, pause: float) -> None:
        self._random = random.Random(number)
        self._tally, self._pause = tally, pause
        self._client = httpx2.AsyncClient(base_url=address, cookies={"kilter_session": session}, timeout=10)

    async def work(self, until: asyncio.Event) -> None:
        """Judge until there is nothing left, or everybody stops."""
        due = time.monotonic() + self._random.uniform(0, self._pause)
        await asyncio.sleep(due - time.monotonic())
        self._word = (await self._ask("GET", "/api/session"))["csrf"]
        items: list[dict[str, Any]] = []
        done: set[str] = set()
        while not until.is_set():
            if len(items) < 2:
                got = await self._ask("POST", f"/api/tasks/{TASK}/next", {})
                items = [one for one in got["items"] if one["assignment"] not in done]
                if not items:
                    break
            one = items.pop(0)
            done.add(one["assignment"])
            due += self._pause  # by the clock, not after the last answer: a slow server is asked no less
            at = due + self._random.uniform(-0.5, 0.5) * self._pause
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            await self._submit(one)
        await self._client.aclose()

    async def _submit(self, one: dict[str, Any]) -> None:
        place = next(place for place, html in enumerate(one["responses"]) if "good" in html)
        key = f"{one['assignment']}-{self._random.getrandbits(48):012x}"
        started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = {"assignment": one["assignment"], "key": key, "answers": {"better": place}, "started": started}
        began = time.perf_counter()
        tries: list[int] = []
        answer = await self._ask("POST", f"/api/tasks/{TASK}/submit", body, tries)
        if answer["state"] == "surplus":
            self._tally.surplus += 1
        else:
            self._tally.acknowledged[key] = (one["assignment"], place)
        self._tally.retried += bool(tries)
        self._tally.milliseconds.append(1000 * (time.perf_counter() - began))

    async def _ask(self, method: str, path: str, body: Any = None, tries: list[int] | None = None) -> Any:
        while True:
            try:
                headers = {"X-CSRF": getattr(self, "_word", "")}
                answer = await self._client.request(method, path, json=body, headers=headers)
                if answer.status_code < 300:
                    return answer.json()
                if answer.status_code < 500:
                    raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
            except httpx2.TransportError:
                pass
            if tries is not None:
                tries.append(1)
            await asyncio.sleep(self._random.uniform(0.2, 1.0))


async def load(server: Server, sessions: list[str], tally: Tally, rate: float, wanted: int, kills: int) -> None:
    """Let all raters work at `rate` submits a second together, and kill the server `kills` times meanwhile."""
    stop = asyncio.Event()
    pause = len(sessions) / rate
    raters = [SimulatedRater(n, server.address, one, tally, pause) for n, one in enumerate(sessions)]
    work = [asyncio.create_task(one.work(stop)) for one in raters]
    for number in range(kills):
        while len(tally.acknowledged) < wanted * (number + 1) / (kills + 1) and not all(one.done() for one in work):
            await asyncio.sleep(0.2)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        print(f"killed at {len(tally.acknowledged)}, {number + 1} of {kills}", flush=True)
    while not all(one.done() for one in work):
        await asyncio.sleep(2)
        print(f"\r{len(tally.acknowledged)} of {wanted}", end="", flush=True)
    await asyncio.gather(*work)


def check(folder: Path, database: str | None, tally: Tally) -> dict[str, Any]:
    """Compare what was acknowledged with what is on the record."""
    from sqlalchemy import select

    from kilter.feedback.work import Desk
    from kilter.feedback.work.tables import assignments, items
    from kilter.record import Workspace

    options = {} if database is None else {"database": database}
    with Workspace.open(folder, **options) as opened:
        desk = Desk(opened.record)
        progress = desk.progress(TASK)
        with opened.record.reading() as connection:
            kept = {
                row.submission: row.id for row in connection.execute(select(assignments.c.submission, assignments.c.id))
            }
            wanted = dict(connection.execute(select(items.c.artifact, items.c.wanted)).all())
        judged = Counter(one.target for one in opened.record.judgments())
        twice = Counter((one.target, one.judge) for one in opened.record.judgments())
        return {
            "judgments": judged.total(),
            "wanted": progress.wanted,
            "acknowledged_but_lost": sum(key not in kept for key in tally.acknowledged),
            "doubled": sum(count > 1 for count in twice.values()),
            "items_off_their_cap": sum(judged[key] != count for key, count in wanted.items()),
            "wrong_side": sum(one.value != 0 for one in opened.record.judgments()),
            "record_verifies": opened.record.verify().ok,
        }


def main() -> None:
    """Run it and write the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judgments", type=int, default=50_000)
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0, help="submits a second")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server that is started for it")
    parser.add_argument("--port", type=int, default=8047)
    parser.add_argument("--out", type=Path, default=RESULTS / "feedback.json")
    options = parser.parse_args()
    judges = 2
    items = round(options.judgments / (judges + 0.2))
    with (
        tempfile.TemporaryDirectory() as name,
        durable_postgresql() if options.postgresql else nullcontext() as database,
    ):
        folder = Path(name)
        sessions = set_up(folder, database, items, judges, options.raters)
        server, tally = Server(folder, options.port, database), Tally()
        server.start()
        began = time.monotonic()
        try:
            asyncio.run(load(server, sessions, tally, options.rate, options.judgments, options.kills))
        finally:
            server.kill()
        seconds = time.monotonic() - began
        found = check(folder, database, tally)
    new = rows(options, found, tally, seconds)
    print("\n" + json.dumps(new, indent=2))
    keep(options.out, new)


def rows(options: argparse.Namespace, found: dict[str, Any], tally: Tally, seconds: float) -> list[dict[str, Any]]:
    """The figures of one load; the rest of what was checked stands with them."""
    where = "PostgreSQL" if options.postgresql else "SQLite"
    at_once = len(tally.acknowledged) / seconds
    load = f"{options.raters} raters, {len(tally.acknowledged):,} judgments, {at_once:.0f} submits/s, {where}"
    common = {
        "better": "lower", "peer": None, "ratio": None, "machine": describe_machine(), "commit": commit(),
        "work": load + (f", {options.kills} kills" if options.kills else ""),
    }  # fmt: skip
    ending = f"{where}{f', {options.kills} kills' if options.kills else ''}"
    broken = {name: found[name] for name in ("acknowledged_but_lost", "doubled", "items_off_their_cap", "wrong_side")}
    count = len(tally.acknowledged)
    wrong = {"value": sum(broken.values()), "low": sum(broken.values()), "high": sum(broken.values()), "n": count}
    new = [{"row": f"lost, doubled or off the cap, {ending}", "unit": "judgments", "ours": wrong, "target": 0,
            **common, "checked": found, "retried": tally.retried, "surplus": tally.surplus}]  # fmt: skip
    if not options.kills:  # else it is the seconds that the server was down
        new += [
            {"row": f"submit, p{share}, {where}", "unit": "ms", "ours": percentile(tally.milliseconds, share / 100),
             "target": target, "method": "order statistics, 95 %", **common}
            for share, target in ((50, None), (99, 50))
        ]  # fmt: skip
    return new


def percentile(values: list[float], share: float) -> dict[str, float | int]:
    """A percentile between the order statistics that hold it in 95 of 100 cases."""
    ordered, last = sorted(values), len(values) - 1
    wide = 1.96 * math.sqrt(len(ordered) * share * (1 - share))
    low, value, high = (ordered[min(last, max(0, round(share * last + by)))] for by in (-wide, 0.0, wide))
    return {"value": value, "low": low, "high": high, "n": len(ordered)}


if __name__ == "__main__":
    main()
