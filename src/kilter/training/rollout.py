"""Rollouts: responses sampled from the policy, with what every policy gradient needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from pydantic import Field, model_validator
from torch import Tensor

from kilter.models import Item, Packed, Response, pack, packed_logprobs, processes
from kilter.models.flops import decode_flops, forward_flops
from kilter.training.episodes import Draw, Episode
from kilter.training.guards import require_entropy, require_finite, require_kl_within
from kilter.training.importance import importance_metrics, importance_weights
from kilter.training.loop import Loop
from kilter.training.losses import kl_k3
from kilter.training.policy import Policy
from kilter.training.sampler import ServerSampler, ServerSettings
from kilter.training.seeds import derive_seed, permutation
from kilter.training.settings import LoraSettings, OptimizerSettings
from kilter.training.shares import own_batches, read_items, sample_together

Play = Callable[[Draw, int], list[list[Response]]]
"""Makes the step's episodes of (draw, seed)."""


class RolloutSettings(ServerSettings, OptimizerSettings):
    """Settings of every algorithm that learns from its own samples."""

    lr: float = Field(1e-4, gt=0, description="Peak learning rate of the policy.")
    steps: int = Field(25, ge=1, description="Rounds of sampling and improving.")
    prompts: int = Field(8, ge=1, description="Prompts per step.")
    samples: int = Field(4, ge=1, description="Responses per prompt.")
    max_new_tokens: int = Field(48, ge=1, description="Longest response.")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature; the loss uses the same.")
    epochs: int = Field(1, ge=1, description="Passes over each batch of responses.")
    minibatches: int = Field(2, ge=1, description="Updates per pass.")
    max_kl: float = Field(60.0, gt=0, description="Stop when the KL per response exceeds this.")
    min_entropy: float = Field(0.02, ge=0, description="Stop when the entropy per token falls below this.")
    stop_kl: float | None = Field(None, gt=0, description="End the run, policy kept, beyond this KL per response.")
    monitor: str | None = Field(None, description="Held-out judge among what observe returns: names reward hacking.")
    patience: int | None = Field(None, ge=1, description="End, best policy kept, so long after the judge's best steps.")
    length_coef: float = Field(0.0, description="Taken from the reward of a response of full length; less of shorter.")
    lora: LoraSettings | None = Field(LoraSettings(), description="Adapter settings; null trains every weight.")

    @model_validator(mode="after")
    def _monitored(self) -> RolloutSettings:
        if self.patience is not None and self.monitor is None:
            raise ValueError("patience has no effect without monitor; name the held-out judge there")
        return self

    @property
    def on_policy(self) -> bool:
        """Whether each rollout is used for one update only, so that the policy that sampled is the one that learns."""
        return self.epochs * self.minibatches == 1

    @property
    def longest(self) -> int:
        """Tokens that a response can have."""
        return self.max_new_tokens

    @property
    def updates(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps * self.epochs * self.minibatches


@dataclass
class Rollout:
    """Responses of one step; per-token tensors are [M] in pack order, per-response ones [R].

    Attributes:
        items: one per prompt, with its responses.
        packed: all items in one row.
        responses: as they were sampled, [R].
        old, ref: [M] log-probabilities under the policy that sampled and under the reference.
        sampled: [M] the sampler's own log-probabilities; NaN where a server gave none.
        importance: [M] weight of each token in the policy gradient: 1, unless a server sampled (`importance.py`).
    """

    items: list[Item]
    packed: Packed
    responses: list[Response]
    old: Tensor
    ref: Tensor
    sampled: Tensor
    importance: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.importance = torch.ones_like(self.old)

    @property
    def kl(self) -> float:
        """Mean over responses of the log-ratio to the reference, an estimate of the KL in nats."""
        return float((self.old - self.ref).sum()) / len(self.responses)

    @property
    def counts(self) -> list[int]:
        """Tokens of each response, [R]."""
        counts: list[int] = self.packed.counts.tolist()
        return counts

    @property
    def finished(self) -> Tensor:
        """Whether each response ended by itself, [R] bool."""
        return torch.tensor([one.finished for one in self.responses], device=self.old.device)

    def ranges(self) -> tuple[list[Tensor], list[Tensor]]:
        """For each item, where its tokens lie among the M, and its responses among the R."""
        counts, tokens, responses = self.counts, [], []
        token = response = 0
        for item in self.items:
            length = sum(counts[response : response + len(item.responses)])
            tokens.append(torch.arange(token, token + length))
            responses.append(torch.arange(response, response + len(item.responses)))
            token, response = token + length, response + len(item.responses)
        return tokens, responses


def rollout_items(prompts: Sequence[Sequence[int]], settings: RolloutSettings, context: int) -> list[Item]:
    """The longest items that can come of these prompts, as token ids that stand for any.

    An episode ends where the context has no room for another reply; a first reply beyond it is for `check_lengths` to
    refuse.
    """
    items = []
    for prompt in prompts:
        longest = max(settings.max_new_tokens, min(settings.longest, context - len(prompt)))
        items.append(Item(prompt, [[0] * longest] * settings.samples))
    return items


def sample_responses(
    policy: Policy, prompts: Sequence[Sequence[int]], settings: RolloutSettings, step: int, loop: Loop,
    server: ServerSampler | None = None, play: Play | None = None,
) -> list[list[Response]]:  # fmt: skip
    """The step's responses, by the newest policy here or on a server: for each prompt, `settings.samples` of them.

    With `play` they are episodes.
    """
    draw = sample_together if server is None else server.sample
    if server is not None:
        server.send(policy)
    with policy.active():
        seed = derive_seed(settings.seed, "rollout", step)
        drawn = partial(draw, policy.lm, max_new_tokens=settings.max_new_tokens, temperature=settings.temperature)
        responses = play(drawn, seed) if play is not None else drawn(prompts, n=settings.samples, seed=seed)
    flat = [one for group in responses for one in group]
    context = sum(map(len, prompts)) / len(prompts) + sum(len(one.tokens) for one in flat) / (2 * len(flat))
    sampled = sum(len(one.logprobs) for one in flat)  # an episode has tokens of its environment too
    if processes.is_main():  # counts for all
        loop.compute.add(decode_flops(policy.lm, sampled, context), sampled)
    return responses


def sampled_items(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[Response]]) -> list[Item]:
    """Each prompt with its responses."""
    items = []
    for prompt, group in zip(prompts, responses, strict=True):
        learn = [one.learn for one in group if isinstance(one, Episode)]
        items.append(Item(prompt, [one.tokens for one in group], learn or None))
    return items


