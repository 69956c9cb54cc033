from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from sqlalchemy import event

from kilter.record import Judgment, NewArtifact, Record


@dataclass
class World:
    base: str
    sft: str
    comparisons: list[str]
    critique: str
    human: list[str]
    simulated: list[str]
    dataset: str
    reward: str
    relabeled: list[str]
    policy: str
    run: str


@pytest.fixture
def world(record: Record) -> World:
    base = record.add_artifact("model", {"name": "SmolLM2"})
    demonstrations = record.add_artifact("dataset", '{"text": "hello"}\n{"text": "two lines"}\n')
    sft = record.add_artifact("model", {"name": "sft"}, parents=[base, demonstrations])
    responses = record.add_artifacts([NewArtifact("response", {"n": n}, parents=[sft]) for n in range(40)])
    comparisons = record.add_artifacts(
        [NewArtifact("comparison", {"n": n}, parents=responses[2 * n : 2 * n + 2]) for n in range(20)]
    )
    critique = record.add_artifact("critique", "The second repeats the prompt.", parents=[base])
    human = record.add_judgments([Judgment(key, "which?", "ann", "human", 1) for key in comparisons[:5]])
    record.add_exposure(human[0], critique, opened=True, accepted=True)
    simulated = record.add_judgments(
        [Judgment(key, "which?", "simulated/careless-1", "simulated", 0, seed=1) for key in comparisons]
    )
    dataset = record.add_dataset(comparisons, [*human, *simulated], meta={"name": "preferences"})
    reward = record.add_artifact("model", {"name": "reward"}, parents=[base, dataset])
    judge = f"reward_model:{reward[:8]}"
    others = record.add_artifacts([NewArtifact("comparison", {"other": n}) for n in range(3)])
    relabeled = record.add_judgments([Judgment(key, "which?", judge, "model", 1) for key in others])
    labels = record.add_dataset(others, relabeled)
    policy = record.add_artifact("model", {"name": "policy"}, parents=[sft, labels])
    run = record.start_run("dpo", {}, 0, [sft, labels])
    record.finish_run(run, [policy], seconds=12)
    record.add_judgments([Judgment(others[0], "which?", "nobody learned from this", "human", 0)])
    return World(base, sft, comparisons, critique, human, simulated, dataset, reward, relabeled, policy, run)


def test_every_judgment_that_shaped_a_model_is_listed_with_the_help_seen(record: Record, world: World) -> None:
    found = record.judgments_that_shaped(world.reward)
    assert {shaping.judgment.id for shaping in found} == {*world.human, *world.simulated}
    with_help = [shaping for shaping in found if shaping.help]
    assert [(s.judgment.id, s.help[0].assistance, s.help[0].accepted) for s in with_help] == [
        (world.human[0], world.critique, True)
    ]


def test_a_model_that_learned_from_a_model_was_shaped_by_its_judges_too(record: Record, world: World) -> None:
    found = {shaping.judgment.id for shaping in record.judgments_that_shaped(world.policy)}
    assert found == {*world.relabeled, *world.human, *world.simulated}


def test_what_no_one_judged_has_no_judgments(record: Record, world: World) -> None:
    assert record.judgments_that_shaped(world.base) == []
    assert record.judgments_that_shaped(world.sft) == []


def test_the_graph_reaches_everything_behind_a_model(record: Record, world: World) -> None:
    lineage = record.lineage(world.policy[:12])
    kinds = [row.kind for row in lineage.artifacts.values()]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    assert counts == {"model": 4, "dataset": 3, "comparison": 23, "response": 40, "critique": 1}
    assert lineage.titles[world.dataset] == "preferences"
    assert lineage.judge_models == {f"reward_model:{world.reward[:8]}": world.reward}
    assert lineage.runs[world.policy].run_id == world.run
    assert world.critique in lineage.links(world.dataset)
    summaries = lineage.judges(lineage.judgments)
    assert [(s.judge, s.judgments, s.helped, s.simulated) for s in summaries] == [
        ("simulated/careless-1", 20, 0, True),
        ("ann", 5, 1, False),
        (f"reward_model:{world.reward[:8]}", 3, 0, False),
    ]


def test_it_is_json(record: Record, world: World) -> None:
    graph = json.loads(json.dumps(record.lineage(world.policy).as_dict()))
    assert graph["root"]["id"] == world.policy
    assert graph["artifacts"][world.policy]["name"] == "policy"
    assert graph["artifacts"][world.policy]["run"] == world.run
    assert graph["judgments"][world.human[0]]["help"][0]["assistance"] == world.critique
    assert graph["judges"][0]["simulated"] is True
    assert graph["runs"][world.run]["seconds"] == 12.0


def test_other_rows_have_a_lineage_too(record: Record, world: World) -> None:
    judged = record.lineage(world.human[0])
    assert set(judged.judgments) == {world.human[0]}
    assert {world.comparisons[0], world.critique, world.sft, world.base} <= set(judged.artifacts)
    assert world.policy in record.lineage(world.run).artifacts
    evidence = record.add_evidence("win_rate", 0.7, 0.6, 0.8, 50, "wilson", world.run)
    assert world.policy in record.lineage(evidence).artifacts
    (exposure,) = record.exposures()
    assert set(record.lineage(exposure.id).judgments) == {world.human[0]}


def test_a_corrected_judgment_brings_the_one_it_corrects(record: Record, world: World) -> None:
    corrected = Judgment(world.comparisons[0], "which?", "ann", "human", 0, supersedes=world.human[0])
    (key,) = record.add_judgments([corrected])
    assert set(record.lineage(key).judgments) == {key, world.human[0]}


def test_a_judge_whose_name_only_looks_like_a_model_is_followed_nowhere(record: Record) -> None:
    (target,) = record.add_artifacts([NewArtifact("comparison", {})])
    judges = ("cafe:12", "deadbeef", "rater:abad1dea", f"copycat:{target[:8]}")
    ids = record.add_judgments([Judgment(target, "which?", judge, "human", 1) for judge in judges])
    lineage = record.lineage(record.add_dataset([target], ids))
    assert lineage.judge_models == {}
    assert len(lineage.judgments) == 4


def test_thousands_of_judgments_take_few_queries(record: Record) -> None:
    comparisons = record.add_artifacts([NewArtifact("comparison", {"n": n}) for n in range(3000)])
    ids = record.add_judgments([Judgment(key, "which?", "ann", "human", 1) for key in comparisons])
    model = record.add_artifact("model", {}, parents=[record.add_dataset(comparisons, ids)])
    statements: list[str] = []
    event.listen(record._database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    assert len(record.judgments_that_shaped(model)) == 3000
    assert len(statements) < 40
