from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.testbeds import Case
from kilter.testbeds.case import Split
from kilter.testbeds.facts import (
    KINDS,
    TYPES,
    UNKNOWN,
    Question,
    cut,
    full,
    generate,
    grow,
    judge_view,
    load_statements,
    questions,
)
from kilter.testbeds.facts.schema import schema
from kilter.testbeds.facts.world import World
from kilter.testbeds.shortcuts import shortcuts

SPLITS: list[Split] = ["train", "test"]
Facts = dict[str, dict[str, str]]


@cache
def many(split: Split) -> list[Case]:
    return generate(250, 7, split, flawed=0.8, difficulty=0.4)


@cache
def world(split: Split, articles: int = 120) -> World:
    return grow(articles, 5, split)


def everything() -> list[Case]:
    return [case for split in SPLITS for case in many(split)]


# A checker of its own: it knows nothing of the code that draws, tells or spoils


def verdict(claim: list[Any], facts: Facts) -> bool | None:
    """True, false, or None for what the encyclopedia does not say."""
    kind, *rest = claim
    if kind == "is":
        at, path, value = rest
        for relation in path:
            if relation not in facts.get(at, {}):
                return None
            at = facts[at][relation]
        return bool(at == value)
    parts = [verdict(part, facts) for part in rest]
    if kind == "not":
        return None if parts[0] is None else not parts[0]
    if kind == "and":
        return False if False in parts else None if None in parts else True
    assert kind == "or"
    return True if True in parts else None if None in parts else False


def year(facts: Facts, name: str, relation: str) -> int:
    return int(facts[name][relation])


def inconsistent(kinds: dict[str, str], facts: Facts) -> list[str]:
    """Everything in a world of either split that cannot be."""
    wrong = []
    for name, its in facts.items():
        kind = kinds[name]
        if kind == "region" and facts[its["capital"]]["region"] != name:
            wrong.append(f"{its['capital']} is the capital of {name} and lies elsewhere")
        if kind == "ruler":
            if not year(facts, name, "born") + 18 < year(facts, name, "crowned") < year(facts, name, "died"):
                wrong.append(f"the years of {name}")
            if "predecessor" in its:
                before = its["predecessor"]
                if facts[before]["realm"] != its["realm"] or facts[before]["died"] != its["crowned"]:
                    wrong.append(f"{name} does not follow {before}")
        for relation in ("birthplace", "burial", "seat", "begins"):
            when = {"ruler": "born", "scholar": "born", "academy": "opened", "road": "built"}.get(kind, "")
            if relation in its and when in its and year(facts, name, when) <= year(facts, its[relation], "founded"):
                wrong.append(f"{name} is older than {its[relation]}")
        school = its.get("taught_at")
        if school is not None and year(facts, school, "opened") >= year(facts, name, "died"):
            wrong.append(f"{name} cannot have taught at {school}")
        if kind == "shipyard" and year(facts, its["at"], "chartered") >= year(facts, name, "first_keel"):
            wrong.append(f"{name} is older than its harbor")
        if kind == "academy":
            founder = its["founder"]
            if not year(facts, founder, "crowned") <= year(facts, name, "opened") <= year(facts, founder, "died"):
                wrong.append(f"{name} opened when {founder} did not reign")
        if kind == "scholar" and not 30 < year(facts, name, "died") - year(facts, name, "born") < 100:
            wrong.append(f"the age of {name}")
        if kind == "book":
            author = its["author"]
            if not year(facts, author, "born") + 18 < year(facts, name, "written") <= year(facts, author, "died"):
                wrong.append(f"{author} cannot have written {name}")
        if kind == "road" and its["begins"] == its["ends"]:
            wrong.append(f"{name} ends where it begins")
        if kind == "island" and facts[its["main_port"]]["island"] != name:
            wrong.append(f"{its['main_port']} is on another island than {name}")
        if kind == "ship":
            captain, yard = its["captain"], its["built_at"]
            if not year(facts, captain, "birth") + 18 < year(facts, name, "launched") <= year(facts, captain, "death"):
                wrong.append(f"{captain} cannot have sailed {name}")
            if year(facts, name, "launched") < year(facts, yard, "first_keel"):
                wrong.append(f"{name} is older than {yard}")
        if kind == "battle":
            for captain in {its["victor"], its.get("loser", its["victor"])}:
                if (
                    not year(facts, captain, "birth") + 15
                    < year(facts, name, "fought")
                    <= year(facts, captain, "death")
                ):
                    wrong.append(f"{captain} cannot have fought in {name}")
            if its.get("loser") == its["victor"]:
                wrong.append(f"{its['victor']} beat themselves")
    return wrong


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("articles", [24, 60, 400])
def test_worlds_are_consistent_and_closed(split: Split, articles: int) -> None:
    for seed in range(6 if articles < 400 else 1):
        grown = grow(articles, seed, split)
        kinds = {name: thing.kind for name, thing in grown.things.items()}
        assert len(kinds) == articles
        assert inconsistent(kinds, {name: dict(its) for name, its in grown.facts.items()}) == []
        for name, its in grown.facts.items():
            for relation, value in its.items():
                if grown.relation(name, relation).is_thing:
                    assert kinds[value] == grown.relation(name, relation).of
                    assert value != name


