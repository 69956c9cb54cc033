"""PPO-ptx as one writes it with transformers alone: the peer of the PPO row, since trl and OpenRLHF have none on a CPU.

Four models of their own (policy, reference, reward, value), batches padded, `generate` for sampling, one step of
Adam per minibatch. It has what a careful author would do: sampling, reference and reward in bf16, training under
autocast with float32 weights, logits of the responses only, the key-value cache.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from work import LR, PPO_MINIBATCHES, PPO_PTX_TOKENS, PPO_SAMPLES, PPO_TOKENS, Pair, Result, reward_head

PAD, KL_COEF, GAMMA, LAM, CLIP, PTX = 0, 0.05, 1.0, 0.95, 0.2, 0.1


def ppo(model: str, pairs: list[Pair]) -> Result:
    """One step: every prompt's samples, their rewards and advantages, one pass of minibatches with a ptx term."""
    from transformers import AutoModelForCausalLM

    low = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    reference = copy.deepcopy(policy).to(low).requires_grad_(False)
    reward = copy.deepcopy(policy.model).to(low).requires_grad_(False)
    sampler = copy.deepcopy(reference)
    value = copy.deepcopy(policy.model)
    score = reward_head(policy.config.hidden_size)
    head = torch.nn.Parameter(torch.zeros(policy.config.hidden_size))
    policy_adam = torch.optim.AdamW(policy.parameters(), lr=LR, weight_decay=0.0, eps=1e-5)
    value_adam = torch.optim.AdamW([*value.parameters(), head], lr=LR, weight_decay=0.0, eps=1e-5)
    texts = [[*one.prompt, *one.chosen] for one in pairs]
    started = time.perf_counter()
    ids, mask = _padded([one.prompt for one in pairs for _ in range(PPO_SAMPLES)])
    sampler.load_state_dict(policy.state_dict())
    with torch.no_grad():
        ids = sampler.generate(
            ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=PPO_TOKENS, min_new_tokens=PPO_TOKENS,
            pad_token_id=PAD,
        )  # fmt: skip
        mask = torch.cat([mask, torch.ones(len(ids), PPO_TOKENS, dtype=mask.dtype)], 1)
        with torch.autocast("cpu", dtype=low):
            old, values = _logprobs(policy, ids, mask), _values(value, head, ids, mask)
        ref = _logprobs(reference, ids, mask)
        scores = reward(ids, attention_mask=mask).last_hidden_state[:, -1].float() @ score
        scores = (scores - scores.mean()) / scores.std()
        rewards = -KL_COEF * (old - ref)
        rewards[:, -1] += scores
        advantages = _gae(rewards, values)
        returns = advantages + values
        advantages = (advantages - advantages.mean()) / advantages.std()
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0)).chunk(PPO_MINIBATCHES)
    losses = []
    for number, some in enumerate(order):
        with torch.autocast("cpu", dtype=low):
            ratio = torch.exp(_logprobs(policy, ids[some], mask[some]) - old[some])
            gain = torch.min(ratio * advantages[some], ratio.clamp(1 - CLIP, 1 + CLIP) * advantages[some])
            loss = -gain.mean() + PTX * _ptx(policy, texts, number)
        loss.backward()
        with torch.autocast("cpu", dtype=low):
            error = (_values(value, head, ids[some], mask[some]) - returns[some]).square()
        (error.mean() / 2).backward()
        for adam in (policy_adam, value_adam):
            torch.nn.utils.clip_grad_norm_([one for group in adam.param_groups for one in group["params"]], 1.0)
            adam.step()
            adam.zero_grad()
        losses.append(loss.item())
    seconds = time.perf_counter() - started
    return Result(len(ids) / seconds, seconds, losses)


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[PAD] * (width - len(one)) + one for one in rows])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in rows])
    return ids, mask


def _logprobs(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities [rows, PPO_TOKENS] of the responses; logits of no other position are computed."""
    logits = model(ids, attention_mask=mask, logits_to_keep=PPO_TOKENS + 1).logits[:, :-1]
    targets = ids[:, -PPO_TOKENS:]
    return -cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def _values(trunk: Any, head: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    hidden = trunk(ids, attention_mask=mask).last_hidden_state[:, -PPO_TOKENS - 1 : -1]
    return hidden.float() @ head


def _gae(rewards: Tensor, values: Tensor) -> Tensor:
    advantages = torch.zeros_like(rewards)
    last = torch.zeros(len(rewards))
    following = torch.zeros(len(rewards))
    for place in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, place] + GAMMA * following - values[:, place]
        last = delta + GAMMA * LAM * last
        advantages[:, place], following = last, values[:, place]
    return advantages


def _ptx(policy: Any, texts: list[list[int]], number: int) -> Tensor:
    """Mean loss per token of about PPO_PTX_TOKENS tokens of plain text."""
    left, chosen = PPO_PTX_TOKENS, []
    for text in texts[number:] + texts[:number]:
        if left <= 1:
            break
        chosen.append(text[:left])
        left -= len(chosen[-1])
    width = max(map(len, chosen))
    ids = torch.tensor([one + [PAD] * (width - len(one)) for one in chosen])
    mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in chosen])
    logits = policy(ids, attention_mask=mask).logits[:, :-1]
    targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    return cross_entropy(logits.float().flatten(0, 1), targets.flatten())
