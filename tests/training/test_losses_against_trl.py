"""Each loss against trl's own code, in value and in gradient, for the same logits.

Kilter's side is what the trainers run: their `_accumulate` or `_backward` over packed micro-batches. trl's side is the
method of its trainer, on the same responses in padded rows. Both read one model of one table (`Table`), in float64.
What trl defines otherwise is said in the test's docstring, and that relation is what is asserted. trl 1.16 has no PPO
(value loss, GAE), no process reward model and no REINFORCE++; for these there are the references of `test_losses.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kilter.models import Item, LanguageModel, Packed, Response, pack
from kilter.training import (
    DPOSettings,
    GRPOSettings,
    KTOSettings,
    MarkedItem,
    OnlineDPOSettings,
    Policy,
    PPOSettings,
    RankedItem,
    RewardSettings,
    SFTSettings,
    dpo,
    grpo,
    kto,
    online_dpo,
    ppo,
    reward,
    rollout_loop,
    sft,
)
from kilter.training.loop import Loop
from kilter.training.rollout import Rollout, RolloutSettings, read_rollout

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of trl and transformers, about themselves

WORDS, LENGTH = 11, 12
EXACT = 1e-10
Row = tuple[Sequence[int], Sequence[int]]  # a prompt and one response

PAIRS = [  # prompts and responses of different lengths, so that every way to normalize gives another number
    RankedItem(Item([3, 4], [[5, 6, 7, 2], [8, 2]]), ((0, 1),), margin=0.5),
    RankedItem(Item([9], [[4, 2], [3, 3, 3, 3, 6, 2]]), ((0, 1),)),
    RankedItem(Item([7, 8, 9, 10], [[2], [10, 5, 2]]), ((1, 0),), margin=1.25),
]
GROUPS = [  # three samples of each of two prompts
    Item([3, 4], [[5, 6, 7, 2], [8, 2], [8, 9, 10, 3, 3]]),
    Item([9], [[4, 2], [3, 3, 3, 3, 6, 2], [2]]),
]


class Table:
    """A model of one table: the next token's logits by the last token and its position.

    What trl calls: `model(input_ids, attention_mask, labels=..., fused_lm_head=True)`; here padding has no position.
    """

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(WORDS, LENGTH, WORDS, generator=generator, dtype=torch.float64).requires_grad_()
        self.training = False

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, **_: Any
    ) -> SimpleNamespace:
        logits = self.weight[input_ids, (attention_mask.cumsum(1) - 1).clamp(min=0)]
        if labels is None:
            return SimpleNamespace(logits=logits)
        wanted = labels[:, 1:]
        each = logits[:, :-1].log_softmax(-1).gather(2, wanted.clamp(min=0)[..., None])[..., 0]
        nothing = torch.zeros_like(each)
        return SimpleNamespace(
            log_probs=each.masked_fill(wanted == -100, 0), label_mask=wanted != -100,
            entropy=nothing, mean_logits=nothing, is_top1=nothing.bool(),
        )  # fmt: skip

    def train(self) -> None:
        """trl calls it."""

    def packed_logprobs(self, _: Any, packed: Packed, **__: Any) -> tuple[Tensor, Tensor]:
        """What Kilter calls instead of `kilter.models.packed_logprobs`."""
        logits = self.weight[packed.tokens[packed.sources], packed.positions[packed.sources]]
        each = logits.log_softmax(-1).gather(1, packed.targets[:, None])[:, 0]
        return each, torch.zeros_like(each)


@pytest.fixture
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def trl() -> Any:
    return pytest.importorskip("trl")


@pytest.fixture
def table(_double: None, monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    for module in (sft, dpo, kto, ppo, rollout_loop):
        monkeypatch.setattr(module, "packed_logprobs", made.packed_logprobs)
    return made


@pytest.fixture
def loop(_double: None, tmp_path: Path) -> Loop:
    return Loop(tmp_path, "test", 1, "print", {})


POLICY: Any = SimpleNamespace(
    lm=SimpleNamespace(device="cpu", starts_at=lambda *_: 0), adapter=None, train_flops=lambda _: 0.0,
    active=nullcontext,
)  # fmt: skip


def trainer(kind: Any, model: Any, **attributes: Any) -> Any:
    """A trainer of trl's that was not constructed, but has what its loss reads."""
    from accelerate import Accelerator

    made = kind.__new__(kind)
    vars(made).update(
        model=model, accelerator=Accelerator(cpu=True), aux_loss_enabled=False, _total_train_tokens=0, _tp_size=1,
        _metrics=defaultdict(lambda: defaultdict(list)), **attributes,
    )  # fmt: skip
    return made


