from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from postgresql_server import Server
from typer.testing import CliRunner, Result

from kilter.cli.main import execute
from kilter.cli.record import app
from kilter.errors import RecordError, SettingsError
from kilter.record import Inclusion, Judgment, NewArtifact, Workspace


@dataclass
class World:
    root: Path
    policy: str
    run: str
    judgment: str
    evidence: str

    def call(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--workspace", str(self.root)])

    def printed(self, *arguments: str) -> str:
        result = self.call(*arguments)
        assert result.exception is None, result.exception
        return result.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("workspace")
    with Workspace.open(root) as workspace:
        record = workspace.record
        base = record.add_artifact("model", {"name": "SmolLM2"}, producer="models/pull")
        comparisons = record.add_artifacts([NewArtifact("comparison", {"n": n}, parents=[base]) for n in range(1000)])
        judgments = record.add_judgments(
            Judgment(key, "which?", f"simulated/[rater]-{rater}", "simulated", n % 2, 0.75, seed=n)
            for rater in range(3)
            for n, key in enumerate(comparisons)
        )
        critique = record.add_artifact("critique", "No.", parents=[base])
        (human,) = record.add_judgments([Judgment(comparisons[0], "which?", "ann", "human", "tie")])
        record.add_exposure(human, critique, opened=True, accepted=False)
        dataset = record.add_dataset(comparisons, [*judgments, human], meta={"name": "preferences"})
        reward = record.add_artifact("model", {"name": "reward"}, parents=[base, dataset])
        run = record.start_run("train/ppo", {"lr": 1e-4}, 0, [base, reward])
        policy = record.add_artifact("model", {"name": "policy"}, parents=[base, reward])
        evidence = record.add_evidence("gold_win_rate", 0.8, 0.7, 0.9, 200, "cluster bootstrap", run)
        record.finish_run(run, [policy], seconds=313.2)
        yield World(root, policy, run, human, evidence)


def test_a_model_of_three_thousand_judgments_fits_on_a_screen(world: World) -> None:
    tree = world.printed("show", world.policy[:8])
    assert len(tree.splitlines()) < 20
    assert tree.count("SIMULATED  1,000 judgments") == 3
    assert "ann  human  1 judgment, 1 after being shown help" in tree
    assert "simulated/[rater]-0" in tree
    assert "preferences  3,001 judgments of 1,000 comparisons" in tree
    assert "1,000 artifacts of kind comparison" in tree
    assert f"model {world.policy[:8]}  policy" in tree
    assert f"run {world.run[:8]} train/ppo, done in 313 s" in tree
    assert tree.count("SmolLM2  by models/pull") > tree.count("SmolLM2  by models/pull (shown above)") == 3


def test_judgments_are_listed_one_by_one_when_asked_for(world: World) -> None:
    lines = world.printed("show", world.policy, "--judgments").splitlines()
    assert sum("p 0.75" in line for line in lines) == 3000
    (line,) = [line for line in lines if world.judgment[:8] in line]
    assert '"tie"' in line
    assert "(opened, not accepted)" in line


def test_a_lineage_is_printed_for_machines(world: World) -> None:
    graph = json.loads(world.printed("show", world.policy, "--json"))
    assert graph["root"]["id"] == world.policy
    assert len(graph["judgments"]) == 3001
    assert [judge["simulated"] for judge in graph["judges"]] == [True, True, True, False]


def test_a_run_shows_what_it_used_made_and_measured(world: World) -> None:
    tree = world.printed("show", world.run[:10])
    assert tree.startswith(f"run {world.run[:8]}  train/ppo  done in 313 s")
    assert 'config {"lr": 0.0001}' in tree
    assert "gold_win_rate 0.8 (0.7 to 0.9), n 200, cluster bootstrap" in tree
    assert tree.index("from") < tree.index("reward") < tree.index("made") < tree.index("policy")


def test_a_judgment_and_evidence_show_their_fields(world: World) -> None:
    tree = world.printed("show", world.judgment)
    assert tree.startswith(f"judgment {world.judgment[:8]}")
    assert "value tie" in tree
    assert "ann  human  1 judgment" in tree
    tree = world.printed("show", world.evidence)
    assert "metric gold_win_rate" in tree
    assert f"run {world.run[:8]}  train/ppo" in tree


def test_without_an_id_the_record_is_counted(world: World) -> None:
    text = world.printed("show")
    assert "artifacts 1,005  judgments 3,001  exposures 1  runs 2  evidence 1" in text
    assert "train/ppo" in text
    assert "policy" in text
    overview = json.loads(world.printed("show", "--json"))
    assert overview["counts"]["judgments"] == 3001
    assert overview["size"] == 1005 + 3001 + 1 + 2 + 1
    assert overview["runs"][0]["status"] == "done"
    assert [model["name"] for model in overview["models"]] == ["policy", "reward", "SmolLM2"]


def test_an_empty_record_is_shown_too(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    result = CliRunner().invoke(app, ["show", "--workspace", str(tmp_path)])
    assert "artifacts 0" in result.stdout


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        key = workspace.record.add_artifact("model", {"name": "evil\x1b[2Jname"})
    result = CliRunner().invoke(app, ["show", key, "--workspace", str(tmp_path)])
    assert "\x1b" not in result.stdout
    assert "evil [2Jname" in result.stdout


def test_a_sound_record_is_ok_and_says_what_to_keep(world: World) -> None:
    text = world.printed("verify")
    with Workspace.open(world.root) as workspace:
        size, root = workspace.record.size(), workspace.record.root()
    assert text.startswith(f"OK  {size:,} rows and 1,005 bodies")
    assert f"root  {root}" in text
    assert f"keep  {size}:{root}" in text
    assert "nothing that was recorded up to" in world.printed("verify", "--since", f"{size}:{root}")


def test_a_proof_is_printed_that_can_be_checked_offline(world: World) -> None:
    proof = Inclusion.from_dict(json.loads(world.printed("verify", "--proof", world.judgment[:12])))
    assert proof.verify()
    assert proof.id == world.judgment
    assert json.loads(proof.content)["judge"] == "ann"


def test_damage_is_listed_and_is_an_error(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        large = workspace.record.add_artifact("text", b"w" * 50_000)
        path = workspace.record.blobs.path(workspace.record.artifact(large).body_sha256)
    path.chmod(0o644)
    path.write_bytes(b"v" * 50_000)
    result = CliRunner().invoke(app, ["verify", "--workspace", str(tmp_path)])
    assert f"DAMAGED  blob {path}: its bytes were changed (artifact {large})" in result.stdout
    assert isinstance(result.exception, RecordError)
    assert "one thing is not as recorded" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (["show", "ffffffffff"], RecordError, "starts with 'ffffffffff'"),
        (["show", "policy"], RecordError, "'policy' is no id"),
        (["verify", "--proof", "ffffffffff"], RecordError, "starts with 'ffffffffff'"),
        (["verify", "--since", "12"], SettingsError, "SIZE:ROOT"),
        (["verify", "--since", f"99999:{'ab' * 32}"], RecordError, "is damaged"),
    ],
)
def test_what_cannot_be_done_is_said(world: World, arguments: list[str], error: type[Exception], named: str) -> None:
    result = world.call(*arguments)
    assert isinstance(result.exception, error)
    assert named in str(result.exception)


def test_exit_codes_are_the_documented_ones(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["record", "verify", "--workspace", str(world.root)]) == 0
    assert execute(["record", "show", "--workspace", str(tmp_path / "typo")]) == 7
    assert "There is no workspace at" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "typo").exists()


