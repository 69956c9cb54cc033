"""The rules of the house that no single room can test: imports, safety, what must not be in the repository."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "kilter"
MODULES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE)
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_rooms_import_only_from_rooms_below() -> None:
    checker = Path(sys.executable).with_name("lint-imports")
    if not checker.exists():
        pytest.skip("import-linter is not installed")
    done = run(str(checker), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_says_what_it_is_for_and_what_it_exports(room: Path) -> None:
    tree = TREES[room]
    said = ast.get_docstring(tree)
    assert said, "no docstring"
    assert len(said.splitlines()) <= 8, "say it shorter; details belong to the files"
    listed = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and "__all__" in {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    ]
    assert len(listed) == 1, "no __all__"
    assert listed[0] is not None
    names = ast.literal_eval(listed[0])
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("_")]


UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pty"}
UNSAFE_CALLS = {
    "eval", "exec", "os.system", "os.popen", "torch.load", "torch.save", "subprocess.getoutput",
    "subprocess.getstatusoutput", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle", "tempfile.mktemp",
}  # fmt: skip


def unsafe(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in UNSAFE_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
            called = ast.unparse(node.func)
            if called in UNSAFE_CALLS:
                yield called
            if called == "yaml.load" and "Loader" not in keywords:
                yield "yaml.load without a loader"
            for flag in ("shell", "allow_pickle", "trust_remote_code"):
                if keywords.get(flag, "False") != "False":
                    yield f"{called}({flag}=...)"
            if keywords.get("weights_only") == "False":
                yield f"{called}(weights_only=False)"


# What runs inside of the sandbox, in a process of its own, is there to execute programs.
INSIDE = {"src/kilter/sandbox/child.py", "src/kilter/testbeds/code/harness.py"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_unpickled_evaluated_or_run_through_a_shell(path: Path) -> None:
    allowed = {"exec"} if name_of(path) in INSIDE else set()
    assert set(unsafe(TREES[path])) <= allowed


def test_what_executes_programs_is_imported_by_nothing() -> None:
    for path in MODULES:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("kilter.sandbox.child", "kilter.testbeds.code.harness"), name_of(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_peer_is_imported(path: Path) -> None:
    """trl is what the losses are tested against, and nothing else."""
    imported = [str(one.module) for one in ast.walk(TREES[path]) if isinstance(one, ast.ImportFrom)]
    imported += [a.name for one in ast.walk(TREES[path]) if isinstance(one, ast.Import) for a in one.names]
    assert not [name for name in imported if name.partition(".")[0] == "trl"]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "torch.load(f)",
        "eval('1')",
        "yaml.load(f)",
        "subprocess.run(c, shell=True)",
        "np.load(f, allow_pickle=True)",
        "AutoModel.from_pretrained(p, trust_remote_code=flag)",
    ],
)
def test_the_rule_finds_what_it_is_for(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


@pytest.mark.parametrize("code", ["model.eval()", "yaml.load(f, Loader=L)", "subprocess.run(['ls'], shell=False)"])
def test_the_rule_lets_pass_what_is_safe(code: str) -> None:
    assert not list(unsafe(ast.parse(code)))


# Written in parts, so that this file does not contain what it forbids.
HOSTS = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "download.pytorch" + ".org",
    "registry.npmjs" + ".org",
    "deb.debian" + ".org",
    "proxy.golang" + ".org",
)
FOLDERS = ("/wo" + "rk/", "/ro" + "ot/", "/opt/" + "pypi", "/opt/" + "wheels", "/home/" + "user")


def tracked() -> list[Path]:
    """Files that are or would be committed; where there is no git, everything that is not made by a tool."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        if listed.returncode == 0:
            paths = [ROOT / name for name in listed.stdout.split("\0") if name]
            return [path for path in paths if path.is_file()]
    made = {".venv", ".bench-venv", ".git", "workspace", "build", "dist", "__pycache__", "shared"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def test_no_file_names_this_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{name_of(path)}: {word}" for word in (*HOSTS, *FOLDERS) if word in text]
    assert not found


def test_no_file_is_large() -> None:
    sizes = {name_of(path): path.stat().st_size for path in tracked()}
    assert not {name: size for name, size in sizes.items() if size > 2_000_000}


def test_every_dependency_is_pinned_to_a_version_that_the_project_accepts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))
    for requirement in map(Requirement, wanted):
        pinned = pins.get(requirement.name.lower())
        assert pinned, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pinned), f"{requirement} does not accept {pinned}"
    assert not [version for version in pins.values() if "+" in version], "a local label binds to one machine"


def test_tests_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_help_works() -> None:
    done = run(str(Path(sys.executable).with_name("kilter")), "--help")
    assert done.returncode == 0, done.stderr
    assert "Exit codes" in done.stdout


def test_the_models_room_loads_no_library_until_a_name_is_used() -> None:
    code = """
import sys
import kilter.models
from kilter.models import catalogue
print("torch" in sys.modules or "transformers" in sys.modules)
"""
    assert run(sys.executable, "-c", code).stdout.strip() == "False"


def test_the_models_room_gives_functions_where_files_have_the_same_name() -> None:
    code = """
import kilter.models.language_model, kilter.models.sample, kilter.models.score
import kilter.models as room
from kilter.models import pack, sample, score
print([type(one).__name__ for one in (pack, sample, score, room.pack, room.sample, room.score)])
print([name for name in room.__all__ if not hasattr(room, name) or name not in dir(room)])
try:
    room.smaple
except AttributeError as error:
    print(error)
"""
    functions, missing, error = run(sys.executable, "-c", code).stdout.splitlines()
    assert functions == str(["function"] * 6)
    assert missing == "[]"
    assert error == "module 'kilter.models' has no attribute 'smaple'"


MOST_LINES = 50


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_function_must_be_scrolled_through(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            begin = node.body[0].end_lineno if documented else node.lineno
            assert node.end_lineno is not None
            assert begin is not None
            assert node.end_lineno - begin <= MOST_LINES, f"{node.name} has {node.end_lineno - begin} lines"