def padded(rows: Sequence[Row], *, left: bool = False) -> dict[str, Tensor]:
    """Rows as trl collates them: padded on the right, or the prompts (with `left`) on the left."""
    before = max(len(prompt) for prompt, _ in rows)
    after = max(len(response) for _, response in rows)
    width = max(len(prompt) + len(response) for prompt, response in rows)
    shape = (len(rows), before + after if left else width)
    tokens, mask, completion = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for number, (prompt, response) in enumerate(rows):
        start = before - len(prompt) if left else 0
        middle, end = start + len(prompt), start + len(prompt) + len(response)
        tokens[number, start:end] = torch.tensor([*prompt, *response])
        mask[number, start:end] = 1
        completion[number, middle:end] = 1
    if not left:
        return {"input_ids": tokens, "attention_mask": mask, "completion_mask": completion}
    return {
        "prompt_ids": tokens[:, :before], "prompt_mask": mask[:, :before],
        "completion_ids": tokens[:, before:], "completion_mask": completion[:, before:],
    }  # fmt: skip


def rows_of(items: Sequence[Item]) -> list[Row]:
    return [(item.prompt, response) for item in items for response in item.responses]


def sides(pairs: Sequence[RankedItem] = PAIRS) -> tuple[list[Row], list[Row]]:
    """Chosen and rejected."""
    both = [(one.item.responses[a], one.item.responses[b]) for one in pairs for a, b in one.pairs]
    prompts = [one.item.prompt for one in pairs]
    chosen, rejected = ([(prompt, two[side]) for prompt, two in zip(prompts, both, strict=True)] for side in (0, 1))
    return chosen, rejected


def summed(model: Table, rows: Sequence[Row]) -> Tensor:
    """Log-probability of each response [R], without gradient."""
    packed = pack([Item(prompt, [response]) for prompt, response in rows])
    return packed.summed(model.packed_logprobs(None, packed)[0]).detach()


def pulled(weight: Tensor, loss: Callable[[], Any]) -> tuple[float, Tensor]:
    """A loss, and the gradient that it, or its own backward pass, leaves."""
    weight.grad = None
    value = loss()
    if isinstance(value, Tensor) and value.requires_grad:
        value.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    return float(torch.as_tensor(value).detach()), weight.grad.clone()


def assert_same(weight: Tensor, ours: Callable[[], Any], theirs: Callable[[], Any], rel: float = EXACT) -> None:
    (value, gradient), (expected, push) = pulled(weight, ours), pulled(weight, theirs)
    assert float(push.norm()) > 0
    assert value == pytest.approx(expected, rel=rel)
    torch.testing.assert_close(gradient, push, rtol=rel, atol=rel * float(push.abs().max()))


# Supervised fine-tuning


def test_sft_in_micro_batches(trl: Any, table: Table, loop: Loop) -> None:
    """Mean over the learned tokens of a batch that both cut in two; trl counts them as num_items_in_batch."""
    items = [Item(prompt, [response]) for prompt, response in sides()[0]]
    items[0] = Item(items[0].prompt, items[0].responses, [[True, False, True, True]])
    total = torch.tensor(sum(item.targets for item in items))
    args = SimpleNamespace(loss_type="nll", average_tokens_across_devices=False)
    model = trainer(trl.SFTTrainer, table, compute_loss_func=None, label_smoother=None, args=args)

    def theirs() -> Tensor:
        losses = []
        for part in (items[:2], items[2:]):
            batch = padded(rows_of(part))
            labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
            if part[0] is items[0]:
                labels[0, len(items[0].prompt) + 1] = -100
            losses.append(model.compute_loss(table, {**batch, "labels": labels}, num_items_in_batch=total))
        return torch.stack(losses).sum()

    settings = SFTSettings(max_tokens=16, batch_size=3)
    assert_same(table.weight, lambda: sft._accumulate(POLICY, items, settings, loop), theirs)


def test_sft_is_transformers_loss_of_a_causal_model(table: Table, loop: Loop) -> None:
    """The loss of a transformers model that is given labels; it rounds the logits to float32."""
    from transformers.loss.loss_utils import ForCausalLMLoss

    items = [Item(prompt, [response]) for prompt, response in sides()[0]]
    batch = padded(rows_of(items))
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    total = sum(item.targets for item in items)

    def theirs() -> Tensor:
        return ForCausalLMLoss(table(**batch).logits, labels, WORDS, num_items_in_batch=total)

    assert_same(table.weight, lambda: sft._accumulate(POLICY, items, SFTSettings(), loop), theirs, rel=1e-6)


# Preferences


