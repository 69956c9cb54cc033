"""All words of the interface, by page and name, from one file for each language."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "texts"


@cache
def texts(language: str = "en") -> dict[str, Any]:
    """The words of one language."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return found


JUDGING = ("judge", "keys", "comparison", "ranking", "rating", "text", "flaws", "steps", "second_look")


def judging_texts() -> dict[str, Any]:
    """The words that the judging page's scripts need; those of other pages would tell raters what is none of theirs."""
    return {name: texts()[name] for name in JUDGING}
