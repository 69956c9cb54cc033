"""The peers' side of the training benchmark: trl's trainers and transformers' generate, at their best setting here.

Run by `training.py`, one process per measurement, so that memory and caches are a fresh process's. trl on a CPU needs
`use_cpu=True`; bf16 without gradient checkpointing is its fastest setting (references: its default there is float32).
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from work import BATCH, GRPO_SAMPLES, GRPO_TOKENS, LONG_TOKENS, LR, Pair, Result, length_reward


def _arguments(cls: Any, folder: str, **more: Any) -> Any:
    common: dict[str, Any] = {
        "output_dir": folder, "use_cpu": True, "bf16": torch.cpu._is_avx512_bf16_supported(),
        "gradient_checkpointing": False, "per_device_train_batch_size": BATCH, "num_train_epochs": 1,
        "learning_rate": LR, "lr_scheduler_type": "constant", "warmup_steps": 0, "max_grad_norm": 1.0,
        "logging_steps": 1, "save_strategy": "no", "report_to": [], "seed": 0, "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }  # fmt: skip
    if cls.__name__ != "GRPOConfig":
        # The rows come in the order of our batches; nothing is cut.
        common |= {"max_length": None, "train_sampling_strategy": "sequential"}
    return cls(**common | more)


def _train(trainer: Any, examples: int) -> Result:
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return Result(examples / seconds, seconds, losses)


def sft(model: str, pairs: list[Pair]) -> Result:
    """trl's SFTTrainer on the same token ids, loss on the completion only."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [
        {
            "input_ids": [*one.prompt, *one.chosen],
            "completion_mask": [0] * len(one.prompt) + [1] * len(one.chosen),
        }
        for one in pairs
    ]
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(SFTConfig, folder, completion_only_loss=True)
        trainer = SFTTrainer(
            lm,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        return _train(trainer, len(pairs))


def reward(model: str, pairs: list[Pair]) -> Result:
    """trl's RewardTrainer on the same token ids."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    rows = [{"chosen_ids": [*one.prompt, *one.chosen], "rejected_ids": [*one.prompt, *one.rejected]} for one in pairs]
    lm = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(RewardConfig, folder)
        trainer = RewardTrainer(
            lm,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        return _train(trainer, len(pairs))


def dpo(model: str, pairs: list[Pair]) -> Result:
    """trl's DPOTrainer on the same texts."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [
        {
            "prompt": tokenizer.decode(one.prompt),
            "chosen": tokenizer.decode(one.chosen[:-1]),  # trl adds the end-of-sequence token itself
            "rejected": tokenizer.decode(one.rejected[:-1]),
        }
        for one in pairs
    ]
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(DPOConfig, folder, beta=0.1)
        trainer = DPOTrainer(lm, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        return _train(trainer, len(pairs))


def grpo(model: str, pairs: list[Pair], tokens: int = GRPO_TOKENS) -> Result:
    """trl's GRPOTrainer: one step, 8 completions of exactly so many tokens for each prompt."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [{"prompt": tokenizer.decode(one.prompt)} for one in pairs]
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    completions = len(pairs) * GRPO_SAMPLES
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(
            GRPOConfig, folder, per_device_train_batch_size=completions // 4, gradient_accumulation_steps=4,
            num_generations=GRPO_SAMPLES, max_completion_length=tokens, beta=0.04, max_steps=1, loss_type="grpo",
            generation_kwargs={"min_new_tokens": tokens},
        )  # fmt: skip
        trainer = GRPOTrainer(
            lm, reward_funcs=length_reward, args=arguments, train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )  # fmt: skip
        return _train(trainer, completions)


def grpo_long(model: str, pairs: list[Pair]) -> Result:
    """The same with prompts of 200 tokens and completions of 64."""
    return grpo(model, pairs, LONG_TOKENS)


def sampling(model: str, prompts: list[list[int]], new_tokens: int) -> Result:
    """transformers' generate in bf16 with left padding, every row to its full length."""
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])

    def generate(tokens: int) -> None:
        lm.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )

    generate(4)
    started = time.perf_counter()
    generate(new_tokens)
    seconds = time.perf_counter() - started
    return Result(len(prompts) * new_tokens / seconds, seconds, [])