@pytest.mark.parametrize("margins", [True, False])
def test_reward_model_with_and_without_margins(trl: Any, loop: Loop, margins: bool) -> None:
    """-log sigmoid(chosen - rejected - margin), its mean over pairs; Kilter's smoothing is 0 here."""
    pairs = PAIRS if margins else [RankedItem(one.item, one.pairs) for one in PAIRS]
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(WORDS, LENGTH, generator=generator).requires_grad_()  # score by last token and position
    scored = SimpleNamespace(
        lm=POLICY.lm, train_flops=lambda _: 0.0,
        scores=lambda packed: weight[packed.tokens[packed.ends], packed.positions[packed.ends]],
    )  # fmt: skip

    def model(input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        last = attention_mask.sum(1) - 1
        return SimpleNamespace(logits=weight[input_ids.gather(1, last[:, None])[:, 0], last][:, None])

    chosen, rejected = sides(pairs)
    batch = padded([*chosen, *rejected])
    del batch["completion_mask"]
    given = {"margin": torch.tensor([one.margin for one in pairs])} if margins else {}

    def called(margin: Any = None, **inputs: Any) -> SimpleNamespace:  # as a real model takes what it does not know
        return model(**inputs)

    made = trainer(trl.RewardTrainer, Table(), args=SimpleNamespace(center_rewards_coefficient=None))
    settings = RewardSettings(smoothing=0.0, max_tokens=16)
    assert_same(
        weight, lambda: reward._accumulate(scored, pairs, settings, loop)[0],
        lambda: made.compute_loss(called, {**batch, **given}),
    )  # fmt: skip


def dpo_losses(trl: Any, table: Table, pairs: Sequence[RankedItem], **attributes: Any) -> Tensor:
    """trl's DPO loss of `pairs` against the reference that `Table(1)` is."""
    chosen, rejected = sides(pairs)
    made = trainer(
        trl.DPOTrainer, table,
        **{
            "ld_alpha": None, "precompute_ref_logps": True, "f_divergence_type": "reverse_kl", "loss_weights": [1.0],
            "label_smoothing": 0.0, "use_weighting": False, **attributes,
        },
    )  # fmt: skip
    refs = {"ref_chosen_logps": summed(Table(1), chosen), "ref_rejected_logps": summed(Table(1), rejected)}
    return made._compute_loss(table, {**padded([*chosen, *rejected]), **refs}, return_outputs=False)


def our_dpo(pairs: Sequence[RankedItem], settings: DPOSettings, loop: Loop) -> float:
    reference = [summed(Table(1), rows_of([one.item])) for one in pairs]
    return dpo._accumulate(POLICY, pairs, reference, settings, loop).loss


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({"loss": "dpo"}, {"loss_types": ["sigmoid"]}),
        ({"loss": "dpo", "length_normalized": True}, {"loss_types": ["sigmoid_norm"]}),
        ({"loss": "hinge"}, {"loss_types": ["hinge"]}),
        ({"loss": "ipo"}, {"loss_types": ["ipo"]}),
        ({"loss": "robust", "label_noise": 0.2}, {"loss_types": ["robust"], "label_smoothing": 0.2}),
        ({"loss": "dpo", "sft_coef": 0.3}, {"loss_types": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]}),
    ],
    ids=lambda one: "-".join(map(str, one.get("loss_types", [one.get("loss")]))),
)
def test_dpo_and_its_relatives(
    trl: Any, table: Table, loop: Loop, settings: dict[str, Any], attributes: dict[str, Any]
) -> None:
    """The same definitions; IPO's log-ratios are means per token in both."""
    chosen = DPOSettings(**settings, beta=0.3, max_tokens=16)
    assert_same(
        table.weight, lambda: our_dpo(PAIRS, chosen, loop),
        lambda: dpo_losses(trl, table, PAIRS, beta=0.3, **attributes),
    )  # fmt: skip


def test_conservative_dpo(trl: Any, table: Table, loop: Loop) -> None:
    """trl's "sigmoid" smooths no labels; its "aot" of a single pair, where sorting does nothing, is the same."""
    settings = DPOSettings(beta=0.3, label_noise=0.2)
    for one in PAIRS:
        assert_same(
            table.weight, lambda one=one: our_dpo([one], settings, loop),
            lambda one=one: dpo_losses(trl, table, [one], beta=0.3, loss_types=["aot"], label_smoothing=0.2),
        )  # fmt: skip


def paired_batch() -> dict[str, Tensor]:
    """As the trainers of CPO and ORPO collate pairs."""
    batch = {}
    for name, rows in zip(("chosen", "rejected"), sides(), strict=True):
        one = padded(rows)
        labels = one["input_ids"].masked_fill(one["completion_mask"] == 0, -100)
        batch |= {
            f"{name}_input_ids": one["input_ids"], f"{name}_attention_mask": one["attention_mask"],
            f"{name}_labels": labels,
        }  # fmt: skip
    return batch


