"""One self-contained HTML page: no script, no request, readable on a phone, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kilter.files import write_atomically
from kilter.report import figures, numbers
from kilter.report.content import ReportContent, Stage

_HERE = Path(__file__).parent


def write_report(content: ReportContent, path: Path) -> None:
    """Write `content` as HTML to `path`, atomically; folders are made. Raises `StorageError`."""
    write_atomically(path, render(content))


def render(content: ReportContent) -> str:
    """The page as text. Every string of `content` is escaped; what a model wrote cannot become markup."""
    return set_page(
        _HERE / "template.html", content.title, content=content, total=total(content.stages),
        settings=as_yaml(content.settings),
    )  # fmt: skip


def set_page(template: Path, title: str, **values: Any) -> str:
    """One page from a template that extends `frame.html`, with the figures and numbers of this room at hand."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = Markup((_HERE / "style.css").read_text("utf-8"))
    page: str = environment.get_template(template.name).render(
        title=title, style=style, figures=figures, numbers=numbers, **values
    )
    return visible(page)


def total(stages: tuple[Stage, ...]) -> Stage | None:
    """The stages together: times, tokens and FLOPs add up, of memory the largest counts. None for fewer than
    two."""
    if len(stages) < 2:
        return None
    tokens = [stage.tokens for stage in stages if stage.tokens is not None]
    flops = [stage.flops for stage in stages if stage.flops is not None]
    sizes = [stage.memory for stage in stages if stage.memory is not None]
    return Stage(
        name="Together",
        seconds=sum(stage.seconds for stage in stages),
        tokens=sum(tokens) if tokens else None,
        flops=sum(flops) if flops else None,
        memory=max(sizes) if sizes else None,
    )


def visible(text: str) -> str:
    """`text` with characters that HTML forbids or that nobody would see made visible.

    Control characters become their Unicode pictures, lone surrogates and noncharacters the replacement
    character.
    """
    return "".join(map(_visible, text.replace("\r\n", "\n")))


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or 0x20 <= code < 0x7F:
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    hidden = code < 0xA0 or 0xD800 <= code < 0xE000 or 0xFDD0 <= code < 0xFDF0 or code & 0xFFFE == 0xFFFE
    return "\N{REPLACEMENT CHARACTER}" if hidden else character


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as a page shows them; empty where there are none."""
    if not settings:
        return ""
    return yaml.safe_dump(_simple(settings), sort_keys=False, allow_unicode=True, width=100)


def _simple(node: Any) -> Any:
    """Settings as YAML can write them: mappings, lists and scalars; anything else as its text."""
    if isinstance(node, Mapping):
        return {str(key): _simple(child) for key, child in node.items()}
    if isinstance(node, (list, tuple)):
        return [_simple(child) for child in node]
    return node if node is None or isinstance(node, (str, int, float, bool)) else str(node)