@torch.no_grad()
def read_rollout(
    policy: Policy, reference: Policy, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[Response]],
    settings: RolloutSettings, step: int, loop: Loop, *, score: bool = True,
) -> tuple[Rollout, dict[str, float]]:  # fmt: skip
    """Log-probabilities of the responses under policy and reference, with the metrics that every method logs.

    Args:
        score: whether the policy's log-probabilities are computed here. Where the update's own forward pass computes
            the same, the sampler's stand in for them, and the update calls `agreement` and `require_entropy`.

    Raises:
        TrainingStopped: the KL is not finite or beyond its bound, or the entropy has collapsed.
    """
    flat = [one for group in responses for one in group]
    items = sampled_items(prompts, responses)
    packed = pack(items, policy.lm.device)
    sampled = torch.tensor([one for response in flat for one in response.logprobs], device=policy.lm.device)
    old, metrics = sampled, {}
    sizes = [item.targets for item in items]

    def read(who: Policy, entropy: bool) -> list[Tensor]:
        with who.active():
            return read_items(
                items, who.lm.device, settings.max_tokens,
                lambda part: packed_logprobs(who.lm, part, temperature=settings.temperature, entropy=entropy), sizes,
            )  # fmt: skip

    if score:
        old, entropy = read(policy, True)
        metrics = {"entropy": float(entropy.mean()), **agreement(old, sampled, len(sampled))}
        require_entropy(metrics["entropy"], settings.min_entropy, step)
    ref, _ = read(reference, False)
    if processes.is_main():  # counts for all
        start = policy.lm.starts_at(packed, policy.adapter)
        flops = forward_flops(policy.lm, packed, labels=packed.targets.numel(), start=start)
        loop.compute.add((1 + score) * flops, packed.size)
    rollout = Rollout(items, packed, flat, old, ref, sampled)
    if settings.server is not None:
        rollout.importance = importance_weights(old, sampled)
        metrics |= importance_metrics(rollout.importance)
    require_finite("KL", rollout.kl, step)
    require_kl_within(rollout.kl, settings.max_kl, step)
    return rollout, {
        "kl": rollout.kl,
        "kl_k3": float(kl_k3(old, ref).sum()) / len(flat),
        "length": sum(rollout.counts) / len(flat),
        "finished": float(rollout.finished.float().mean()),
        **metrics,
    }


def agreement(trainer: Tensor, sampled: Tensor, tokens: int) -> dict[str, float]:
    """Sampler and trainer should give the same tokens the same probability: mean ratio, and typical difference.

    Sums over the tokens given, divided by `tokens`, so that parts of a batch add up.
    """
    gap = trainer.detach() - sampled
    return {"agreement": float(torch.exp(gap).sum()) / tokens, "disagreement": float(gap.abs().sum()) / tokens}


def minibatches(size: int, settings: RolloutSettings, step: int) -> Iterator[tuple[int, list[int]]]:
    """Number of the update in the whole run, and the numbers of its items; every item once per epoch."""
    per_epoch = min(settings.minibatches, size)
    for update in range(settings.epochs * per_epoch):
        epoch, part = divmod(update, per_epoch)
        order = permutation(size, settings.seed, "minibatch", step, epoch)
        yield step * settings.epochs * settings.minibatches + update, order[part::per_epoch]


def micro_packs(
    rollout: Rollout, chosen: Sequence[int], settings: RolloutSettings
) -> Iterator[tuple[Packed, Tensor, Tensor]]:
    """Cut the items `chosen` into packs that memory can hold, with where their tokens and responses are."""
    tokens, responses = rollout.ranges()
    device = rollout.old.device
    for indices in own_batches([rollout.items[number].length for number in chosen], settings.max_tokens):
        numbers = [chosen[index] for index in indices]
        packed = pack([rollout.items[number] for number in numbers], device)
        yield (
            packed,
            torch.cat([torch.arange(0), *(tokens[number] for number in numbers)]).to(device),
            torch.cat([torch.arange(0), *(responses[number] for number in numbers)]).to(device),
        )