def test_simpo(trl: Any, table: Table, loop: Loop) -> None:
    """CPOTrainer with loss_type simpo and cpo_alpha 0; simpo_gamma is Kilter's margin."""
    from trl.experimental.cpo import CPOTrainer

    made = trainer(
        CPOTrainer, table, loss_type="simpo", beta=2.0, simpo_gamma=0.5, cpo_alpha=0.0, alpha=0.0, label_smoothing=0.0,
        is_encoder_decoder=False, pad_token_id=0,
    )  # fmt: skip
    settings = DPOSettings(loss="simpo", beta=2.0, margin=0.5, max_tokens=16)
    assert_same(
        table.weight, lambda: our_dpo_without_reference(settings, loop),
        lambda: made.get_batch_loss_metrics(table, paired_batch())[0],
    )  # fmt: skip


def our_dpo_without_reference(settings: DPOSettings, loop: Loop) -> float:
    reference = [torch.zeros(len(one.item.responses)) for one in PAIRS]
    return dpo._accumulate(POLICY, PAIRS, reference, settings, loop).loss


def test_orpo_but_for_the_likelihood_of_the_prompt(trl: Any, table: Table, loop: Loop) -> None:
    """trl's likelihood is that of the chosen prompt and response, per token; Kilter's that of the response alone.

    Its odds ratio is Kilter's; it is rounded to float32.
    """
    from trl.experimental.orpo import ORPOTrainer

    made = trainer(ORPOTrainer, table, beta=0.4, is_encoder_decoder=False, padding_value=0)
    settings = DPOSettings(loss="orpo", beta=0.4, max_tokens=16)

    def likelihood(*, prompts: bool) -> Tensor:
        batch = padded(sides()[0])
        learned = batch["attention_mask" if prompts else "completion_mask"]
        out = table(batch["input_ids"], batch["attention_mask"], batch["input_ids"].masked_fill(learned == 0, -100))
        return -out.log_probs.sum() / out.label_mask.sum()

    def theirs() -> Tensor:
        whole = made.get_batch_loss_metrics(table, paired_batch())[0]
        return whole - likelihood(prompts=True) + likelihood(prompts=False)

    assert_same(table.weight, lambda: our_dpo_without_reference(settings, loop), theirs, rel=1e-6)


@pytest.mark.parametrize("far", [True, False], ids=["kl", "kl-below-zero"])
def test_kto(trl: Any, table: Table, loop: Loop, monkeypatch: pytest.MonkeyPatch, far: bool) -> None:
    """Loss and reference point, which is never below zero; trl's desirable_weight beside an undesirable_weight of 1."""
    monkeypatch.setattr(kto, "forward_flops", lambda *_, **__: 0.0)
    prompts = [one.item.prompt for one in PAIRS]
    rows = [(one.item.prompt, one.item.responses[0]) for one in PAIRS]
    strangers = [(prompt, rows[(number + 1) % len(rows)][1]) for number, prompt in enumerate(prompts)]
    labels = [True, False, True]
    # The estimate of the KL is a log-ratio, so exchanging policy and reference changes its sign.
    other = Table(1)
    if (summed(table, strangers) - summed(other, strangers)).sum() < 0:
        table.weight.data, other.weight.data = other.weight.data, table.weight.data
    if not far:
        table.weight.data, other.weight.data = other.weight.data, table.weight.data
    settings = KTOSettings(beta=0.3, max_tokens=16)
    items = [MarkedItem(Item(p, [r]), good) for (p, r), good in zip(rows, labels, strict=True)]
    reference = list(summed(other, rows))

    def ours() -> float:
        others = [Item(prompt, [response]) for prompt, response in strangers]
        zero = kto._reference_point(POLICY, others, list(summed(other, strangers)), settings, loop)
        assert (zero > 0) == far
        return kto._accumulate(POLICY, list(zip(items, reference, strict=True)), zero, 1.5, settings, loop)["loss"]

    made = trainer(
        trl.KTOTrainer, table, calculate_KL=True, precompute_ref_logps=True, loss_type="kto", beta=0.3,
        desirable_weight=1.5, undesirable_weight=1.0,
    )  # fmt: skip
    batch = {
        **padded(rows), **{f"KL_{key}": value for key, value in padded(strangers).items()},
        "label": torch.tensor(labels), "ref_logps": summed(other, rows), "ref_KL_logps": summed(other, strangers),
    }  # fmt: skip
    assert_same(table.weight, ours, lambda: made._compute_loss(table, batch, return_outputs=False))


# Policy gradients