def test_the_checker_finds_what_is_inconsistent() -> None:
    kinds = {name: thing.kind for name, thing in world("train").things.items()}
    for relation, value in (("died", "1000"), ("crowned", "2000"), ("born", "1500")):
        facts = {name: dict(its) for name, its in world("train").facts.items()}
        ruler = next(name for name in facts if kinds[name] == "ruler")
        facts[ruler][relation] = value
        assert inconsistent(kinds, facts)


@pytest.mark.parametrize("split", SPLITS)
def test_every_fact_stands_where_its_article_says_so_and_nothing_else_does(split: Split) -> None:
    view = full(world(split), 1)
    known = {(name, relation) for name, its in world(split).facts.items() for relation in its}
    assert {one.fact for one in view.sentences} == known
    assert len(view.sentences) == len(known)
    for one in view.sentences:
        name, relation = one.fact
        sentence = view.text[one.start : one.end]
        assert re.fullmatch(r"[A-Z0-9].*\.", sentence)
        assert world(split).facts[name][relation].lower() in sentence.lower()


@pytest.mark.parametrize("split", SPLITS)
def test_text_is_clean_english_on_its_surface(split: Split) -> None:
    texts = [full(world(split), 1).text, *(one.text for one in questions(world(split), 400, 1))]
    texts += [text for case in many(split) for text in (case.response, case.correct, case.task, judge_view(case))]
    texts += [flaw.note for case in many(split) for flaw in case.flaws]
    for text in texts:
        assert not re.search(r"[{}<>\[\]|]|  |,[,.;:]| ,|\.\.|\bof it\b|\. [a-z]|\b(she|he) (are|were)\b", text), text


@pytest.mark.parametrize("by", ["passage", "article"])
def test_a_view_with_more_cut_is_part_of_one_with_less(by: Any) -> None:
    views = [cut(world("train"), 3, share, by) for share in (0.0, 0.3, 0.7, 1.0)]
    facts = [{one.fact for one in view.sentences} for view in views]
    assert views[0].text == full(world("train"), 3).text
    assert facts[0] > facts[1] > facts[2] > facts[3] == set()
    assert len(facts[1]) == pytest.approx(0.7 * len(facts[0]), rel=0.15 if by == "article" else 0.01)
    for view in views:
        complete = {name for name in world("train").things if len(view.passages(all_of(name))) == len(all_of(name))}
        assert view.whole == complete


def all_of(name: str) -> list[tuple[str, str]]:
    return [(name, relation) for relation in world("train").facts[name]]


@pytest.mark.parametrize("split", SPLITS)
def test_questions_have_the_answers_that_the_facts_give(split: Split) -> None:
    facts = {name: dict(its) for name, its in world(split).facts.items()}
    found = questions(world(split), 800, 2, difficulty=0.6)
    assert {one.kind for one in found} == set(KINDS)
    assert len({one.text for one in found}) == 800
    for one in found:
        assert one.answer in one.options
        assert len(set(one.options)) == len(one.options) >= 2
        if one.claim:
            assert verdict(json.loads(json.dumps(one.claim)), facts) is (one.answer == "true"), one.text
        elif one.kind == "unanswerable":
            [(name, relation)] = one.evidence
            assert one.answer == UNKNOWN
            assert relation not in facts[name]
        else:
            assert UNKNOWN in one.options
            name, relation = one.evidence[-1]
            assert one.answer == facts[name][relation]
            for (_, _), (at, _) in zip(one.evidence, one.evidence[1:], strict=False):
                assert at in {facts[before][how] for before, how in one.evidence}
    for kind in ("negated", "conjunction", "disjunction"):
        true = [one.answer == "true" for one in found if one.kind == kind]
        assert 0.3 < sum(true) / len(true) < 0.7


