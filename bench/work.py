"""One measurement of the training benchmark in a process of its own: `python bench/work.py SIDE ROW ...`, JSON out."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

BATCH, LR, EXAMPLES, LONGEST, NEW_TOKENS = 8, 1e-5, 64, 256, 64
GRPO_PROMPTS, GRPO_SAMPLES, GRPO_TOKENS = 16, 8, 48
LONG_PROMPTS, LONG_LENGTH, LONG_TOKENS = 8, 200, 64
PPO_PROMPTS, PPO_SAMPLES, PPO_TOKENS, PPO_MINIBATCHES, PPO_PTX_TOKENS = 16, 4, 48, 4, 256


@dataclass(frozen=True)
class Pair:
    """A comparison as token ids."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass
class Result:
    """What one measurement found: the rate per second, its seconds, the training losses, and the tokens computed."""

    rate: float
    seconds: float
    losses: list[float]
    flops: float = 0.0
    tokens: int = 0
    peak: float = 0.0
    memory: int = 0


def read_pairs(data: str, lm: object) -> list[Pair]:
    """The first comparisons of an hh-rlhf file whose sides are both short enough."""
    from kilter.feedback import read_preferences

    pairs = []
    for one in read_preferences(data):
        prompt = lm.encode_prompt(one.prompt)  # type: ignore[attr-defined]
        chosen, rejected = (lm.encode_response(text) for text in (one.best, one.worst))  # type: ignore[attr-defined]
        if len(prompt) + max(len(chosen), len(rejected)) <= LONGEST:
            pairs.append(Pair(prompt, chosen, rejected))
        if len(pairs) == EXAMPLES:
            return pairs
    raise SystemExit(f"{data} holds only {len(pairs)} comparisons of at most {LONGEST} tokens; {EXAMPLES} are needed.")


def ours_sft(model: str, pairs: list[Pair]) -> Result:
    """Kilter's train_sft, every weight, same batches."""
    from kilter.models import Item, load
    from kilter.training import SFTSettings, train_sft

    lm = load(model)
    settings = SFTSettings(lr=LR, batch_size=BATCH, lora=None, schedule="constant", warmup=0, checkpoint_seconds=10_000)
    items = [Item(one.prompt, [one.chosen]) for one in pairs]
    return _ours(lambda folder, watch: train_sft(lm, items, settings, folder, progress=watch), len(pairs))


def ours_reward(model: str, pairs: list[Pair]) -> Result:
    """Kilter's train_reward, every weight, same batches."""
    from kilter.models import Item, load
    from kilter.training import RankedItem, RewardSettings, train_reward

    lm = load(model)
    settings = RewardSettings(
        lr=LR, head_lr_factor=1, batch_size=BATCH, lora=None, schedule="constant", warmup=0, smoothing=0,
        checkpoint_seconds=10_000, probe=False, pooling="last",
    )  # fmt: skip
    items = [RankedItem(Item(one.prompt, [one.chosen, one.rejected]), ((0, 1),)) for one in pairs]
    return _ours(lambda folder, watch: train_reward(lm, items, settings, folder, progress=watch)[1], len(pairs))


def ours_dpo(model: str, pairs: list[Pair]) -> Result:
    """Kilter's train_dpo, every weight, same batches; the pass for the reference counts, loading and saving do not."""
    from kilter.models import Item, load
    from kilter.training import DPOSettings, RankedItem, train_dpo

    lm = load(model)
    settings = DPOSettings(lr=LR, batch_size=BATCH, lora=None, schedule="constant", warmup=0, checkpoint_seconds=10_000)
    items = [RankedItem(Item(one.prompt, [one.chosen, one.rejected]), ((0, 1),)) for one in pairs]
    return _ours(lambda folder, watch: train_dpo(lm, items, settings, folder, progress=watch), len(pairs), whole=True)


def ours_grpo(model: str, pairs: list[Pair], tokens: int = GRPO_TOKENS) -> Result:
    """Kilter's train_grpo, every weight: one step, 8 completions of exactly so many tokens for each prompt."""
    from kilter.models import load
    from kilter.training import GRPOSettings, train_grpo

    lm = load(model)
    lm.__dict__["eos_ids"] = frozenset()
    prompts = [one.prompt for one in pairs]
    lm.encode_prompt = lambda number: prompts[int(number)]  # type: ignore[method-assign, assignment, arg-type]
    settings = GRPOSettings(
        lr=LR, steps=1, prompts=len(prompts), samples=GRPO_SAMPLES, max_new_tokens=tokens, kl_coef=0.04,
        kl_gradient="k3", lora=None, schedule="constant", warmup=0, checkpoint_seconds=10_000,
    )  # fmt: skip
    names = [str(number) for number in range(len(prompts))]
    count = len(prompts) * GRPO_SAMPLES
    return _ours(
        lambda folder, watch: train_grpo(lm, names, length_reward, settings, folder, progress=watch), count, whole=True,
        metric="policy_loss",
    )  # fmt: skip


def ours_grpo_long(model: str, pairs: list[Pair]) -> Result:
    """The same with prompts of 200 tokens and completions of 64."""
    return ours_grpo(model, pairs, LONG_TOKENS)