def rollout(table: Table, finished: Sequence[bool] | None = None, distance: float = 0.2) -> Rollout:
    """GROUPS as sampled by a policy at some distance (of log-probabilities), with another table as the reference."""
    packed = pack(GROUPS)
    far, ref = (Table(seed).packed_logprobs(None, packed)[0].detach() for seed in (2, 3))
    old = table.packed_logprobs(None, packed)[0].detach() + distance * (far - far.mean())
    flat = [response for item in GROUPS for response in item.responses]
    ended = finished or [True] * len(flat)
    responses = [Response(list(one), [0.0] * len(one), end, "") for one, end in zip(flat, ended, strict=True)]
    return Rollout(GROUPS, packed, responses, old, ref, old)


def as_rows(values: Tensor, counts: Sequence[int]) -> Tensor:
    """Per-token values [M] in padded rows [R, T]."""
    return torch.nn.utils.rnn.pad_sequence(list(torch.split(values, list(counts))), batch_first=True)


def grpo_trainer(trl: Any, table: Table, **attributes: Any) -> Any:
    return trainer(
        trl.GRPOTrainer, table,
        **{
            "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "importance_sampling_level": "token",
            "beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2, "max_completion_length": 9, "use_vllm": False,
            "_entropy_bonus_enabled": False, **attributes,
            "args": SimpleNamespace(use_bias_correction_kl=False, delta=None, report_to=[]),
        },
    )  # fmt: skip


def grpo_inputs(found: Rollout, advantages: Tensor) -> dict[str, Tensor]:
    batch = padded(rows_of(GROUPS), left=True)
    return {
        **batch, "advantages": advantages, "num_items_in_batch": batch["completion_mask"].sum(),
        "old_per_token_logps": as_rows(found.old, found.counts),
        "ref_per_token_logps": as_rows(found.ref, found.counts),
    }  # fmt: skip


def our_grpo(found: Rollout, advantages: Tensor, settings: GRPOSettings, loop: Loop) -> float:
    """The loss of one update over the whole rollout, from the trainer's own metrics."""
    metrics = rollout_loop.accumulate(
        POLICY, found, settings, range(len(GROUPS)), loop,
        lambda part: grpo._backward(part, found, advantages, settings, grpo.VARIANTS[settings.variant]),
    )  # fmt: skip
    return metrics["policy_loss"] + settings.kl_coef * metrics.get("kl_loss", 0.0)


def grpo_settings(variant: str, **given: Any) -> GRPOSettings:
    return GRPOSettings(
        variant=variant, samples=3, prompts=2, max_new_tokens=9, epochs=2, max_tokens=16, **given
    )  # fmt: skip


LOSS_TYPES = {
    "grpo": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28},
    "gspo": {
        "loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4,
    },
}  # fmt: skip
ADVANTAGES = [1.0, -0.5, 0.3, -2.0, 0.7, 1.1]


@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
@pytest.mark.parametrize("variant", LOSS_TYPES)
def test_grpo_and_its_relatives(trl: Any, table: Table, loop: Loop, variant: str, kl_coef: float) -> None:
    """trl's default is loss_type dapo with beta 0. Here the KL's gradient is k3's own: kl_gradient: k3 in Kilter,
    use_bias_correction_kl=False in trl; the default of both is in a test of its own.
    """
    found = rollout(table, distance=5e-4 if variant == "gspo" else 0.2)
    advantages = torch.tensor(ADVANTAGES)
    settings = grpo_settings(variant, kl_coef=kl_coef, **({"kl_gradient": "k3"} if kl_coef else {}))
    made = grpo_trainer(trl, table, **LOSS_TYPES[variant], beta=kl_coef)
    assert_same(
        table.weight, lambda: our_grpo(found, advantages[found.packed.response], settings, loop),
        lambda: made._compute_loss(table, grpo_inputs(found, advantages)),
    )  # fmt: skip


def test_some_ratios_are_clipped_and_some_are_not(table: Table) -> None:
    """So that the tests around this one see both branches."""
    for distance, clip, by_sequence in ((0.2, 0.2, False), (5e-4, 4e-4, True)):
        found = rollout(table, distance=distance)
        gap = table.packed_logprobs(None, found.packed)[0].detach() - found.old
        ratio = torch.exp(found.packed.summed(gap) / found.packed.counts if by_sequence else gap)
        assert 0 < int(((ratio - 1).abs() > clip).sum()) < len(ratio)


def test_dapos_mean_over_tokens_is_trls_bnpo_too(trl: Any, table: Table, loop: Loop) -> None:
    """bnpo counts the tokens of a micro-batch, dapo those of the whole batch; over one micro-batch they are one."""
    found, advantages = rollout(table), torch.tensor(ADVANTAGES)
    made = grpo_trainer(trl, table, loss_type="bnpo", epsilon_high=0.28)
    assert_same(
        table.weight,
        lambda: our_grpo(found, advantages[found.packed.response], grpo_settings("dapo", kl_coef=0.0), loop),
        lambda: made._compute_loss(table, grpo_inputs(found, advantages)),
    )  # fmt: skip


