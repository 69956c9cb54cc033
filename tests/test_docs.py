"""The documentation says what the code does: its reference is up to date, its links and commands lead somewhere."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

import kilter
from kilter.cli.main import app
from kilter.recipes.step import kinds

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WRITTEN = [page for page in PAGES if page.parent.name != "reference"]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language; from fence to fence, or what stands between two blocks would be one."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [text for name, text in fenced if name == language]


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return script("make_reference")


def test_reference_is_up_to_date(reference: ModuleType) -> None:
    made: dict[str, str] = reference.pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in reference.FOLDER.glob("*.md")}
    stale = [name for name in sorted(made.keys() | there.keys()) if made.get(name) != there.get(name)]
    assert not stale, f"out of date: {', '.join(stale)}; run `make docs`"


def test_the_tables_of_scale_are_up_to_date() -> None:
    module = script("make_scale")
    text = module.PAGE.read_text(encoding="utf-8")
    assert text == module.filled(text), "docs/scale.md is out of date; run `make docs`"
    assert text.count("| Llama 3.1 70B |") == 3


def test_the_figures_of_oversight_are_those_that_were_measured() -> None:
    module = script("make_oversight")
    made = {module.PAGE: module.filled(module.PAGE.read_text(encoding="utf-8"))}
    made |= {module.PAGE.parent / name: text for name, text in module.plots(module.measured()).items()}
    stale = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, f"out of date: {', '.join(stale)}; run `make docs`"


def test_reference_holds_nothing_that_changes_from_run_to_run(reference: ModuleType) -> None:
    text = "".join(reference.pages().values())
    assert not re.findall(r"0x[0-9a-f]{6,}|<function|ForwardRef|PydanticUndefined", text)


def test_every_room_is_in_the_reference(reference: ModuleType) -> None:
    rooms = {path.parent.relative_to(ROOT / "src" / "kilter") for path in ROOT.glob("src/kilter/*/**/__init__.py")}
    shown = {Path(*room.split(".")) for room in reference.ROOMS}
    # Commands and steps have pages of their own; browsers ask for routes; the kernels are for the models alone.
    unlisted = {Path("cli"), Path("recipes/steps"), Path("web/routes"), Path("models/native")}
    assert rooms - shown == unlisted


def test_every_variable_of_the_environment_is_described(reference: ModuleType) -> None:
    internal = {"KILTER_OFFLINE_BY_DEFAULT"}
    found = {
        name for path in ROOT.glob("src/**/*.py") for name in re.findall(r"\bKILTER_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert found - internal <= reference.VARIABLES.keys()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{name_of(page)} links to {target}, which is not there"
        assert not anchor or anchor in anchors(path), f"{name_of(page)}: no heading #{anchor} in {path.name}"


def commands() -> dict[tuple[str, ...], Any]:
    """Every command by its words."""
    from kilter.cli.main import _COMMANDS, _load

    found: dict[tuple[str, ...], Any] = {}
    for name in _COMMANDS:
        command = _load(name)
        inner = getattr(command, "commands", None)
        found |= {(name, verb): each for verb, each in inner.items()} if inner else {(name,): command}
    return found


def shown_commands(page: Path) -> Iterator[list[str]]:
    for block in (*blocks(page, ""), *blocks(page, "bash")):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"(?:\.venv/bin/)?kilter (.+?)(?:\s{2,}.*)?$", line):
                yield shlex.split(match[1])


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_shown_commands_exist(page: Path) -> None:
    known = commands()
    for words in shown_commands(page):
        command = known.get(tuple(words[:2])) or known.get(tuple(words[:1]))
        assert command is not None, f"{name_of(page)} shows 'kilter {' '.join(words)}'"
        flags = {flag for param in command.params for flag in [*param.opts, *param.secondary_opts]} | {"--help"}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= flags


def test_shown_recipes_and_their_settings_exist() -> None:
    import yaml

    from kilter.cli.options import leaves

    for page in WRITTEN:
        for words in shown_commands(page):
            if words[0] not in ("run", "sweep"):
                continue
            steps = yaml.safe_load((ROOT / words[1]).read_text(encoding="utf-8"))["steps"]
            for pair in words[2:]:
                key = pair.split("=")[0]
                if "=" not in pair or pair.startswith("--"):
                    continue
                if key in ("name", "seed") or key.endswith(".step"):  # the tutorial's misspelled setting
                    continue
                step, _, setting = key.partition(".")
                kind = kinds()[(steps[step] or {}).get("use", step)]
                assert setting in {leaf.name for leaf in leaves(kind.settings)}, f"{name_of(page)} shows {pair}"


def test_settings_named_in_running_text_exist() -> None:
    from kilter.cli.options import leaves

    known = {f"{name}.{leaf.name}" for name, kind in kinds().items() for leaf in leaves(kind.settings)}
    steps = {name.partition(".")[0] for name in known} - {"model", "data"}
    for page in WRITTEN:
        for name in re.findall(r"`([a-z]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", page.read_text(encoding="utf-8")):
            if name.partition(".")[0] in steps:
                assert name in known, f"{name_of(page)} names {name}"


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_python_shown_imports_names_that_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kilter"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in WRITTEN:
        named = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M)
        assert set(named) <= targets, name_of(page)


def test_the_picture_is_whole_and_knows_dark_mode() -> None:
    file = ROOT / "docs" / "loop.svg"
    root = ElementTree.parse(file).getroot()
    assert root.tag.endswith("svg")
    assert {child.tag.rpartition("}")[2] for child in root} >= {"title", "desc", "style"}
    assert "prefers-color-scheme: dark" in file.read_text(encoding="utf-8")


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == kilter.__version__
    assert f"## {kilter.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_reference_can_be_checked_from_the_shell(
    reference: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "pages", lambda: {"a.md": "new\n"})
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "reference")
    monkeypatch.setattr(sys, "argv", ["make_reference.py", "--check"])
    assert reference.main() == 1
    assert "out of date: docs/reference/a.md" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["make_reference.py"])
    (tmp_path / "reference" / "old.md").write_text("no longer made")
    assert reference.main() == 0
    assert [path.name for path in (tmp_path / "reference").iterdir()] == ["a.md"]
    monkeypatch.setattr(sys, "argv", ["make_reference.py", "--check"])
    assert reference.main() == 0


def test_the_program_has_the_commands_of_the_reference(reference: ModuleType) -> None:
    titles = re.findall(r"^## kilter (.+)$", reference.pages()["commands.md"], re.M)
    assert titles == [" ".join(words) for words in commands()]
    assert list(typer.main.get_command(app).commands) == list(dict.fromkeys(words[0] for words in commands()))  # type: ignore[attr-defined]
