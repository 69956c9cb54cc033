"""A task: questions, guidelines, and how the work is shared out; one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from kilter.errors import DataError, SettingsError
from kilter.feedback.tasks.help import NO_HELP, Help
from kilter.feedback.tasks.items import TaskItem
from kilter.feedback.tasks.questions import Question
from kilter.files import read_text
from kilter.settings import Settings, build, parse_yaml


class Overlap(Settings):
    """How many raters judge each item."""

    judges: int = Field(1, ge=1, le=100, description="Raters per item.")
    sample: float = Field(0.0, ge=0, le=1, description="Share of items, the same of each stratum, with more raters.")
    sample_judges: int = Field(3, ge=2, le=100, description="Raters per item of that sample.")


class Checks(Settings):
    """Items with known answers among the others."""

    gold: float = Field(0.0, ge=0, le=0.5, description="Share of a rater's items that are gold ones, unmarked.")
    training: bool = Field(True, description="Begin with the training items, if there are any, with explanations.")
    qualification: float | None = Field(
        None, ge=0, le=1, description="Share of qualification items to be answered as the researchers did; null: none."
    )


class Task(Settings):
    """What raters are asked, about what, and how often."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60, description="Short name, for addresses.")
    title: str = Field(min_length=1, max_length=200, description="What raters see it called.")
    guidelines: str = Field("", max_length=200_000, description="Markdown, or the name of a .md file beside the task.")
    questions: tuple[Question, ...] = Field(min_length=1, max_length=20, description="What is asked of each item.")
    items: str | None = Field(None, description="File, folder or hub data set with the items.")
    overlap: Overlap = Overlap()
    checks: Checks = Checks()
    quota: int | None = Field(None, ge=1, description="Most items that one rater may judge; null: no limit.")
    order: Literal["given", "random", "disputed"] = Field(
        "random", description="Which items come first among those of equal priority."
    )
    hold_minutes: float = Field(30, gt=0, le=24 * 60, description="An item that a rater left alone so long is freed.")
    blind: bool = Field(True, description="Deal the sides at random; only experiments on order turn it off.")
    help: Help | None = Field(None, description="An experiment on help; null: none.")

    @model_validator(mode="after")
    def _different_names(self) -> Self:
        names = [one.name for one in self.questions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two questions are called '{twice}'")
        if self.help is not None and self.questions[0].type != "flaws":
            raise ValueError("an experiment on help asks for flaws first: claims are accepted by marking passages")
        return self

    def definition(self) -> str:
        """The task as JSON, as it is kept: without the place of its items, and without what an older Kilter lacks."""
        return self.model_dump_json(exclude={"items"} if self.help else {"items", "help"})

    def is_trial(self, item: TaskItem) -> bool:
        """Whether raters answer this item twice: alone, and after the help of their arm."""
        return self.help is not None and item.use == "work"

    def wanted(self, item: TaskItem, sampled: bool) -> int | None:
        """How many raters an item is for; None for items with known answers, which all raters may see."""
        if item.use != "work":
            return None
        return self.overlap.sample_judges if sampled else self.overlap.judges

    def check_items(self, items: list[TaskItem], where: str) -> None:
        """Raise `DataError` for the first item that a question cannot be asked of, or whose known answers are odd."""
        names = {one.name for one in self.questions}
        for number, item in enumerate(items, 1):
            for one in self.questions:
                lacks = one.shape(item)
                if lacks:
                    raise DataError(f"{where}, item {number}: the question '{one.name}' needs {lacks}.")
            unknown = sorted(item.answers.keys() - names)
            if unknown:
                raise DataError(f"{where}, item {number}: answers '{unknown[0]}', which is no question of this task.")
            self._check_help(item, f"{where}, item {number}")

    def _check_help(self, item: TaskItem, where: str) -> None:
        """Refuse help that no arm shows, arms without help, and items that would give the experiment away."""
        if self.help is not None and item.use == "gold":
            raise DataError(
                f"{where}: an experiment on help has no gold items: they have no second look, and would be known by it."
            )
        if not self.is_trial(item):
            if item.help:
                raise DataError(f"{where}: has help, but only work items of a task with the setting 'help' show it.")
            return
        arms = set(self.help.arms if self.help else ()) - {NO_HELP}
        if len(item.responses) != 1:
            raise DataError(f"{where}: an experiment on help needs one response (it has {len(item.responses)}).")
        if set(item.help) - {NO_HELP} != arms or item.help.get(NO_HELP):
            raise DataError(
                f"{where}: has help for the arms {', '.join(sorted(item.help)) or NO_HELP}, but the task's arms with "
                f"help are {', '.join(sorted(arms)) or 'none'}. Give each its claims, [] where a critic says nothing."
            )


def read_task(file: Path) -> Task:
    """Read a task from its YAML file; guidelines and items named there lie beside it.

    Raises:
        SettingsError: the file is missing or no task, with every problem named.
    """
    if not file.is_file():
        raise SettingsError(f"There is no task file {file}; write one, or see docs/feedback.md for an example.")
    tree = parse_yaml(file)
    if not isinstance(tree, dict):
        raise SettingsError(f"{file} is no task: it needs name, title and questions.")
    values: dict[str, Any] = {"name": file.stem, **tree}
    guidelines = values.get("guidelines")
    if isinstance(guidelines, str) and guidelines.endswith(".md") and "\n" not in guidelines:
        path = file.parent / guidelines
        if not path.is_file():
            raise SettingsError(f"{file} names the guidelines {guidelines}, but there is no {path}.")
        values["guidelines"] = read_text(path)
    if isinstance(values.get("items"), str) and (file.parent / values["items"]).exists():
        values["items"] = str(file.parent / values["items"])
    return build(Task, values, file.name)