def test_dapo_leaves_out_cut_off_responses_and_groups_without_variance(trl: Any, table: Table, loop: Loop) -> None:
    """trl (mask_truncated_completions) leaves the cut-off ones out of the mean; groups without variance it counts.

    So where a group is all alike its loss is smaller by the share of the other group's tokens.
    """
    finished = [True, True, False, True, True, True]
    kept = torch.tensor(finished)
    for advantages in (torch.tensor(ADVANTAGES), torch.tensor([1.0, -0.5, 0.3, 0.0, 0.0, 0.0])):
        found = rollout(table, finished)
        inputs = grpo_inputs(found, advantages)
        inputs["completion_mask"] = inputs["completion_mask"] * kept[:, None]
        inputs["num_items_in_batch"] = inputs["completion_mask"].sum()
        ours = advantages.where(kept, 0.0)
        learned = found.packed.counts[kept & (ours.view(2, 3).abs().amax(1) > 0).repeat_interleave(3)].sum()
        made = grpo_trainer(trl, table, **LOSS_TYPES["dapo"])
        share = inputs["num_items_in_batch"] / learned
        assert (share == 1) == bool((advantages != 0).all())
        assert_same(
            table.weight,
            lambda found=found, ours=ours: our_grpo(
                found, ours[found.packed.response], grpo_settings("dapo", kl_coef=0.0), loop
            ),
            lambda made=made, inputs=inputs, share=share: made._compute_loss(table, inputs) * share,
        )  # fmt: skip


@pytest.mark.parametrize("distance", [0.0, 0.2], ids=["on-policy", "off-policy"])
def test_the_exact_kl_has_the_gradient_of_trls_default(trl: Any, table: Table, loop: Loop, distance: float) -> None:
    """trl's use_bias_correction_kl: k3 times the ratio, whose gradient is ratio * (logprob - ref) * grad logprob.

    That is the one of Kilter's kl_gradient: exact, the default too. trl's value is k3 times the ratio, Kilter's k3.
    """
    found, advantages = rollout(table, distance=distance), torch.tensor(ADVANTAGES)
    made = grpo_trainer(trl, table, loss_type="grpo", beta=0.3)
    made.args.use_bias_correction_kl = True
    settings = grpo_settings("grpo", kl_coef=0.3)
    value, gradient = pulled(table.weight, lambda: our_grpo(found, advantages[found.packed.response], settings, loop))
    expected, push = pulled(table.weight, lambda: made._compute_loss(table, grpo_inputs(found, advantages)))
    logprobs = table.packed_logprobs(None, found.packed)[0].detach()
    k3 = torch.expm1(found.ref - logprobs) - (found.ref - logprobs)
    surplus = found.packed.summed(k3 * torch.expm1(logprobs - found.old)) / found.packed.counts
    assert value == pytest.approx(expected - 0.3 * float(surplus.mean()), rel=EXACT)
    torch.testing.assert_close(gradient, push, rtol=EXACT, atol=EXACT)


def test_rloos_first_update_has_trls_gradient(trl: Any, table: Table, loop: Loop) -> None:
    """trl has one ratio per response, the product of its tokens', Kilter one per token.

    While the policy is the one that sampled, all are one and the gradient is REINFORCE's in both; the value is -A for
    each response there, and for each token here.
    """
    found, advantages = rollout(table), torch.tensor(ADVANTAGES)
    found.old = table.packed_logprobs(None, found.packed)[0].detach()
    made = grpo_trainer(trl, table)
    made.__class__ = trl.RLOOTrainer
    inputs = {**grpo_inputs(found, advantages), "old_logps": found.packed.summed(found.old)}
    settings = grpo_settings("rloo").model_copy(update={"kl_coef": 0.0})
    value, gradient = pulled(table.weight, lambda: our_grpo(found, advantages[found.packed.response], settings, loop))
    expected, push = pulled(table.weight, lambda: made._compute_loss(table, inputs))
    torch.testing.assert_close(gradient, push, rtol=EXACT, atol=EXACT)
    assert expected == pytest.approx(-float(advantages.mean()), rel=EXACT)
    assert value == pytest.approx(-float((advantages * found.packed.counts).mean()), rel=EXACT)


