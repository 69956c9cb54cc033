from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.feedback.preferences import Preference, PreferenceData, read_preferences

USER = {"role": "user", "content": "Why?"}
HH = Path(__file__).parents[2].parent / "shared" / "data"


def write(folder: Path, rows: list[dict[str, Any]], name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(folder: Path, *rows: dict[str, Any], **options: Any) -> PreferenceData:
    return read_preferences(write(folder, list(rows)), **options)


def told(row: Preference) -> tuple[list[tuple[str, str]], str, str]:
    return [(turn["role"], turn["content"]) for turn in row.prompt], row.best, row.worst


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
        {"prompt": "\n\nHuman: Why?\n\nAssistant:", "chosen": " Because.", "rejected": " No."},
        {"prompt": [USER], "chosen": "Because.", "rejected": "No."},
        {
            "prompt": [USER],
            "chosen": [{"role": "assistant", "content": "Because."}],
            "rejected": [{"role": "assistant", "content": "No."}],
        },
        {
            "prompt": "Why?",
            "chosen": [USER, {"role": "assistant", "content": "Because."}],
            "rejected": [USER, {"role": "assistant", "content": "No."}],
        },
        {
            "chosen": [USER, {"role": "assistant", "content": "Because."}],
            "rejected": [USER, {"role": "assistant", "content": "No."}],
        },
        {
            "prompt": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "Because."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {"prompt": "Why?", "responses": ["No.", "Because."], "ranking": [1, 0]},
        {"prompt": "Why?", "ranked": ["Because.", "No."]},
    ],
)
def test_every_layout_says_the_same(row: dict[str, Any], tmp_path: Path) -> None:
    [found] = read(tmp_path, row)
    assert told(found) == ([("user", "Why?")], "Because.", "No.")
    assert found.where == "a.jsonl, line 1"


def test_dialogue_of_several_turns_becomes_messages(tmp_path: Path) -> None:
    shared = "\n\nHuman: Hi\n\nAssistant: Hello.\nHow are you?\n\nHuman: Well\n\nHuman: and you?\n\nAssistant:"
    [found] = read(tmp_path, {"chosen": shared + " So am I.", "rejected": shared + " So am not."})
    assert found.prompt == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello.\nHow are you?"},
        {"role": "user", "content": "Well\n\nand you?"},
    ]
    assert (found.best, found.worst) == ("So am I.", "So am not.")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: b", "identical responses"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: b ", "identical responses"),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant:", "empty response"),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c",
            "\n\nHuman: a\n\nAssistant: d",
            "dialogues that part before",
        ),
        ("\n\nHuman: a\n\nAssistant: b", "\n\nHuman: x\n\nAssistant: b", "dialogues without a shared prompt"),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c",
            "\n\nHuman: a\n\nAssistant: d",
            "reply in two turns",
        ),
        ("\n\nHuman:\n\nAssistant: b", "\n\nHuman:\n\nAssistant: d", "empty turn in the prompt"),
        (
            "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c",
            "\n\nHuman: a\n\nAssistant: b\n\nAssistant: d",
            "the prompt does not end with a turn of the user",
        ),
    ],
)
def test_odd_dialogues_are_skipped_with_a_reason(chosen: str, rejected: str, reason: str, tmp_path: Path) -> None:
    fine = {"chosen": "\n\nHuman: q\n\nAssistant: r", "rejected": "\n\nHuman: q\n\nAssistant: s"}
    data = read(tmp_path, fine, {"chosen": chosen, "rejected": rejected})
    assert len(data) == 1
    [(found, count)] = data.skipped.counts.items()
    assert found.startswith(reason)
    assert count == 1
    assert "skipped 1: 1 " + reason in data.summary()
    assert "line 2" in data.summary()


def test_ranking_of_several_with_a_tie(tmp_path: Path) -> None:
    [row] = read(tmp_path, {"prompt": "p", "responses": ["a", "b", "c", "d"], "ranking": [2, [0, 3], 1]})
    assert row.ranks == (1, 2, 0, 1)
    assert row.order == (2, 0, 3, 1)
    assert row.pairs == [(0, 1), (2, 0), (2, 1), (2, 3), (3, 1)]
    assert row.value == [2, [0, 3], 1]
    assert row.ties == [(0, 3)]


def test_judgments_without_a_winner_are_kept_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "ties.jsonl"
    file.write_text('{"prompt": "p", "responses": ["a", "b"], "ranking": [[0, 1]]}\n')
    [row] = read_preferences(file, ties=True)
    assert (row.pairs, row.ties, row.value) == ([], [(0, 1)], "tie")


def test_margins_are_read(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        {"prompt": "p", "chosen": "a", "rejected": "b", "margin": 2},
        {"prompt": "q", "chosen": "a", "rejected": "b", "margin": 0.5},
    )
    assert (first.margin, second.margin) == (2.0, 0.5)


