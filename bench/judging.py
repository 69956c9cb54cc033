"""The same comparisons judged in Kilter and in Potato, by a script in a real browser.

`python bench/judging.py --potato VENV/bin/potato [--items 500] [--kills 5]`, into bench/results/feedback.json.

Both show a prompt with two responses, take one key, and move on by themselves. So that the choice is seen, Potato waits
350 ms before (`review_mode`), and Kilter keeps it on screen for as long over the next item; one row has the time as it
is, and one without Potato's pause. A person would think in between; the script waits 500 ms. What is counted: from the
key until the next item can be read, keys, requests, bytes both ways, and what is left after the server was killed
(SIGKILL) each time that the page had moved on to the next item.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx2
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as Late
from rows import RESULTS, commit, describe_machine, keep, spread

THINKING, SEEN = 0.5, 0.35
CALM = 30
WORK = "{items} comparisons, one key each, in headless Chromium on the same machine as the server"
NEXT = """old => {
  const found = document.body && document.body.innerText.match(/case (\\d+):/);
  return found && found[1] !== old && found[1];
}"""
"""The number of the item that can be read now, once it is another than the old one."""


class Tool(Protocol):
    """What is compared."""

    name: str
    address: str

    def prepare(self, items: list[dict[str, Any]]) -> None: ...

    def command(self) -> list[str]: ...

    def enter(self, page: Page) -> None: ...

    def kept(self) -> int: ...


class Kilter:
    """`kilter feedback serve` with a task of one question."""

    name = "Kilter"

    def __init__(self, folder: Path) -> None:
        self.folder, self.address, self._entered = folder, "http://127.0.0.1:8071", False

    def prepare(self, items: list[dict[str, Any]]) -> None:
        """Write the task and its items."""
        from kilter.feedback.accounts import People
        from kilter.feedback.tasks import Task, read_item
        from kilter.feedback.work import Desk
        from kilter.record import Workspace

        with Workspace.open(self.folder) as opened:
            desk, people = Desk(opened.record), People(opened.record)
            people.join(people.invite("owner"), "owner", "as many words as needed")
            task = Task.model_validate(
                {"name": "pairs", "title": "Pairs", "order": "given",
                 "questions": [{"type": "comparison", "name": "better"}]}
            )  # fmt: skip
            desk.add_task(task)
            desk.add_items(task, [read_item(row, "bench") for row in items])

    def command(self) -> list[str]:
        """How it is started."""
        serve = ["-m", "kilter", "feedback", "serve", "--workspace", str(self.folder), "--port", "8071"]
        return [sys.executable, *serve]

    def enter(self, page: Page) -> None:
        """Sign in once; after a restart the open page finds back by itself."""
        if self._entered:
            return
        page.goto(f"{self.address}/sign-in")
        page.fill("[name=name]", "owner")
        page.fill("[name=password]", "as many words as needed")
        page.click("button.main")
        page.wait_for_load_state()
        page.goto(f"{self.address}/tasks/pairs/judge")
        self._entered = True

    def kept(self) -> int:
        """Judgments on the record."""
        from kilter.feedback.work import Desk
        from kilter.record import Workspace

        with Workspace.open(self.folder) as opened:
            return Desk(opened.record).progress("pairs").judgments


class Potato:
    """Potato with the pairwise schema and review_mode, each option at what its documents recommend for speed."""

    name = "Potato"

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self._program, self.address = folder, program, "http://127.0.0.1:8072"

    def prepare(self, items: list[dict[str, Any]]) -> None:
        """Write its configuration and data; YAML reads JSON."""
        (self.folder / "data").mkdir(parents=True)
        lines = (json.dumps({"id": f"case_{number}", **row}) for number, row in enumerate(items))
        (self.folder / "data" / "items.json").write_text("\n".join(lines) + "\n")
        config = {
            "annotation_task_name": "Pairs", "task_dir": ".", "data_files": ["data/items.json"], "port": 8072,
            "output_annotation_dir": "annotation_output", "output_annotation_format": "json", "site_dir": "default",
            "item_properties": {"id_key": "id", "text_key": "prompt"},
            "instance_display": {
                "layout": {"direction": "vertical", "gap": "12px"},
                "fields": [{"key": "prompt", "type": "text", "label": "Prompt"}],
            },
            "review_mode": {"enabled": True, "auto_advance": True, "advance_on": "complete", "delay_ms": 350},
            "annotation_schemes": [{
                "annotation_type": "pairwise", "name": "better", "description": "Which is better?", "mode": "binary",
                "items_key": "responses", "allow_tie": True, "sequential_key_binding": True,
                "label_requirement": {"required": True},
            }],
            "user_config": {"allow_all_users": True, "users": []}, "require_password": False,
            "assignment_strategy": "fixed_order",
        }  # fmt: skip
        (self.folder / "config.yaml").write_text(json.dumps(config))

    def command(self) -> list[str]:
        """How it is started."""
        return [str(self._program), "start", "config.yaml", "-p", "8072"]

    def enter(self, page: Page) -> None:
        """Sign in; a restart forgets who was signed in."""
        page.goto(self.address)
        if page.query_selector("#login-email"):
            page.fill("#login-email", "rater")
            page.click("button[type='submit']")
        page.wait_for_selector("#main-content", state="visible")

    def kept(self) -> int:
        """Answers in what it wrote for the rater."""
        [state] = self.folder.glob("annotation_output/*/user_state.json")
        return len(json.loads(state.read_text())["instance_id_to_label_to_value"])


class Server:
    """A tool's server in a process of its own."""

    def __init__(self, tool: Tool, folder: Path) -> None:
        self._tool, self._folder = tool, folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self._tool.command(), cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                httpx2.get(self._tool.address, timeout=2)
                return
            except httpx2.TransportError:
                time.sleep(0.05)
        raise SystemExit(f"{self._tool.name} did not start within two minutes: see {self._folder}/server.log.")

    def stop(self, how: signal.Signals) -> None:
        """End it by this signal."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()


class Traffic:
    """Requests of a page, and their bytes both ways, headers of answers included."""

    def __init__(self, page: Page) -> None:
        self.requests = self.sent = self.received = 0
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.requestWillBeSent", self._on_sent)
        session.on("Network.loadingFinished", self._on_received)

    def _on_sent(self, event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            self.requests += 1
            self.sent += len(event["request"].get("postData", ""))

    def _on_received(self, event: dict[str, Any]) -> None:
        self.received += int(event["encodedDataLength"])


def comparisons(count: int) -> list[dict[str, Any]]:
    """Prompts with a good and a cut reply from Kilter's own instructions; each says its number."""
    from kilter.testbeds.instructions import generate

    rows = []
    for number, one in enumerate(generate(count, 0)):
        good = one.demonstration
        rows.append({"prompt": f"case {number}: {one.prompt}", "responses": [good, good[: len(good) // 2]]})
    return rows


def judge(page: Page, shown: str, keys: list[str]) -> tuple[str, float, int]:
    """Press one key; the next item's number, the seconds until it could be read, and how many keys it took."""
    for pressed in range(1, 4):
        began = time.perf_counter()
        page.keyboard.press(random.choice(keys))
        try:
            found = page.wait_for_function(NEXT, arg=shown, polling="raf", timeout=5000)
            return str(found.json_value()), time.perf_counter() - began, pressed
        except Late:
            continue
    raise SystemExit(f"The page stays at item {shown} after three keys.")


@contextmanager
def browser() -> Iterator[Page]:
    """One page of Chromium."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        yield opened.new_context(viewport={"width": 1280, "height": 800}).new_page()
        opened.close()


def measure(tool: Tool, folder: Path, items: int, kills: int) -> dict[str, Any]:
    """Judge all but the last items without a fault, then the last ones with a killed server before each fourth."""
    tool.prepare(comparisons(items + 4 * kills + 1))
    server = Server(tool, folder)
    server.start()
    with browser() as page:
        tool.enter(page)
        shown = str(page.wait_for_function(NEXT, arg="", timeout=20_000).json_value())
        traffic, seconds, keys = Traffic(page), [], 0
        for _ in range(items):
            page.wait_for_timeout(1000 * THINKING)
            shown, took, pressed = judge(page, shown, ["1", "2"])
            seconds.append(took)
            keys += pressed
        per_item = {name: getattr(traffic, name) / items for name in ("requests", "sent", "received")}
        done = items
        for _ in range(kills):
            for _ in range(4):
                page.wait_for_timeout(1000 * THINKING)
                shown, _, _ = judge(page, shown, ["1", "2"])
                done += 1
            server.stop(signal.SIGKILL)
            page.wait_for_timeout(1000)
            server.start()
            tool.enter(page)
            page.wait_for_timeout(6000)
            shown = str(page.wait_for_function(NEXT, arg="", timeout=20_000).json_value())
        page.wait_for_timeout(1000 * CALM)  # what a page still has in hand may arrive
    server.stop(signal.SIGTERM)
    return {"seconds": seconds, "keys": keys / items, **per_item, "done": done, "lost": done - tool.kept()}


def rows(ours: dict[str, Any], theirs: dict[str, Any], kills: int, common: dict[str, Any]) -> list[dict[str, Any]]:
    """As rows of the other results."""

    def one(name: str, unit: str, mine: list[float], other: list[float]) -> dict[str, Any]:
        middle = statistics.median(mine)
        ratio = statistics.median(other) / middle if middle else None
        return {
            "row": name, "unit": unit, "better": "lower", "ours": spread(mine), "peer": spread(other),
            "ratio": ratio and {"median": ratio}, "target": None, **common,
        }  # fmt: skip

    found = [one("key to next item on screen", "s", ours["seconds"], theirs["seconds"])]
    without = [value - SEEN for value in theirs["seconds"]]
    name = "key to next item on screen, without the 350 ms that Potato waits"
    found.append({**one(name, "s", ours["seconds"], without), "target": 0.1})
    for key, name, unit in (
        ("keys", "keys per item", "keys"), ("requests", "requests per item", "requests"),
        ("sent", "bytes sent per item", "bytes"), ("received", "bytes received per item", "bytes"),
        ("lost", f"judgments lost by {kills} kills", "judgments"),
    ):  # fmt: skip
        found.append(one(name, unit, [ours[key]], [theirs[key]]))
    return found


def main() -> None:
    """Measure both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--potato", type=Path, required=True, help="the program of a virtual environment of its own")
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "feedback.json")
    arguments = parser.parse_args()
    said = subprocess.run(
        [arguments.potato.with_name("pip"), "show", "potato-annotation"], capture_output=True, text=True, check=True
    )
    version = re.search(r"Version: (\S+)", said.stdout)
    with tempfile.TemporaryDirectory() as place:
        results = []
        for name in ("Kilter", "Potato"):
            folder = Path(place) / name
            folder.mkdir()
            tool: Tool = (
                Kilter(folder / "workspace") if name == "Kilter" else Potato(folder, arguments.potato.resolve())
            )
            results.append(measure(tool, folder, arguments.items, arguments.kills))
            print(name, {key: value for key, value in results[-1].items() if key != "seconds"},
                  "median seconds", statistics.median(results[-1]["seconds"]), flush=True)  # fmt: skip
    common = {
        "peer_name": f"Potato {version[1] if version else '?'}", "work": WORK.format(items=arguments.items),
        "machine": describe_machine(), "commit": commit(),
    }  # fmt: skip
    keep(arguments.out, rows(*results, arguments.kills, common))


if __name__ == "__main__":
    main()
