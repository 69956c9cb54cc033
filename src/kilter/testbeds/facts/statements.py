"""Reading true and false statements of real data as questions.

Three layouts: a CSV with `statement` and `label` (Bürger et al., "Truth is Universal", NeurIPS 2024, and Azaria and
Mitchell 2023 before them), TruthfulQA's CSV, and TruthfulQA's judge data (Lin et al., ACL 2022): JSONL with a `prompt`
that ends in "True:" and a `completion` "yes" or "no". Each may be gzipped.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.files import csv_rows, json_lines
from kilter.testbeds.facts.questions import Question

_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
_JUDGED = re.compile(r"Q: (.*)\nA: (.*)\n(?:True|Helpful):\s*$", re.S)


def load_statements(path: Path | str, *, options: int = 4, seed: int = 0) -> list[Question]:
    """Questions from a file, in its order; the layout is told from its fields.

    Args:
        path: .csv or .jsonl, or one of them with .gz.
        options: answers to choose from for TruthfulQA's questions, 2 or more: the best answer and incorrect ones;
            fewer where there are not so many incorrect ones.
        seed: decides which incorrect ones, and the order.

    `kind` is the file's name without its endings ("neg_cities"), for TruthfulQA the category. Statements have the
    options ("true", "false"); a judged answer stands as "question answer" in the text.

    Raises `DataError` with the line for a row that cannot be used.
    """
    path = Path(path)
    if options < 2:
        raise DataError(f"A question has 2 options or more, not {options}.")
    rng = random.Random(f"statements/{seed}")
    kind = path.name.split(".")[0]
    found = [_question(f"{path}, line {line}", kind, row, options, rng) for line, row in _rows(path)]
    if not found:
        raise DataError(f"{path} holds no statements. It should have one a line, under a first line with field names.")
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    return json_lines(path) if ".jsonl" in path.suffixes else csv_rows(path)


def _question(where: str, kind: str, row: Mapping[str, Any], options: int, rng: random.Random) -> Question:
    if row.get("statement"):
        return _statement(where, kind, str(row["statement"]), str(row.get("label")))
    if row.get("Question") and row.get("Best Answer"):
        return _truthful(where, row, options, rng)
    judged = _JUDGED.fullmatch(str(row.get("prompt") or ""))
    if judged:
        return _statement(where, kind, f"{judged[1]} {judged[2]}", str(row.get("completion")))
    raise DataError(
        f"{where} has neither statement and label, nor Question and Best Answer, nor prompt and completion as in "
        f"TruthfulQA's judge data; its fields are {', '.join(map(str, row))}."
    )


def _statement(where: str, kind: str, text: str, label: str) -> Question:
    said = label.strip().lower()
    if said not in (*_TRUE, *_FALSE):
        raise DataError(f"{where}: the label '{label}' is neither true nor false; use 1 and 0, or yes and no.")
    return Question(text.strip(), "true" if said in _TRUE else "false", ("true", "false"), kind)


def _truthful(where: str, row: Mapping[str, Any], options: int, rng: random.Random) -> Question:
    best = str(row["Best Answer"]).strip()
    wrong = [text.strip() for text in str(row.get("Incorrect Answers") or "").split(";") if text.strip()]
    wrong = [text for text in dict.fromkeys(wrong) if text != best]
    if not wrong:
        raise DataError(f"{where} has no incorrect answers; a question needs at least one.")
    answers = [best, *rng.sample(wrong, min(options - 1, len(wrong)))]
    rng.shuffle(answers)
    return Question(str(row["Question"]).strip(), best, tuple(answers), str(row.get("Category") or "truthfulqa"))
