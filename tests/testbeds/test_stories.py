from __future__ import annotations

import json
import re
from datetime import date
from functools import cache
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.testbeds import Case
from kilter.testbeds.case import Split
from kilter.testbeds.stories import TYPES, generate
from kilter.testbeds.stories.lexicon import lexicon

SPLITS: list[Split] = ["train", "test"]


@cache
def many(split: Split, words: int = 200) -> list[Case]:
    return generate(300 if words < 1000 else 40, 7, split, words=words, flawed=0.8, difficulty=0.4)


def everything() -> list[Case]:
    return [case for split in SPLITS for words in (200, 1200) for case in many(split, words)]


def refuted(claim: list[Any], hidden: dict[str, Any]) -> bool:
    """Whether the facts of the world contradict a claim: written without the code that makes or spoils summaries."""
    facts, (kind, first, *rest) = hidden["facts"], claim
    if first not in facts:
        return True
    fact = facts[first]
    if kind == "value":
        role, said = rest
        return bool(fact["values"][role] != said)
    if kind == "trade":
        role, said = rest
        return bool(fact["trades"][role] != said)
    if kind == "date":
        day = date.fromisoformat(fact["day"])
        return f"{day:%A}, {day:%B} {day.day}" != rest[0]
    if kind == "cause":
        return bool(fact["cause"] != rest[0])
    if kind == "before":
        return rest[0] not in facts or fact["turn"] >= facts[rest[0]]["turn"]
    if kind == "chief":
        return any(other["importance"] > fact["importance"] for other in facts.values())
    assert kind == "event"
    return False


def unsaid(claims: list[list[list[Any]]], hidden: dict[str, Any]) -> set[str]:
    """Main events that no unit states."""
    return set(hidden["main"]) - {claim[1] for unit in claims for claim in unit if claim[0] == "event"}


def test_correct_summaries_claim_nothing_false_and_leave_nothing_out() -> None:
    for case in everything():
        claims = case.hidden["correct_claims"]
        assert not [claim for unit in claims for claim in unit if refuted(claim, dict(case.hidden))]
        assert not unsaid(claims, dict(case.hidden))


def test_exactly_the_flawed_units_claim_something_false() -> None:
    for case in everything():
        hidden = dict(case.hidden)
        false = {i for i, unit in enumerate(hidden["claims"]) if any(refuted(claim, hidden) for claim in unit)}
        marked = {i for flaw in case.flaws if flaw.type != "missing_point" for i in case.units_of(flaw)}
        assert false == marked, case.response
        missing = [flaw for flaw in case.flaws if flaw.type == "missing_point"]
        assert len(unsaid(hidden["claims"], hidden)) == len(missing)


@pytest.mark.parametrize(
    ("type", "kinds"),
    [
        ("wrong_fact", {"value", "trade", "date"}),
        ("invented_fact", {"event", "value", "trade"}),
        ("wrong_cause", {"cause", "event"}),
        ("wrong_order", {"before"}),
        ("misleading_emphasis", {"chief"}),
    ],
)
def test_each_type_is_false_in_its_own_way(type: str, kinds: set[str]) -> None:
    seen = 0
    for case in everything():
        hidden = dict(case.hidden)
        for flaw in (flaw for flaw in case.flaws if flaw.type == type):
            [unit] = case.units_of(flaw)
            false = [claim for claim in hidden["claims"][unit] if claim[1] in hidden["facts"] or claim[0] != "value"]
            assert {claim[0] for claim in false if refuted(claim, hidden)} & kinds
            if type != "wrong_cause":
                assert {claim[0] for claim in false if refuted(claim, hidden)} <= kinds
            seen += 1
    assert seen > 20


def test_all_types_and_both_severities_occur() -> None:
    for split in SPLITS:
        flaws = [flaw for case in many(split) for flaw in case.flaws]
        assert {flaw.type for flaw in flaws} == set(TYPES)
        assert {flaw.severity for flaw in flaws} == {"minor", "major"}


def test_sentences_state_the_events_that_they_are_said_to() -> None:
    for case in everything():
        facts = case.hidden["facts"]
        stated = {id for _, _, ids in case.hidden["sentences"] for id in ids}
        assert stated == set(facts)
        for start, end, _ in case.hidden["sentences"]:
            assert re.match(r"[\"A-Z]", case.source[start:end]), case.source[start:end]
            assert re.search(r"[.!?]\"?$", case.source[start:end])


def test_what_a_correct_summary_says_can_be_read_in_the_story() -> None:
    """Every name, thing and place is in the text, so that the story's reader can know it."""
    for case in everything():
        for unit in case.hidden["correct_claims"]:
            for claim in unit:
                if claim[0] in ("value", "trade"):
                    assert claim[-1].lower() in case.source.lower(), (claim, case.source)


HOLE = re.compile(r"\{(?:a:|the:)?([a-z]+)(?:\.full)?!?\}")