def test_a_view_suffices_exactly_where_what_is_needed_was_not_cut() -> None:
    found = questions(world("train"), 200, 2, hops=3)
    for share in (0.0, 0.4, 1.0):
        view = cut(world("train"), 1, share)
        kept = {one.fact for one in view.sentences}
        for one in found:
            if one.kind == "unanswerable":
                assert one.suffices(view) == (one.about in view.whole)
            else:
                assert one.suffices(view) == all(fact in kept for fact in one.evidence)
    hops = {one.hops for one in found if one.kind == "multi_hop"}
    assert hops == {3}
    shares = [sum(one.suffices(cut(world("train"), 1, 0.4)) for one in found if one.kind == kind) for kind in KINDS]
    assert shares[KINDS.index("multi_hop")] < shares[KINDS.index("value")]


def test_correct_answers_claim_only_what_is_true() -> None:
    for case in everything():
        assert all(verdict(claim, case.hidden["facts"]) is True for claim in case.hidden["correct_claims"])


def test_exactly_the_flawed_statements_are_false_or_unsupported() -> None:
    for case in everything():
        flawed = {unit: flaw.type for flaw in case.flaws for unit in case.units_of(flaw)}
        for unit, claim in enumerate(case.hidden["claims"]):
            expected = True if unit not in flawed else None if flawed[unit] == "unsupported_claim" else False
            assert verdict(claim, case.hidden["facts"]) is expected, case.response[slice(*case.units[unit])]


def test_no_relation_is_claimed_twice_so_that_an_answer_never_contradicts_itself() -> None:
    def paths(claim: list[Any]) -> list[str]:
        return [str(claim[2])] if claim[0] == "is" else [path for part in claim[1:] for path in paths(part)]

    for case in everything():
        said = [path for claim in case.hidden["claims"] for path in paths(claim)]
        assert len(said) == len(set(said))


def test_wrong_years_keep_the_order_of_a_life() -> None:
    for case in everything():
        said: Facts = {}

        def note(claim: list[Any], said: Facts = said) -> None:
            if claim[0] == "is" and len(claim[2]) == 1:
                said.setdefault(claim[1], {})[claim[2][0]] = claim[3]
            elif claim[0] == "and":
                note(claim[1])
                note(claim[2])

        for claim in case.hidden["claims"]:
            note(claim)
        for name, its in said.items():
            years = [int(its[one]) for one in ("born", "crowned", "died") if one in its]
            assert years == sorted(years), (name, its)


def test_all_types_and_both_severities_occur_in_both_splits() -> None:
    for split in SPLITS:
        flaws = [flaw for case in many(split) for flaw in case.flaws]
        assert {flaw.type for flaw in flaws} == set(TYPES)
        assert {flaw.severity for flaw in flaws} == {"minor", "major"}
        assert all(flaw.note and bool(flaw.evidence) == (flaw.type != "unsupported_claim") for flaw in flaws)
    for case in everything():
        for flaw in case.flaws:
            stated = {tuple(fact) for start, end, *fact in case.hidden["sentences"] if (start, end) in flaw.evidence}
            assert len(stated) == len(flaw.evidence)


def test_the_judge_sees_less_than_the_expert_and_each_unit_says_whether_enough() -> None:
    for case in everything():
        seen = judge_view(case)
        assert len(seen) < len(case.source)
        kept = {(name, relation) for start, end, name, relation in case.hidden["sentences"]
                if [start, end] not in case.hidden["cut"]}  # fmt: skip
        for claim, enough in zip(case.hidden["claims"], case.hidden["suffices"], strict=True):
            if claim[0] == "is" and verdict(claim, case.hidden["facts"]) is not None:
                at, needed = claim[1], set()
                for relation in claim[2]:
                    needed.add((at, relation))
                    at = case.hidden["facts"][at][relation]
                assert enough == (needed <= kept)
    [whole] = generate(1, 2, cut_share=0.0)
    assert judge_view(whole) == whole.source
    assert all(whole.hidden["suffices"])


def test_difficulty_cuts_more_and_plants_less() -> None:
    easy, hard = (generate(120, 1, flawed=1, difficulty=level) for level in (0.0, 1.0))
    assert sum(len(case.flaws) for case in easy) > 1.4 * sum(len(case.flaws) for case in hard)
    assert sum(sum(c.hidden["suffices"]) for c in easy) > 2 * sum(sum(c.hidden["suffices"]) for c in hard)


