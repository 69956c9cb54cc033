"""What steps hand to each other: JSONL files of demonstrations, prompts and comparisons.

Responses that a model sampled keep their token ids; text is never tokenized again to train on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kilter.models import Item, LanguageModel, Message, Response
from kilter.testbeds.instructions import Instruction
from kilter.training import RankedItem

DEMONSTRATIONS, PROMPTS, TEST = "demonstrations.jsonl", "prompts.jsonl", "test.jsonl"
COMPARISONS, HELDOUT, COMPARISON_PROMPTS = "comparisons.jsonl", "heldout.jsonl", "comparison_prompts.jsonl"


@dataclass(frozen=True)
class PromptRow:
    """A prompt, and the instruction behind it where a testbed made it."""

    prompt: list[Message]
    instruction: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.prompt[-1]["content"]

    def read_instruction(self) -> Instruction | None:
        """The instruction as an object."""
        return None if self.instruction is None else Instruction.from_dict(self.instruction)


@dataclass(frozen=True)
class DemonstrationRow:
    """A prompt and a written response to it."""

    prompt: list[Message]
    response: str


@dataclass(frozen=True)
class Written:
    """One response: its text, and its token ids where a model sampled it."""

    text: str
    finished: bool = True
    tokens: list[int] | None = None

    @staticmethod
    def of(response: Response) -> Written:
        """A sampled response."""
        return Written(response.text, response.finished, response.tokens)

    def ids(self, lm: LanguageModel) -> list[int]:
        """Its token ids."""
        return self.tokens if self.tokens is not None else lm.encode_response(self.text, finished=self.finished)


@dataclass(frozen=True)
class ComparisonRow:
    """A prompt, its responses and the judged pairs (better, worse) by number of response; see `RankedItem`."""

    prompt: list[Message]
    responses: list[Written]
    pairs: list[tuple[int, int]]
    target: str = ""
    instruction: dict[str, Any] | None = field(default=None)
    ties: list[tuple[int, int]] = field(default_factory=list)
    margin: float = 0.0

    def ranked(self, lm: LanguageModel) -> RankedItem:
        """As the reward trainer wants it."""
        item = Item(lm.encode_prompt(self.prompt), [one.ids(lm) for one in self.responses])
        return RankedItem(item, tuple(self.pairs), tuple(self.ties), self.margin)


def write_rows(file: Path, rows: Iterable[Any]) -> int:
    """Write dataclasses or dicts as JSONL, atomically; returns their number."""
    temporary, count = file.with_name(f".{file.name}.partial"), 0
    with temporary.open("w") as stream:
        for row in rows:
            stream.write(json.dumps(row if isinstance(row, dict) else asdict(row), ensure_ascii=False) + "\n")
            count += 1
    temporary.replace(file)
    return count


def read_dicts(file: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file as dicts."""
    with file.open() as stream:
        return [json.loads(line) for line in stream]


def read_prompts(file: Path) -> list[PromptRow]:
    """Rows of a file of prompts."""
    return [PromptRow(**row) for row in read_dicts(file)]


def read_demonstrations(file: Path) -> list[DemonstrationRow]:
    """Rows of a file of demonstrations."""
    return [DemonstrationRow(**row) for row in read_dicts(file)]


def read_comparisons(file: Path) -> list[ComparisonRow]:
    """Rows of a file of comparisons."""
    rows = []
    for row in read_dicts(file):
        responses = [Written(**one) for one in row.pop("responses")]
        pairs, ties = ([(first, second) for first, second in row.pop(name)] for name in ("pairs", "ties"))
        rows.append(ComparisonRow(responses=responses, pairs=pairs, ties=ties, **row))
    return rows


def user(text: str) -> list[Message]:
    """A prompt of one user turn."""
    return [{"role": "user", "content": text}]


def items_of(rows: Sequence[DemonstrationRow], lm: LanguageModel) -> list[Item]:
    """Demonstrations as token ids."""
    return [Item(lm.encode_prompt(row.prompt), [lm.encode_response(row.response)]) for row in rows]
