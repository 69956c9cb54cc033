"""Sampling and judging in any number of parts give the rows of one part, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kilter.judges import Candidate, Comparison, label_with_pool, rater_pool
from kilter.models import load, sample
from kilter.models.sample import MAX_ROWS, batches
from kilter.recipes.held import held_model, release_model
from kilter.recipes.judging import judge_part, judging_parts, read_judgments
from kilter.recipes.parts import Here, fan_out
from kilter.recipes.rows import PromptRow, Written, user
from kilter.recipes.sampling import Sampling, read_samples, sample_part, sampling_parts
from kilter.testbeds.instructions import generate


@pytest.fixture(autouse=True)
def _hold_nothing() -> Iterator[None]:
    yield
    release_model()


def prompts(count: int) -> list[PromptRow]:
    return [PromptRow(user(one.prompt[:60]), one.as_dict()) for one in generate(count, 3)]


@pytest.mark.parametrize("n", [1, 40])
def test_the_parts_sample_what_the_whole_samples(tiny_folder: Callable[..., Path], n: int) -> None:
    folder, rows = str(tiny_folder("llama", 260)), prompts(300 if n == 1 else 10)
    sampling = Sampling(n, 0.8, 6, 5)
    lm = load(folder)
    plain = sample(lm, [lm.encode_prompt(one.prompt) for one in rows], n=n, temperature=0.8, max_new_tokens=6, seed=5)
    expected = [[Written.of(one) for one in group] for group in plain]
    whole = len(batches(len(rows), n))
    for slots in (1, 2, 3, 100):
        parts = sampling_parts("sampling", folder, rows, sampling, slots)
        assert len(parts) == min(slots, whole)
        results = list(fan_out(sample_part, parts, Here()))
        assert read_samples(results) == expected
    assert whole >= 3
    assert parts[0].name == f"sampling, prompts 1 to {len(batches(len(rows), n)[0])}"


@pytest.mark.parametrize(("count", "n", "rows"), [(5, 1, 2), (5, 3, 7), (3, 9, 4), (0, 2, 8), (4, 8, 8)])
def test_batches_cover_every_prompt_once(count: int, n: int, rows: int) -> None:
    found = batches(count, n, rows)
    assert [number for one in found for number in one] == list(range(count))
    assert all(len(one) * n <= rows or len(one) == 1 for one in found)
    assert MAX_ROWS == 128  # another number would change what the quickstart samples in bfloat16


@pytest.mark.parametrize("slots", [1, 2, 5, 50])
def test_the_parts_judge_what_the_whole_judges(slots: int) -> None:
    rows = prompts(20)
    written = [[Written(f"{one.text[: 5 * k]}.", k % 2 == 0) for k in (1, 2, 3)] for one in rows]
    comparisons = [
        Comparison(one.text, tuple(Candidate(x.text, x.finished) for x in group), one.read_instruction())
        for one, group in zip(rows, written, strict=True)
    ]
    pool = rater_pool(4)
    parts = judging_parts(rows, written, 4, 2, 0.5, slots)
    assert len(parts) == min(slots, 20)
    judged = read_judgments(fan_out(judge_part, parts, Here()), pool, 4)
    assert judged.labels == label_with_pool(pool, comparisons, 4, per_item=2, overlap=0.5)
    assert len(judged.gold) == 20


def test_a_model_is_loaded_once_for_all_parts_that_need_it(
    tiny_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kilter.recipes import held

    loaded: list[str] = []

    def counted(folder: str) -> Any:
        loaded.append(folder)
        return load(folder)

    monkeypatch.setattr(held, "load", counted)
    one, other = str(tiny_folder("llama", 260)), str(tiny_folder("qwen2", 260))
    parts = [
        part for folder in (one, other) for part in sampling_parts("x", folder, prompts(4), Sampling(64, 1, 2, 0), 9)
    ]
    assert len(parts) == 4
    list(fan_out(sample_part, parts, Here()))
    assert loaded == [one, other]
    held_model(other)
    assert len(loaded) == 2
    release_model()
    held_model(other)
    assert len(loaded) == 3
