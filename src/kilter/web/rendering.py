"""From what models and people wrote to HTML that can do nothing: no markup of theirs, no pictures, no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from kilter.feedback.messages import Message
from kilter.feedback.tasks import Task, TaskItem


@cache
def _markdown() -> MarkdownIt:
    # html off: tags are shown as they were written. Pictures and links are off for what models wrote, since a picture
    # would tell its host who is judging, and nobody should follow a link of a model's by a slip.
    return (
        MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table").disable(["image", "link", "autolink"])
    )


@cache
def _guidelines() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def render(text: str) -> Markup:
    """Markdown of a model or a rater; line breaks stay."""
    return Markup(_markdown().render(text))


def render_guidelines(text: str) -> Markup:
    """Markdown of the researchers, with links."""
    return Markup(_guidelines().render(text))


def render_plain(text: str) -> Markup:
    """Text as it is, character by character, for pages on which spans are marked."""
    return Markup(escape(text, quote=False))


def render_chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The turns of a chat: role and HTML."""
    return [{"role": one["role"], "html": render(one["content"])} for one in messages]


def render_item(task: Task, item: TaskItem, sides: Sequence[int]) -> dict[str, Any]:
    """An item with its responses in the order `sides`, in the form that record.js shows; nothing hidden is in it."""
    dealt = [item.responses[number] for number in sides]
    marked = any(question.type == "flaws" for question in task.questions)
    rewritten = any(question.type == "text" and question.start == "response" for question in task.questions)
    return {
        "prompt": render_chat(item.prompt),
        "responses": [str(render_plain(text) if marked else render(text)) for text in dealt],
        "plain": dealt if marked or rewritten else [],
        "steps": [str(render(text)) for text in item.steps],
    }
