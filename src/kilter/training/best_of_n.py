"""Learning from the best of one's own samples: rejection sampling, best-of-n distillation, expert iteration.

One round: sample n responses to each prompt, keep the best by the reward, fine-tune on them. One round is best-of-n
distillation, or rejection sampling as in Llama 2 (arXiv 2307.09288, section 3.2.3); several are expert iteration. What
was kept lies in `folder/round-N/kept.jsonl`, so that a killed run neither samples nor trains anything twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from kilter.errors import DataError
from kilter.models import Item, LanguageModel
from kilter.training.loop import Progress, no_progress, replace_file, write_json
from kilter.training.policy import Policy
from kilter.training.rewards import Prompt, Rewards, Weighted, as_weighted, described, reward_of
from kilter.training.sampler import ServerSampler, ServerSettings, open_sampler
from kilter.training.seeds import derive_seed
from kilter.training.settings import fingerprint, weights_digest
from kilter.training.sft import SFTSettings, check_lengths, train_sft
from kilter.training.shares import sample_together

PROMPTS_AT_ONCE = 16


class BestOfNSettings(ServerSettings, SFTSettings):
    """Best-of-n distillation; several rounds are expert iteration."""

    rounds: int = Field(1, ge=1, description="Rounds of sampling, choosing and fine-tuning.")
    samples: int = Field(8, ge=2, description="Responses per prompt, of which the best is kept.")
    max_new_tokens: int = Field(64, ge=1, description="Longest response.")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature.")


def train_best_of_n(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    reward: Rewards,
    settings: BestOfNSettings,
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Fine-tune `lm` on the best of its own samples; the trained policy is active and lies in `folder/model`.

    Only responses that ended by themselves are kept; a prompt whose samples all got the same reward teaches nothing and
    is left out.

    Args:
        prompts: texts or chats.
        reward: as for `train_grpo`.

    Returns:
        Per round, under "rounds": mean reward of all samples and of those kept, how many were kept, the final loss.

    Raises:
        DataError: there are no prompts, a reward is not a finite number, or no sample can be kept.
        TrainingStopped: the loss or a gradient is not finite.
    """
    rewards = as_weighted(reward)
    encoded = [lm.encode_prompt(prompt) for prompt in prompts]
    check_lengths([Item(prompt, [[0] * settings.max_new_tokens]) for prompt in encoded], lm)
    own = SFTSettings(**{name: getattr(settings, name) for name in SFTSettings.model_fields})
    results = []
    for number in range(settings.rounds):
        place = folder / f"round-{number + 1}"
        start = weights_digest(Policy(lm, lm.adapters.active).parameters())
        identity = fingerprint("best_of_n", settings, encoded, lm.weights_hash, start, described(rewards), number)
        kept = _read(place / "kept.jsonl", identity)
        if kept is None:
            with open_sampler(settings, place) as server:
                if server is not None and (number or lm.adapters.active is not None):
                    server.send(Policy(lm, lm.adapters.active))  # else it is the model that the server began with
                kept = _choose(lm, prompts, encoded, rewards, settings, number, server)
                kept |= server.result() if server is not None else {}  # its note, if any
            place.mkdir(parents=True, exist_ok=True)
            _write(place / "kept.jsonl", identity, kept)
        items = [Item(encoded[prompt], [tokens]) for prompt, tokens in kept["items"]]
        trained = train_sft(lm, items, own.model_copy(update={"seed": own.seed + number}), place, progress=progress)
        shown = {key: kept[key] for key in ("mean", "best", "note") if key in kept}
        results.append(shown | {"kept": len(items), "loss": trained["loss"]})
    Policy(lm, lm.adapters.active).save(folder / "model")
    write_json(folder / "result.json", {"rounds": results})
    return {"rounds": results}


def _choose(
    lm: LanguageModel, prompts: Sequence[Prompt], encoded: Sequence[Sequence[int]], rewards: Sequence[Weighted],
    settings: BestOfNSettings, number: int, server: ServerSampler | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Sample, and keep each prompt's best finished response."""
    draw = sample_together if server is None else server.sample
    items: list[tuple[int, list[int]]] = []
    every: list[float] = []
    best: list[float] = []
    for first in range(0, len(encoded), PROMPTS_AT_ONCE):
        some = encoded[first : first + PROMPTS_AT_ONCE]
        groups = draw(
            lm, some, n=settings.samples, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature,
            seed=derive_seed(settings.seed, "best-of-n", number, first),
        )  # fmt: skip
        tokens = [Item(prompt, [one.tokens for one in group]) for prompt, group in zip(some, groups, strict=True)]
        given = [prompts[first + index] for index, group in enumerate(groups) for _ in group]
        flat = [one for group in groups for one in group]
        values, _ = reward_of(rewards, tokens, flat, given, settings.max_tokens)
        every += values.tolist()
        for index, (group, row) in enumerate(zip(groups, values.view(-1, settings.samples).tolist(), strict=True)):
            ended = [place for place, one in enumerate(group) if one.finished]
            if not ended or max(row) - min(row) < 1e-9:
                continue
            place = max(ended, key=row.__getitem__)
            items.append((first + index, group[place].tokens))
            best.append(row[place])
    if not items:
        raise DataError(
            f"None of the {len(every)} samples can be kept: for every prompt all {settings.samples} got the same "
            f"reward, or none ended within {settings.max_new_tokens} tokens. Check the reward on two different "
            "responses, or raise max_new_tokens."
        )
    return {"items": items, "mean": sum(every) / len(every), "best": sum(best) / len(best)}


def _write(file: Path, identity: str, kept: dict[str, Any]) -> None:
    head = {"fingerprint": identity} | kept | {"items": len(kept["items"])}
    rows = [{"prompt": prompt, "tokens": tokens} for prompt, tokens in kept["items"]]
    replace_file(file, "".join(json.dumps(row) + "\n" for row in (head, *rows)))


def _read(file: Path, identity: str) -> dict[str, Any] | None:
    """What an earlier run kept in this round, if it was the same run."""
    if not file.exists():
        return None
    head, *rows = map(json.loads, file.read_text().splitlines())
    if head["fingerprint"] != identity:
        return None
    return {**head, "items": [(row["prompt"], row["tokens"]) for row in rows]}
