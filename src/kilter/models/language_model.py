"""A language model, its tokenizer and its adapters, loaded and ready to sample, score and train."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from kilter.errors import ModelError
from kilter.models import processes
from kilter.models.attention import NAME as ATTENTION
from kilter.models.frozen import FrozenStates, starting_from
from kilter.models.layers import lighten_layers
from kilter.models.lora import Adapters
from kilter.models.norm import lighten_norms
from kilter.models.pack import Packed
from kilter.models.recompute import recomputing
from kilter.models.shard import compute_with, whole

Dtype = Literal["auto", "bfloat16", "float32"]
Computed = TypeVar("Computed")


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


@dataclass
class LanguageModel:
    """A decoder-only transformers model with what belongs to it.

    Attributes:
        model: the transformers model, its attention being Kilter's.
        tokenizer: its tokenizer.
        name: what the user called it.
        path: the folder of its weights.
        adapters: LoRA adapters on the trunk.
        compute_dtype: where it differs from that of the weights.
        recompute: whether training keeps only each layer's input and computes the rest again (activation
            checkpointing, arXiv 1604.06174): less memory for a third more work.
        frozen: what the layers below all adapters that train computed before; see `reusing_frozen`.
    """

    model: Any
    tokenizer: Any
    name: str
    path: Path
    adapters: Adapters = field(init=False)
    compute_dtype: torch.dtype | None = None
    recompute: bool = False
    frozen: FrozenStates | None = None

    def __post_init__(self) -> None:
        self.adapters = Adapters(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The compute dtype of the trunk."""
        return self.compute_dtype or self.model.get_input_embeddings().weight.dtype

    @property
    def hidden_size(self) -> int:
        """Width D of the hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return int(self.model.config.num_hidden_layers)

    @property
    def context(self) -> int:
        """Longest sequence, prompt and response together, that the model was made for."""
        return int(getattr(self.model.config, "max_position_embeddings", 2048))

    @cached_property
    def eos_ids(self) -> frozenset[int]:
        """Token ids that end a response: the tokenizer's and those of the generation config."""
        listed = getattr(self.model.generation_config, "eos_token_id", None)
        ids = listed if isinstance(listed, list) else [listed]
        return frozenset(int(one) for one in [*ids, self.tokenizer.eos_token_id] if one is not None)

    @property
    def eos(self) -> int:
        """The token appended to a finished response."""
        return int(self.tokenizer.eos_token_id)

    @property
    def head(self) -> Tensor:
        """Weight [V, D] of the language-model head."""
        return self.model.get_output_embeddings().weight  # type: ignore[no-any-return]

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat up to where the assistant's reply begins.

        The one place where the chat template, and with it BOS, is added (trl#1591: two BOS).

        Raises:
            ModelError: the model has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"{self.name} has no chat template, so a chat cannot be written as tokens. Put a Jinja template "
                f"into {self.path / 'chat_template.jinja'} or choose an instruction-tuned model."
            )
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return self.tokenizer.encode(text, add_special_tokens=False)  # type: ignore[no-any-return]

    def encode_prompt(self, prompt: str | Sequence[Message]) -> list[int]:
        """Token ids of a prompt: a chat, or a string taken as the user's only message."""
        return self.encode_chat([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)

    def encode_response(self, text: str, *, finished: bool = True) -> list[int]:
        """Token ids of a written response, with the end-of-sequence token when it is finished."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return [*ids, self.eos] if finished else ids

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return self.tokenizer.encode(text, add_special_tokens=False)  # type: ignore[no-any-return]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def hidden_states(self, packed: Packed, layers: int | None = None) -> Tensor:
        """Final hidden states [N, D] of a packed row, with the active adapter.

        Where the weights are divided over processes, it is to be called through `compute`, with all that reads the
        head.

        Args:
            packed: the tokens, on the model's device.
            layers: stop after this many decoder layers (the final norm is applied all the same).

        Raises:
            ModelError: fewer layers are asked for, and the architecture keeps them under an unknown name.
        """
        base, whole = self.model.base_model, getattr(self.model.base_model, "layers", None)
        if layers is not None and layers < self.layers:
            if whole is None:
                raise ModelError(f"{self.name} can only be read through all of its layers; set layers to null.")
            base.layers = whole[:layers]  # not every architecture's forward pass heeds config.num_hidden_layers
        first = self.starts_at(packed, self.adapters.active, layers)
        states = self.frozen.states(packed) if self.frozen is not None and first else None
        try:
            with (
                starting_from(base.layers[:first] if first else [], states),
                recomputing(base.layers[first:]) if self.recompute and torch.is_grad_enabled() else nullcontext(),
            ):
                out = base(
                    input_ids=packed.tokens[None],
                    position_ids=packed.positions[None],
                    use_cache=False,
                    layout=packed.layout(self.dtype),
                )
        finally:
            if whole is not None:
                base.layers = whole
        return out.last_hidden_state[0]  # type: ignore[no-any-return]

    def starts_at(self, packed: Packed, adapter: str | None, layers: int | None = None) -> int:
        """The first decoder layer that a pass over `packed` with `adapter`, through `layers` of them, computes."""
        kept = self.frozen
        if kept is None or kept.first > min(self.adapters.first_layer(adapter), layers or self.layers):
            return 0
        return kept.first if kept.knows(packed) else 0

    def compute(self, compute: Callable[[], Computed]) -> Computed:
        """What `compute` returns; all weights that it reads are whole then, wherever they are kept."""
        return compute_with(self.model, compute)  # type: ignore[no-any-return]

    def save_weights(self, folder: Path) -> None:
        """Write the whole model into `folder` in the precision it computes in; of several processes one writes."""
        if self.compute_dtype is None:
            self.model.save_pretrained(folder)
            return
        # A weight that stands in two places (tied embeddings) has one name here and two in the state.
        once = {name for name, _ in (*self.model.named_parameters(), *self.model.named_buffers())}
        state = {name: whole(one).to(self.dtype).cpu() for name, one in self.model.state_dict().items() if name in once}
        if processes.is_main():
            self.model.save_pretrained(folder, state_dict=state)

    @property
    def base_name(self) -> str:
        """What an adapter of this model calls its base: the catalogue's name, else the folder."""
        return self.path.name if (self.path / "kilter.json").exists() else str(self.path)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the weight files, to bind adapters and heads to the trunk they belong to."""
        digest = hashlib.sha256()
        for file in sorted(self.path.glob("*.safetensors")):
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
        return digest.hexdigest()


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_dtype(dtype: Dtype) -> torch.dtype:
    """The torch dtype for a setting; "auto" is bfloat16 where the hardware has it."""
    if dtype == "auto":
        return torch.bfloat16 if has_bfloat16() else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def load(name_or_path: str | Path, *, dtype: Dtype = "auto") -> LanguageModel:
    """Load a model by catalogue name, local folder, trained adapter folder or hub id.

    A folder with an `adapter_config.json` loads its base model and activates the adapter.

    Raises:
        ModelError: there is no such model, it is damaged, or its adapter belongs to another base.
    """
    from kilter.models.catalogue import resolve

    path = resolve(str(name_or_path))
    described = _adapter_config(path)
    if described is None:
        return _load_full(path, str(name_or_path), choose_dtype(dtype))
    base = resolve(str(described["base_model_name_or_path"]))
    lm = _load_full(base, str(described["base_model_name_or_path"]), choose_dtype(dtype))
    expected = described.get("base_sha256")
    if expected is not None and expected != lm.weights_hash:
        raise ModelError(
            f"The adapter in {path} was trained on another version of {lm.name}: its base has hash "
            f"{str(expected)[:12]}, the one found has {lm.weights_hash[:12]}. Load it with the base it names."
        )
    lm.adapters.load("trained", path)
    lm.adapters.activate("trained")
    lm.name = str(name_or_path)
    return lm


def _adapter_config(path: Path) -> dict[str, Any] | None:
    file = path / "adapter_config.json"
    if not file.exists():
        return None
    described: dict[str, Any] = json.loads(file.read_text())
    return described


def _load_full(path: Path, name: str, dtype: torch.dtype) -> LanguageModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a second of loading needs none, and it would run across Kilter's own lines
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=ATTENTION)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"The model in {path} cannot be loaded: {reason}") from error
    _refuse_unsupported(model, name)
    if torch.cuda.is_available():
        model = model.to("cuda")
    # Dropout would make the trainer's log-probabilities differ from the sampler's; eval() for good.
    model.eval().requires_grad_(False)
    lighten_norms(model)
    lighten_layers(model)
    return LanguageModel(model, tokenizer, name, path)


def _refuse_unsupported(model: Any, name: str) -> None:
    head = model.get_output_embeddings()
    odd = [
        key for key in ("final_logit_softcapping", "logit_scale", "logits_scaling") if getattr(model.config, key, None)
    ]
    if not isinstance(head, nn.Linear) or head.bias is not None or odd:
        what = f"'{odd[0]}'" if odd else "a head that is not a plain matrix"
        raise ModelError(f"{name} has {what}, which Kilter's head does not compute yet; choose another model.")