@settings(max_examples=50, deadline=None)
@given(ranking=st.integers(2, 7).flatmap(lambda k: st.permutations(range(k))))
def test_pairs_follow_any_ranking(ranking: list[int], tmp_path_factory: Any) -> None:
    responses = [f"r{index}" for index in range(len(ranking))]
    row = {"prompt": "p", "responses": responses, "ranking": ranking}
    [found] = read(tmp_path_factory.mktemp("k"), row)
    k = len(ranking)
    assert list(found.order) == ranking
    assert len(found.pairs) == k * (k - 1) // 2
    assert all(ranking.index(better) < ranking.index(worse) for better, worse in found.pairs)
    [same] = read(tmp_path_factory.mktemp("k"), {"prompt": "p", "ranked": [responses[i] for i in ranking]})
    assert [same.responses[i] for i in same.order] == [responses[i] for i in ranking]


def test_position_says_nothing_of_rank(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(400)]
    first_is_better = sum(row.order[0] == 0 for row in read(tmp_path, *rows))
    assert 150 < first_is_better < 250
    again = [row.responses for row in read(tmp_path, *reversed(rows))]
    assert again[::-1] == [row.responses for row in read(tmp_path, *rows)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"good": "a", "bad": "b"}, "has the columns good, bad; wanted are chosen and rejected"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "line 1 has no 'rejected'"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "line 1: a text or a list of messages was expected"),
        (
            {"prompt": [{"who": "me"}], "chosen": "a", "rejected": "b"},
            "a message {role, content} was expected",
        ),
        ({"prompt": "p", "chosen": 1, "rejected": "b"}, "was expected, not 1"),
        (
            {"prompt": "p", "responses": ["a", "b"], "ranking": [0, 0]},
            "must name each of the indices 0 to 1 once",
        ),
        ({"prompt": "p", "responses": ["a", "b"], "ranking": [True, False]}, "must name each"),
        ({"prompt": "p", "responses": ["a"], "ranking": [0]}, "two or more responses"),
        ({"prompt": "p", "ranked": "a"}, "two or more responses"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "None of the 1 rows .* 1 identical responses"),
        ({"chosen": "a", "rejected": "b"}, "1 without a prompt.*Its columns are chosen, rejected"),
        ({"prompt": "p", "responses": ["a", "b"], "ranking": [[0, 1]]}, "1 all responses tied"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "margin": -1}, "line 1: the margin -1 must be a number"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "margin": "much"}, "the margin 'much' must be"),
    ],
)
def test_what_cannot_be_read_is_an_error(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, row)


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    row = {"question": "Why?", "better": "Because.", "worse": "No."}
    names = {"prompt": "question", "chosen": "better", "rejected": "worse"}
    [found] = read(tmp_path, row, columns=names)
    assert told(found) == ([("user", "Why?")], "Because.", "No.")


_WORD = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1).filter(lambda text: text.strip())


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(_WORD, min_size=1, max_size=5).filter(lambda t: len(t) % 2), better=_WORD, worse=_WORD)
def test_any_dialogue_is_parsed_back(turns: list[str], better: str, worse: str, tmp_path_factory: Any) -> None:
    if better.strip() == worse.strip():
        return
    speakers = ["Human", "Assistant"]
    shared = "".join(f"\n\n{speakers[i % 2]}: {said}" for i, said in enumerate(turns)) + "\n\nAssistant: "
    [row] = read(tmp_path_factory.mktemp("hh"), {"chosen": shared + better, "rejected": shared + worse})
    assert [turn["content"] for turn in row.prompt] == [said.strip() for said in turns]
    assert (row.best, row.worst) == (better.strip(), worse.strip())


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "kept", "skipped"),
    [
        ("hh-single-turn/harmless_train_gt.jsonl.gz", 3990, 10),
        ("hh-single-turn/harmless_train_w2s.jsonl.gz", 3988, 12),
        ("hh-rlhf/harmless-base/test.jsonl.gz", 2303, 9),
    ],
)
def test_real_human_preferences(name: str, kept: int, skipped: int) -> None:
    if not (HH / name).exists():
        pytest.skip("the real data sets are not here")
    data = read_preferences(HH / name)
    assert (len(data), data.skipped.total) == (kept, skipped)
    for row in data:
        assert row.prompt[-1]["role"] == "user"
        assert not any("\n\nHuman:" in text or "\n\nAssistant:" in text for text in row.responses)


def test_half_a_character_is_skipped_not_a_crash(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [r'{"prompt": "p", "chosen": "\ud83d", "rejected": "b"}', '{"prompt": "p", "chosen": "a", "rejected": "b"}']
    file.write_text("\n".join(rows))
    data = read_preferences(file)
    assert len(data) == 1
    assert data.skipped.counts == {"text that is no valid Unicode": 1}