def test_the_same_arguments_give_the_same_cases_and_a_prefix_stays() -> None:
    assert generate(6, 4) == generate(6, 4)
    assert generate(6, 4)[:3] == generate(3, 4)
    assert generate(3, 4) != generate(3, 5)
    assert questions(world("train"), 30, 1)[:10] == questions(world("train"), 10, 1)
    assert not any(case.flaws for case in generate(20, 1, flawed=0))
    json.dumps(dict(generate(1, 1)[0].hidden))


def test_splits_share_no_kind_no_relation_no_name_and_no_wording() -> None:
    train, test = (schema(split) for split in SPLITS)
    assert not set(train.kinds) & set(test.kinds)
    relations = [{one.name for kind in each.kinds.values() for one in kind.relations} for each in (train, test)]
    assert not relations[0] & relations[1]
    templates = [
        {text for kind in each.kinds.values() for one in kind.relations for text in (*one.says, one.ask, one.hop)}
        - {""}
        for each in (train, test)
    ]
    assert not templates[0] & templates[1]
    assert not set(world("train").things) & set(world("test").things)
    for kind in ("task", "note", "joins"):
        assert not strings(train.wordings[kind]) & strings(test.wordings[kind])
    for kind in ("starts", "women", "men", "adjectives", "nouns"):
        assert not set(train.names[kind]) & set(test.names[kind])


def strings(node: Any) -> set[str]:
    if isinstance(node, str):
        return {node}
    return set().union(*(strings(child) for child in (node.values() if isinstance(node, dict) else node)))


def test_answers_are_near_chance_for_length_and_words() -> None:
    cases = generate(400, 11, flawed=1)
    for found in (shortcuts(cases), shortcuts(cases, generate(200, 12, "test", flawed=1))):
        assert found["length"].value < 0.56
        assert found["words"].value < 0.56  # 400 pairs: the standard error is about 0.018


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"articles": 23}, "24 to 2,000"),
        ({"articles": 2001}, "24 to 2,000"),
        ({"statements": 2}, "3 to 12"),
        ({"difficulty": 1.5}, "difficulty"),
        ({"flawed": -0.1}, "flawed"),
        ({"cut_share": 2.0}, "cut_share"),
        ({"split": "dev"}, "split"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        generate(1, 0, **arguments)


def test_bad_questions_and_views_are_refused() -> None:
    with pytest.raises(DataError, match="kind riddle"):
        questions(world("train"), 1, 0, kinds=("riddle",))
    with pytest.raises(DataError, match="hops"):
        questions(world("train"), 1, 0, hops=9)
    with pytest.raises(DataError, match="no 150 different questions"):
        questions(grow(24, 0), 150, 0, kinds=("unanswerable",))
    with pytest.raises(DataError, match="share from 0 to 1"):
        cut(world("train"), 0, 1.5)


# Real statements


def test_statements_and_labels_are_read_from_csv_also_gzipped(tmp_path: Path) -> None:
    text = 'statement,label,city\n"Rome is in Italy, not in Spain.",1,Rome\nOslo is in Chile.,0,Oslo\n'
    (tmp_path / "cities.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert load_statements(tmp_path / "cities.csv.gz") == [
        Question("Rome is in Italy, not in Spain.", "true", ("true", "false"), "cities"),
        Question("Oslo is in Chile.", "false", ("true", "false"), "cities"),
    ]


def test_truthfulqa_becomes_multiple_choice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
        "A,Myths,What if?,Nothing,Nothing; No,You fly; You sink; You glow; You hum,x\n"
    )
    [one] = load_statements(tmp_path / "t.csv", options=3)
    assert (one.answer, one.kind, len(one.options)) == ("Nothing", "Myths", 3)
    assert set(one.options) <= {"Nothing", "You fly", "You sink", "You glow", "You hum"}


def test_judged_answers_become_statements(tmp_path: Path) -> None:
    row = {"prompt": "Q: What is it?\nA: It is a cat.\nTrue:", "completion": " no"}
    (tmp_path / "judge.jsonl").write_text(json.dumps(row) + "\n")
    [one] = load_statements(tmp_path / "judge.jsonl")
    assert (one.text, one.answer) == ("What is it? It is a cat.", "false")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "statement,label\nx,maybe\n", "line 2: the label 'maybe'"),
        ("a.csv", "claim,label\nx,1\n", "neither statement and label"),
        ("a.csv", "statement,label\n", "holds no statements"),
        ("a.jsonl", "{\n", "line 1 is not valid JSON"),
        ("a.csv.gz", "not gzip", "not a whole gzip file"),
        ("a.csv", "Question,Best Answer,Incorrect Answers\nq,b,\n", "no incorrect answers"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        load_statements(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        load_statements(tmp_path / "none.csv")
