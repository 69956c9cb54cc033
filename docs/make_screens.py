"""Screenshots of every page at 1280 and 360 pixels, into docs/screens: `python docs/make_screens.py`.

A workspace is made with one task of each kind; simulated raters judge the first, so that the pages of quality have
something to show. Needs Chromium.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from kilter.feedback.accounts import People
from kilter.feedback.tasks import Task, TaskItem, read_item
from kilter.models.chat import ChatModel
from kilter.oversight import Study, conduct, results_of, write_page
from kilter.oversight.study import CasesSettings
from kilter.web import Site, create_app

ROOT = Path(__file__).resolve().parents[1]
SCREENS = ROOT / "docs" / "screens"
sys.path.insert(0, str(ROOT / "tests" / "feedback"))
from crowd import Floor, SimulatedRater, comparisons, with_use  # noqa: E402

PORT = 8043
PASSWORD = "as many words as needed"
GUIDELINES = """# How to judge

Choose the reply that a **careful friend** would rather give.

1. *Correct* beats polite.
2. Polite beats long.
"""
PROMPT = "My tomato plants have yellow leaves at the bottom. What should I do?"
REPLIES = [
    "Yellow lower leaves often mean too much water or too little nitrogen. Let the soil dry a finger deep before you "
    "water again, and feed the plant once:\n\n- 1 spoon of tomato fertilizer\n- 2 liters of water",
    "Tomatoes are a popular fruit. You should **always** water them twice a day, also at noon.",
    "Take off the yellow leaves; the plant lets its lowest leaves go as it grows.",
    "I cannot help with plants.",
]
STEPS = [
    "Let x be the number of apples. Then 3x + 4 = 19.",
    "Subtract 4 from both sides: 3x = 15.",
    "Divide by 3: x = 6.",
]
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "comparison": ({"type": "comparison", "strength": 3}, {"prompt": PROMPT, "responses": REPLIES[:2]}),
    "ranking": ({"type": "ranking"}, {"prompt": PROMPT, "responses": REPLIES}),
    "rating": (
        {"type": "rating", "dimensions": ["helpful", "correct", "kind"], "of": "item", "high": 7},
        {"prompt": PROMPT, "responses": REPLIES[:1]},
    ),
    "label": (
        {"type": "label", "labels": ["good", "wrong", "unsafe", "evasive"], "several": True},
        {"prompt": PROMPT, "responses": REPLIES[1:2]},
    ),
    "text": ({"type": "text", "ask": "Write the reply that you would want."}, {"prompt": PROMPT}),
    "flaws": (
        {"type": "flaws", "types": ["wrong", "misleading", "rude"]}, {"prompt": PROMPT, "responses": REPLIES[1:2]},
    ),
    "steps": ({"type": "steps"}, {"prompt": "3 bags of apples and 4 more make 19. How many to a bag?", "steps": STEPS}),
}  # fmt: skip

_CLAIM = "water them twice a day, also at noon"
_AT = REPLIES[1].replace("**", "").index(_CLAIM)
HELPED: tuple[dict[str, Any], dict[str, Any]] = (
    {
        "name": "helped", "title": "What is wrong here?", "help": {"arms": ["critiques", "none"]},
        "questions": [{"type": "flaws", "name": "flaws", "types": ["wrong", "misleading"]}],
    },
    {
        "prompt": PROMPT, "responses": [REPLIES[1].replace("**", "")],
        "help": {"critiques": [
            {"quote": _CLAIM, "start": _AT, "end": _AT + len(_CLAIM), "verdict": "wrong", "type": "wrong",
             "text": "Watering at noon burns no leaves, but so much water is what turns them yellow."},
            {"quote": "Tomatoes are a popular fruit.", "start": 0, "end": 29, "verdict": "fine",
             "text": "True, though it answers nothing."},
        ]},
    },
)  # fmt: skip
LESSON: tuple[dict[str, Any], dict[str, Any]] = (
    {"name": "lesson", "title": "Which reply helps more?", "questions": [{"type": "comparison", "name": "better"}]},
    {
        "prompt": PROMPT,
        "responses": REPLIES[:2],
        "use": "training",
        "answers": {"better": 0},
        "explanation": "The first one asks what the plant needs, and says what to do. The second is **wrong**.",
    },
)


def furnish(floor: Floor) -> str:
    """Tasks, items and judgments; an invitation for an owner."""
    task = Task.model_validate(
        {"name": "helpful", "title": "Which reply helps more?", "guidelines": GUIDELINES, "overlap": {"judges": 3},
         "questions": [{"type": "comparison", "name": "better"}]}
    )  # fmt: skip
    floor.open_task(task, [*comparisons(60), *with_use(comparisons(12, 1), "gold")])
    crowd = [
        SimulatedRater("ann", 0.95), SimulatedRater("bo", 0.85, skips=0.05), SimulatedRater("cy", 0.9, first=0.5),
        SimulatedRater("di", 0.95, fatigue=0.5, hurry=0.3),
    ]  # fmt: skip
    floor.work(task, crowd, most=40)
    for name, (question, item) in KINDS.items():
        one = Task.model_validate(
            {"name": name, "title": question.get("ask", name.capitalize()), "guidelines": GUIDELINES,
             "questions": [{"name": "answer", **question}]}
        )  # fmt: skip
        items: list[TaskItem] = [read_item(item, "screens")]
        floor.open_task(one, items)
    for one, item in (HELPED, LESSON):
        floor.open_task(Task.model_validate({"guidelines": GUIDELINES, **one}), [read_item(item, "screens")])
    study = Study(name="help-on-problems", cases=CasesSettings(testbed="reasoning", n=80))
    done = conduct(study, floor.workspace, no_model, lambda *_: None)
    write_page(done, results_of(done))
    return People(floor.workspace.record).invite("owner")


def no_model(*_: object) -> ChatModel:
    """The study asks none."""
    raise AssertionError


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The pages at an address."""
    server = uvicorn.Server(uvicorn.Config(create_app(site), port=PORT, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{PORT}"
    server.should_exit = True
    thread.join()


def shoot(page: Page, name: str, *, whole: bool = False) -> None:
    """Keep what the page shows at both widths."""
    for width, height in ((1280, 800), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("document.querySelector('.known ~ button')?.scrollIntoView({ block: 'nearest' })")
        page.wait_for_timeout(200)
        page.screenshot(path=SCREENS / f"{name}-{width}.png", full_page=whole)


def tour(browser: Browser, address: str, token: str) -> None:
    """Every page, as the owner sees it."""
    page = browser.new_context().new_page()
    page.goto(f"{address}/sign-in")
    shoot(page, "sign-in")
    page.goto(f"{address}/join/{token}")
    shoot(page, "join")
    page.fill("[name=name]", "Ada")
    page.fill("[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_load_state()
    for name, path in (
        ("home", "/"), ("people", "/people"), ("task", "/tasks/helpful"), ("guidelines", "/tasks/helpful/guidelines"),
    ):  # fmt: skip
        page.goto(address + path)
        shoot(page, name)
    for name in KINDS:
        page.goto(f"{address}/tasks/{name}/judge")
        page.wait_for_selector(".turn")
        shoot(page, f"judge-{name}")
    on_the_judging_page(page, address)
    for name, path in (
        ("error", "/nowhere"), ("quality", "/tasks/helpful/quality"), ("rater", "/tasks/helpful/raters/simulated/cy"),
        ("disagreements", "/tasks/helpful/disagreements"), ("me", "/me"),
    ):  # fmt: skip
        page.goto(address + path)
        page.wait_for_timeout(6000)  # figures are computed behind the page, which looks for them
        shoot(page, name, whole=name != "disagreements")
    designing(page, address)


def on_the_judging_page(page: Page, address: str) -> None:
    """What comes of a press: the key sheet, what there is to learn from a training item, and the second look."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{address}/tasks/comparison/judge")
    page.wait_for_selector(".turn")
    page.keyboard.press("?")
    shoot(page, "judge-keys")
    page.goto(f"{address}/tasks/lesson/judge")
    page.wait_for_selector(".turn")
    page.keyboard.press("1")
    page.wait_for_selector(".known")
    shoot(page, "judge-training")
    page.goto(f"{address}/tasks/helped/judge")
    page.wait_for_selector(".turn")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.wait_for_selector("#second-look:not([hidden])")
    page.keyboard.press("a")
    shoot(page, "judge-second-look")


def designing(page: Page, address: str) -> None:
    """The studies of the workspace, and the page to design one."""
    page.goto(f"{address}/studies")
    shoot(page, "studies")
    page.goto(f"{address}/studies/new")
    page.wait_for_selector("#said:is([data-state=ready], [data-state=small])", timeout=60_000)
    shoot(page, "design", whole=True)


def main() -> None:
    """Make all of them anew."""
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        floor = Floor(Path(place) / "workspace")
        token = furnish(floor)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        site = Site(floor.desk, People(floor.workspace.record), runs=floor.workspace.runs)
        with served(site) as address:
            tour(browser, address, token)
        browser.close()
        floor.close()
    print(f"{len(list(SCREENS.glob('*.png')))} screenshots in {SCREENS}")


if __name__ == "__main__":
    main()