def long_prompts(pairs: list[Pair], tokenizer: object) -> list[Pair]:
    """Prompts of about LONG_LENGTH tokens, made of several, as ids that a tokenizer finds in their text too."""
    made: list[Pair] = []
    ids: list[int] = []
    for one in pairs:
        ids = [*ids, *one.prompt, *one.chosen[:-1]]
        if len(ids) >= LONG_LENGTH:
            text = tokenizer.decode(ids[:LONG_LENGTH])  # type: ignore[attr-defined]
            made.append(Pair(tokenizer(text)["input_ids"], [], []))  # type: ignore[operator]
            ids = []
    return made[:LONG_PROMPTS]


def ours_ppo(model: str, pairs: list[Pair]) -> Result:
    """Kilter's train_ppo, every weight of policy and value model: one step, responses of exactly 48 tokens."""
    from kilter.models import load
    from kilter.models.scalar import ScalarModel
    from kilter.training import PPOSettings, make_models, train_ppo

    lm = load(model)
    lm.__dict__["eos_ids"] = frozenset()
    reward = ScalarModel.create(load(model), None)
    reward.head.data.copy_(reward_head(lm.hidden_size))
    settings = PPOSettings(
        lr=LR, value_lr=LR, steps=1, prompts=len(pairs), samples=PPO_SAMPLES, max_new_tokens=PPO_TOKENS,
        minibatches=PPO_MINIBATCHES, ptx_tokens=PPO_PTX_TOKENS, lora=None, schedule="constant", warmup=0,
        checkpoint_seconds=10_000, max_kl=1e6,
    )  # fmt: skip
    models = make_models(lm, reward, settings)
    prompts, texts = [one.prompt for one in pairs], [[*one.prompt, *one.chosen] for one in pairs]
    count = len(prompts) * PPO_SAMPLES
    return _ours(
        lambda folder, watch: train_ppo(models, prompts, settings, folder, texts=texts, progress=watch), count,
        whole=True, metric="policy_loss",
    )  # fmt: skip


def reward_head(size: int) -> Tensor:
    """The read-out of the PPO rows' reward model, [size]: any direction will do."""
    import torch

    return torch.randn(size, generator=torch.Generator().manual_seed(0)) / size**0.5


def length_reward(prompts: object, completions: list[str], **_: object) -> list[float]:
    """The reward of the GRPO rows: how many characters."""
    return [float(len(one)) for one in completions]


def _ours(train: object, examples: int, *, whole: bool = False, metric: str = "loss") -> Result:
    losses: list[float] = []
    ends: list[float] = []

    def watch(stage: str, step: int, total: int, metrics: object) -> None:
        losses.append(metrics[metric])  # type: ignore[index]
        ends.append(time.perf_counter())

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(Path(folder), watch)  # type: ignore[operator]
    if whole:
        seconds = ends[-1] - started
        return Result(examples / seconds, seconds, losses, result["flops"], result["tokens"])
    # The loop's own seconds: the steps, without writing the trained model, as trl's save_strategy="no".
    return Result(examples / result["seconds"], result["seconds"], losses, result["flops"], result["tokens"])


def ours_sampling(model: str, prompts: list[list[int]], new_tokens: int) -> Result:
    """Kilter's sample, with no token that ends a row, so that every row has its full length."""
    from kilter.models import load, sample

    lm = load(model)
    lm.__dict__["eos_ids"] = frozenset()
    sample(lm, prompts, max_new_tokens=4)
    started = time.perf_counter()
    sample(lm, prompts, max_new_tokens=new_tokens)
    seconds = time.perf_counter() - started
    return Result(len(prompts) * new_tokens / seconds, seconds, [])


def main() -> None:
    """Measure and print one JSON line."""
    side, row, model, data = sys.argv[1:5]
    sys.path.insert(0, str(Path(__file__).parent))
    import peers
    import plain_ppo
    import torch

    from kilter.models import has_bfloat16
    from kilter.models.catalogue import resolve
    from kilter.models.language_model import LanguageModel
    from kilter.models.peak import gemm_peak

    dtype = torch.bfloat16 if has_bfloat16() else torch.float32
    peak = gemm_peak(dtype)
    folder = str(resolve(model))
    from transformers import AutoTokenizer

    encoder = LanguageModel.__new__(LanguageModel)
    encoder.tokenizer, encoder.name, encoder.path = AutoTokenizer.from_pretrained(folder), model, Path(folder)
    pairs = read_pairs(data, encoder)
    if row.startswith("sampling"):
        batch = int(row.split("-")[1])
        prompts = [one.prompt for one in pairs[:batch]]
        run = ours_sampling if side == "ours" else peers.sampling
        result = run(folder, prompts, NEW_TOKENS)
    else:
        if row == "grpo-long":
            pairs = long_prompts(pairs, encoder.tokenizer)
        elif row in ("grpo", "ppo"):
            pairs = pairs[: GRPO_PROMPTS if row == "grpo" else PPO_PROMPTS]
        elif side == "peer":
            from kilter.training.seeds import batch_indices

            steps = len(pairs) // BATCH
            pairs = [pairs[index] for step in range(steps) for index in batch_indices(len(pairs), BATCH, step, 0)]
        functions = {
            "ours": {
                "sft": ours_sft, "reward": ours_reward, "dpo": ours_dpo, "grpo": ours_grpo,
                "grpo-long": ours_grpo_long, "ppo": ours_ppo,
            },
            "peer": {
                "sft": peers.sft, "reward": peers.reward, "dpo": peers.dpo, "grpo": peers.grpo,
                "grpo-long": peers.grpo_long, "ppo": plain_ppo.ppo,
            },
        }  # fmt: skip
        result = functions[side][row](folder, pairs)
    result.peak = max(peak, gemm_peak(dtype))
    result.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