@pytest.mark.parametrize("split", SPLITS)
def test_whoever_and_whatever_a_summary_names_is_named_where_the_story_tells_of_it(split: Split) -> None:
    def told(tell: str) -> set[str]:
        return set(HOLE.findall(re.sub(r" ?<[^<>]*>", "", tell)))  # optional sentences may be missing

    words = lexicon(split)
    for schema in words.schemas:
        start = told(schema.steps["start"][0][0])
        for tell, say in (pair for pairs in schema.steps.values() for pair in pairs):
            assert set(HOLE.findall(say)) <= told(tell) | start, (schema.name, say)
    for tell, say in (*words.wordings["setback"], *words.wordings["detail"]):
        assert set(HOLE.findall(say)) <= told(tell), say


def test_evidence_shows_what_the_flaw_is_about() -> None:
    for case in everything():
        for flaw in case.flaws:
            assert flaw.note
            assert bool(flaw.evidence) == (flaw.type != "invented_fact"), flaw
            if flaw.type == "wrong_fact":
                assert case.response[flaw.start : flaw.end] not in ("", case.response)


def test_replaced_names_occur_elsewhere_in_the_story() -> None:
    for case in everything():
        for unit in case.hidden["claims"]:
            for kind, id, *rest in unit:
                false = kind == "value" and id in case.hidden["facts"] and refuted([kind, id, *rest], dict(case.hidden))
                if false and rest[0] in ("hero", "other", "helper", "site", "street", "away"):
                    assert rest[1] in case.source


@pytest.mark.parametrize("split", SPLITS)
def test_text_is_clean_english_on_its_surface(split: Split) -> None:
    for case in [*many(split), *many(split, 1200)]:
        for text in (case.source, case.response, case.correct, *(flaw.note for flaw in case.flaws)):
            assert not re.search(
                r"[{}<>\[\]|\x00-\x08]|  |,[,.;:]| ,|\.\.|\ba (?!use|one)[aeiou]|\ban (?!hour)[^aeiou]", text
            ), text
            assert not re.search(r"[.!?] [a-z]", text), text


@pytest.mark.parametrize(("words", "split"), [(200, "train"), (200, "test"), (700, "train"), (3000, "test")])
def test_length_is_near_what_was_asked_for(words: int, split: Split) -> None:
    for case in generate(10, 3, split, words=words):
        assert 0.8 * words <= len(case.source.split()) <= 1.2 * words


def test_the_longest_story_has_chapters_and_many_different_plots() -> None:
    [case] = generate(1, 1, words=20_000, flawed=1)
    assert 18_000 <= len(case.source.split()) <= 22_000
    assert case.source.count("\n\nChapter ") >= 8
    sentences = [case.source[start:end] for start, end, _ in case.hidden["sentences"]]
    assert len(set(sentences)) > 0.9 * len(sentences)


def test_a_summary_grows_with_what_is_asked_for() -> None:
    short, long = (generate(5, 2, words=3000, summary_words=count) for count in (100, 400))
    assert all(len(a.correct.split()) < len(b.correct.split()) for a, b in zip(short, long, strict=True))


def test_the_same_arguments_give_the_same_cases_and_a_prefix_stays() -> None:
    assert generate(6, 4, words=250) == generate(6, 4, words=250)
    assert generate(6, 4, words=250)[:3] == generate(3, 4, words=250)
    assert generate(3, 4, words=250) != generate(3, 5, words=250)


def test_flawed_is_the_share_with_flaws_and_difficulty_lowers_their_number() -> None:
    assert not any(case.flaws for case in generate(20, 1, words=200, flawed=0))
    assert all(case.flaws for case in generate(100, 1, words=200, flawed=1))
    easy, hard = (generate(100, 1, words=200, flawed=1, difficulty=level) for level in (0.0, 1.0))
    assert sum(len(case.flaws) for case in easy) > 1.4 * sum(len(case.flaws) for case in hard)


def test_splits_share_no_plot_no_name_and_no_wording() -> None:
    train, test = (lexicon(split) for split in SPLITS)
    assert not {one.name for one in train.schemas} & {one.name for one in test.schemas}
    templates = [{text for one in each.schemas for pairs in one.steps.values() for pair in pairs for text in pair}
                 for each in (train, test)]  # fmt: skip
    assert not templates[0] & templates[1]
    for kind in train.names:
        assert not set(train.names[kind]) & set(test.names[kind]), kind
    assert not strings(train.wordings) & strings(test.wordings) - {"{a}.", "{a} because {b}."}
    assert not {case.structure for case in many("train")} & {case.structure for case in many("test")}


def strings(node: Any) -> set[str]:
    if isinstance(node, str):
        return {node}
    return set().union(*(strings(child) for child in (node.values() if isinstance(node, dict) else node)))


def test_a_case_is_plain_data() -> None:
    json.dumps(dict(generate(1, 1, words=200)[0].hidden))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"words": 199}, "200 to 20,000"),
        ({"words": 20_001}, "200 to 20,000"),
        ({"difficulty": 1.5}, "difficulty"),
        ({"flawed": -0.1}, "flawed"),
        ({"words": 200, "summary_words": 10}, "30 words or more"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        generate(1, 0, **arguments)
    with pytest.raises(DataError, match="split"):
        generate(1, 0, "dev", words=200)  # type: ignore[arg-type]