def test_rows_in_postgresql_are_shown_and_verified(
    tmp_path: Path, postgresql_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address, where = postgresql_server.schema(), ["--workspace", str(tmp_path)]
    with Workspace.open(tmp_path, address) as workspace:
        workspace.record.add_artifact("model", {"name": "policy"})
        root = workspace.record.root()
    assert execute(["record", "show", *where, "--database", address]) == 0
    assert "policy" in capsys.readouterr().out
    assert execute(["record", "verify", *where]) == 7
    assert "name the database with --database" in capsys.readouterr().err
    monkeypatch.setenv("KILTER_DATABASE", address)
    assert execute(["record", "verify", *where]) == 0
    assert f"root  {root}" in capsys.readouterr().out


def test_a_password_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Workspace.open(tmp_path).close()
    (tmp_path / "kilter.db").unlink()
    monkeypatch.setenv("KILTER_DEBUG", "1")
    for address, code in [
        ("postgresql://ann:correct-horse@127.0.0.1:1/team", 6),
        ("postgresql://ann:correct-horse@db:port/team", 2),
        ("mysql://ann:correct-horse@db/team", 2),
    ]:
        assert execute(["record", "show", "--workspace", str(tmp_path), "--database", address]) == code
        said = capsys.readouterr()
        assert "Traceback" in said.err
        assert "correct-horse" not in said.out + said.err