def test_ppos_policy_loss_is_grpos_with_an_advantage_per_token(trl: Any, table: Table, loop: Loop) -> None:
    """trl has no PPO; its GRPO with loss_type bnpo takes advantages per token, and then it is PPO's policy loss."""
    found = rollout(table)
    each = torch.randn(len(found.old), generator=torch.Generator().manual_seed(5))
    zero = torch.zeros(1, requires_grad=True)
    value = SimpleNamespace(values=lambda _, index: zero.expand(len(index)), train_flops=lambda _: 0.0)
    models: Any = SimpleNamespace(policy=POLICY, value=value)
    estimates = ppo.Estimates(torch.zeros_like(each), each, torch.zeros_like(each))
    settings = PPOSettings(samples=3, prompts=2, max_tokens=16, clip=0.2)
    made = grpo_trainer(trl, table, loss_type="bnpo")
    assert_same(
        table.weight,
        lambda: ppo._update(models, found, estimates, range(len(GROUPS)), settings, loop)["policy_loss"],
        lambda: made._compute_loss(table, grpo_inputs(found, as_rows(each, found.counts))),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["dpo", "ipo"])
def test_online_dpo(trl: Any, table: Table, loop: Loop, kind: str) -> None:
    """DPO's loss on the better and the worse of two samples; trl's ipo takes log-ratios of whole responses.

    Kilter's takes their means per token, as both libraries' IPO on comparisons does; with responses of one length L it
    is trl's at a beta L times smaller, divided by L squared.
    """
    from trl.experimental.online_dpo import OnlineDPOTrainer

    items = [Item([3, 4], [[5, 6, 2], [8, 9, 2]]), Item([9], [[4, 4, 2], [3, 6, 2]])]
    size = 3 if kind == "ipo" else 1
    order = [0, 2, 1, 3]  # trl has the first sample of every prompt before the second ones
    batch = padded([rows_of(items)[one] for one in order], left=True)
    whole = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]

    class Fixed(OnlineDPOTrainer):  # type: ignore[misc]
        """Its samples and rewards are given."""

        def _generate(self, *_: Any) -> Any:
            return (*(batch[name] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")), None)

        def _forward(self, model: Table, *_: Any) -> Tensor:
            return model(whole, mask, whole).log_probs[:, -width:]

        def _calculate_rewards_from_functions(self, **_: Any) -> Tensor:
            return torch.tensor([1.0, 0.0, 0.0, 2.0])

        beta = 0.3 / size

    args = SimpleNamespace(
        use_vllm=False, missing_eos_penalty=None, loss_type="sigmoid" if kind == "dpo" else "ipo", n_gpu=1,
        torch_empty_cache_steps=None, optim="adamw_torch", gradient_accumulation_steps=1,
    )  # fmt: skip
    made = trainer(
        Fixed, table, args=args, eos_token_ids=[2], ref_model=Table(1), reward_funcs=[None], stats=defaultdict(list),
        processing_class=SimpleNamespace(batch_decode=lambda ids, **_: [""] * len(ids)),
    )  # fmt: skip
    made.accelerator.gradient_accumulation_steps = 1
    packed = pack(items)
    ref = Table(1).packed_logprobs(None, packed)[0].detach()
    responses = [Response(list(one), [0.0] * 3, True, "") for item in items for one in item.responses]
    found = Rollout(items, packed, responses, ref, ref, ref)
    settings = OnlineDPOSettings(loss=kind, beta=0.3, samples=2, prompts=2, epochs=2)
    pairs = torch.tensor([[0, 1], [1, 0]])

    def ours() -> float:
        return rollout_loop.accumulate(
            POLICY, found, settings, range(2), loop, lambda part: online_dpo._backward(part, found, pairs, settings)
        )["loss"]

    value, gradient = pulled(table.weight, ours)
    expected, push = pulled(table.weight, lambda: made.training_step(table, {"prompt": ["a", "b"]}))
    assert value == pytest.approx(expected / size**2, rel=EXACT)
    torch.testing.assert_close(gradient, push / size**2, rtol=EXACT, atol=EXACT)


# A transformer, with trl's trainers as they are constructed: its samples, rewards, advantages and losses


LETTERS = ["ab", "c"]


def letters(completions: Sequence[str], **_: Any) -> list[float]:
    return [float(len(set(one))) for one in completions]


def moved(model: Any) -> Any:
    """Away from the reference, by the same steps for every copy of a model."""
    generator = torch.Generator().manual_seed(6)
    for _, one in sorted(model.named_parameters()):
        one.data.add_(0.02 * torch.randn(one.shape, generator=generator))
    return model


def trl_step(kind: Any, config: Any, folder: Path, tokenizer: Any, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A trainer, its policy away from its reference, and four samples of each of LETTERS with what it made of them."""
    from datasets import Dataset

    args = config(
        output_dir=str(folder / "trl"), use_cpu=True, bf16=False, report_to=[], per_device_train_batch_size=8,
        num_generations=4, max_completion_length=7, temperature=0.7, model_init_kwargs={"dtype": "float32"}, **settings,
    )  # fmt: skip
    made = kind(
        str(folder), letters, args=args, train_dataset=Dataset.from_dict({"prompt": LETTERS}),
        processing_class=tokenizer,
    )  # fmt: skip
    moved(made.model)
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    torch.manual_seed(3)
    return made, made._generate_and_score_completions([{"prompt": one} for one in LETTERS for _ in range(4)])


def our_step(
    lm: LanguageModel, out: dict[str, Any], settings: RolloutSettings, folder: Path
) -> tuple[Policy, Rollout, Tensor]:
    """Policy, the same samples as a rollout, and their rewards."""
    policy, reference = Policy.with_reference(lm, "grpo", None, 0)
    moved(lm.model)
    prompts = [ids[mask.bool()].tolist() for ids, mask in zip(out["prompt_ids"], out["prompt_mask"], strict=True)]
    tokens = [
        ids[mask.bool()].tolist() for ids, mask in zip(out["completion_ids"], out["completion_mask"], strict=True)
    ]
    responses = [Response(one, [0.0] * len(one), True, lm.decode(one)) for one in tokens]
    loop = Loop(folder / "ours", "test", 1, "print", {})
    found, _ = read_rollout(
        policy, reference, prompts[::4], [responses[:4], responses[4:]], settings, 0, loop
    )  # fmt: skip
    return policy, found, torch.tensor(letters([one.text for one in responses]))


@pytest.mark.parametrize(
    ("variant", "theirs"),
    [
        ("grpo", {"loss_type": "grpo", "scale_rewards": "group"}),
        ("dr_grpo", {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    ],
    ids=["grpo", "dr_grpo"],
)
def test_a_step_of_grpo_on_a_transformer(
    trl: Any, tiny_lm: Callable[..., LanguageModel], tiny_tokenizer: Any, tmp_path: Path, variant: str,
    theirs: dict[str, Any],
) -> None:  # fmt: skip
    """Advantages, KL to the reference, loss and gradient, at a temperature, in float32."""
    lm = tiny_lm()
    tokenizer = deepcopy(tiny_tokenizer)
    made, out = trl_step(trl.GRPOTrainer, trl.GRPOConfig, lm.path, tokenizer, beta=0.3, **theirs)
    settings = GRPOSettings(
        variant=variant, samples=4, prompts=2, max_new_tokens=7, temperature=0.7, kl_coef=0.3, lora=None, epochs=2,
        min_entropy=0.0, max_kl=1e9,
    )  # fmt: skip
    policy, found, rewards = our_step(lm, out, settings, tmp_path)
    assert len(set(rewards[:4].tolist())) > 1
    advantages = grpo._advantages(found, rewards, settings, grpo.VARIANTS[variant])
    first = found.packed.counts.cumsum(0) - found.packed.counts
    torch.testing.assert_close(advantages[first], out["advantages"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        as_rows(found.ref, found.counts), out["ref_per_token_logps"] * out["completion_mask"], rtol=1e-5, atol=1e-5
    )
    metrics = rollout_loop.accumulate(
        policy, found, settings, range(2), Loop(tmp_path, "test", 1, "print", {}),
        lambda part: grpo._backward(part, found, advantages, settings, grpo.VARIANTS[variant]),
    )  # fmt: skip
    loss = made.compute_loss(made.model, out)
    loss.backward()
    assert metrics["policy_loss"] + 0.3 * metrics["kl_loss"] == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6)
    pushes = dict(made.model.named_parameters())
    for name, one in lm.model.named_parameters():
        push = pushes[name].grad
        torch.testing.assert_close(one.grad, push, rtol=1e-4, atol=1e-5 * float(push.abs().max()))


def test_rloos_advantages_with_the_kl_in_the_reward(
    trl: Any, tiny_lm: Callable[..., LanguageModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """Reward less beta times the response's log-ratio, against the mean of its siblings'."""
    lm = tiny_lm()
    _, out = trl_step(trl.RLOOTrainer, trl.RLOOConfig, lm.path, deepcopy(tiny_tokenizer), beta=0.3)
    settings = GRPOSettings(
        variant="rloo", samples=4, prompts=2, max_new_tokens=7, temperature=0.7, kl_coef=0.3, lora=None,
        min_entropy=0.0, max_kl=1e9,
    )  # fmt: skip
    _, found, rewards = our_step(lm, out, settings, tmp_path)
    advantages = grpo._advantages(found, rewards, settings, grpo.VARIANTS["rloo"])
    first = found.packed.counts.cumsum(0) - found.packed.counts
    assert float((found.old - found.ref).abs().max()) > 0.01
    torch.testing.assert_close(advantages[first], out["advantages"], rtol=1e-4, atol=1e-5)
