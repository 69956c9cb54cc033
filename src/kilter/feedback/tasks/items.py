"""What people are asked about: a prompt with responses, or a solution in steps, and what the raters must not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from kilter.errors import DataError
from kilter.feedback.messages import Message, as_messages
from kilter.feedback.rows import read_rows
from kilter.feedback.tasks.help import Claims, kept_help, read_help
from kilter.settings import nearest

Use = Literal["work", "gold", "training", "qualification"]
USES: tuple[Use, ...] = get_args(Use)
MOST_RESPONSES = 16
COLUMNS = (
    "prompt", "responses", "response", "steps", "use", "answers", "explanation", "stratum", "priority", "meta", "help",
)  # fmt: skip


@dataclass(frozen=True)
class TaskItem:
    """One thing to be judged.

    Attributes:
        prompt: a chat; may be empty where only a text is judged.
        responses: the replies, in an order that says nothing of them.
        steps: of a solution, where steps are judged.
        use: "work" is judged for its own sake; of the others the answers are known: "gold" checks raters silently,
            "training" teaches with an explanation, "qualification" decides who may go on.
        answers: the right answer to each question, in the item's own numbers, as a judgment's value holds it.
        explanation: Markdown, shown after a training item was answered.
        stratum: kind of item, for overlap samples that hold the same share of each.
        priority: higher ones come first.
        meta: what an export should carry along; never shown.
        help: in an experiment on help, what each arm shows; never sent to a rater who has not answered alone.
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    use: Use = "work"
    answers: Mapping[str, Any] = field(default_factory=dict)
    explanation: str = ""
    stratum: str = ""
    priority: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)
    help: Claims = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of its artifact."""
        if self.steps:
            return "solution"
        return "comparison" if len(self.responses) > 1 else "response" if self.responses else "prompt"

    def body(self) -> dict[str, Any]:
        """The artifact's body: what is judged and nothing else, so that equal items are one artifact."""
        body: dict[str, Any] = {"prompt": [dict(one) for one in self.prompt]}
        if self.responses:
            body["responses"] = list(self.responses)
        if self.steps:
            body["steps"] = list(self.steps)
        return body

    def as_json(self) -> dict[str, Any]:
        """All of it, what raters must not see included, as `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        texts = {name: tuple(kept[name]) for name in ("prompt", "responses", "steps")}
        return cls(**{**kept, **texts, "help": kept_help(kept.get("help", {}))})


def read_items(path_or_name: str | Path, *, split: str | None = None) -> list[TaskItem]:
    """Read items from a file, a folder or a hub data set (see `kilter.feedback.rows`).

    Columns: `prompt` (a text or messages), `responses` or `response` or `steps`, and where wanted `use`, `answers`,
    `explanation`, `stratum`, `priority`, `meta`, `help`.

    Raises:
        DataError: a row is not of this form, with its line.
    """
    source = read_rows(path_or_name, split)
    odd = [name for name in source.columns() if name not in COLUMNS]
    if "prompt" not in source.columns() or odd:
        name = odd[0] if odd else "prompt"
        hint = (
            f"'{name}' is no column of task items: {nearest(name, COLUMNS)}"
            if odd
            else "the column 'prompt' is missing."
        )
        raise DataError(
            f"{source.source}: {hint} Write a prompt with responses, response or steps; what an export should carry "
            "along goes into meta. 'kilter feedback import' reads other layouts."
        )
    return [read_item(row, source.where(index)) for index, row in enumerate(source.rows)]


def read_item(row: Mapping[str, Any], where: str) -> TaskItem:
    """One item of a row with the columns of `read_items`; raises `DataError`, naming `where`."""
    prompt = as_messages(row["prompt"], where) if row.get("prompt") else []
    given = row.get("responses")
    responses = _texts(given if given is not None else row.get("response"), "responses", where)
    steps = _texts(row.get("steps"), "steps", where)
    if len(responses) > MOST_RESPONSES:
        raise DataError(f"{where}: {len(responses)} responses are more than a page can show; at most {MOST_RESPONSES}.")
    if not prompt and not responses and not steps:
        raise DataError(f"{where}: there is nothing to judge: no prompt, no responses, no steps.")
    use, answers, meta = row.get("use") or "work", row.get("answers") or {}, row.get("meta") or {}
    if use not in USES:
        raise DataError(f"{where}: use is '{use}': {nearest(str(use), USES)}")
    if not isinstance(answers, dict) or not isinstance(meta, dict):
        raise DataError(f"{where}: answers and meta are objects, {{name: value}}.")
    if use != "work" and not answers:
        raise DataError(f"{where}: an item for {use} needs its right answers, {{question: value}}.")
    priority = row.get("priority") or 0.0
    if not isinstance(priority, int | float) or isinstance(priority, bool) or priority != priority:
        raise DataError(f"{where}: the priority {priority!r} is no number.")
    return TaskItem(
        tuple(prompt), responses, steps, use, answers, str(row.get("explanation") or ""),
        str(row.get("stratum") or ""), float(priority), meta, read_help(row.get("help") or {}, where),
    )  # fmt: skip


def _texts(value: Any, name: str, where: str) -> tuple[str, ...]:
    several = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(several, list) or not all(isinstance(one, str) and one.strip() for one in several):
        raise DataError(f"{where}: {name} must be texts that are not empty, not {value!r:.60}.")
    return tuple(several)
