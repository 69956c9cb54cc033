"""Tiny random models and a small real tokenizer, shared by the tests of all rooms.

Torch and transformers are imported inside the fixtures, so that rooms without a model start fast.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from kilter.models import LanguageModel

# One thread: tiny matrices gain nothing from more, and sums keep one order. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("KILTER_DATABASE", None)  # whoever runs the tests may have a record of their own

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job of a script's background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["postgresql_server"]

# A busy machine is no reason to fail: no test asserts on a clock.
settings.register_profile("kilter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kilter")

EOS = 2  # and padding, as in SmolLM2: the classic trap
VOCABULARY = 260
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
GROUPED = {"num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {**SIZES, **GROUPED, "tie_word_embeddings": True},
    "mistral": {**SIZES, **GROUPED, "head_dim": 8, "sliding_window": None, "tie_word_embeddings": False},
    "qwen2": {**SIZES, **GROUPED, "tie_word_embeddings": False},
    "qwen3": {**SIZES, **GROUPED, "head_dim": 16, "tie_word_embeddings": True},
    "gemma": {**SIZES, **GROUPED, "head_dim": 16, "tie_word_embeddings": True},
    "gemma3_text": {**SIZES, **GROUPED, "head_dim": 16, "sliding_window": 512, "tie_word_embeddings": True},
    "gpt_neox": {**SIZES, "tie_word_embeddings": False},
}


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """Byte-level, 259 entries, special tokens first, padding equal to end-of-sequence."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    entries = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={entry: index for index, entry in enumerate(entries)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Callable[..., Path]:
    """tiny_folder(family="llama", vocabulary=260, layers=2) -> folder of a saved random float32 model.

    Every weight is random, norms and biases included, and large enough that attention is far from uniform.
    """
    made: dict[tuple[str, int, int], Path] = {}

    def make(family: str = "llama", vocabulary: int = VOCABULARY, layers: int = 2) -> Path:
        key = (family, vocabulary, layers)
        if key not in made:
            made[key] = tmp_path_factory.mktemp(family)
            _save_random_model(made[key], family, vocabulary, layers)
            tiny_tokenizer.save_pretrained(made[key])
        return made[key]

    return make


def _save_random_model(folder: Path, family: str, vocabulary: int, layers: int) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        family,
        vocab_size=vocabulary,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=EOS,
        pad_token_id=EOS,
        **{**FAMILIES[family], "num_hidden_layers": layers},
    )
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        one = parameter.ndim == 1 and name.endswith("weight")
        parameter.data = 1 + 0.2 * noise if one else 0.2 * noise
    model.generation_config.eos_token_id = EOS
    model.generation_config.pad_token_id = EOS
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def plain_model(tiny_folder: Callable[..., Path]) -> Callable[..., Any]:
    """plain_model(family, ..., attention="eager", dtype=float32) -> the same weights in plain transformers."""

    def make(
        family: str = "llama",
        vocabulary: int = VOCABULARY,
        layers: int = 2,
        attention: str = "eager",
        dtype: Any = None,
    ) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        folder = tiny_folder(family, vocabulary, layers)
        return AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation=attention, dtype=dtype or torch.float32
        ).eval()

    return make


@pytest.fixture(scope="session")
def tiny_lm(tiny_folder: Callable[..., Path]) -> Callable[..., LanguageModel]:
    """tiny_lm(family="llama", vocabulary=260, layers=2, dtype="float32") -> a new LanguageModel, by `load`."""

    def make(
        family: str = "llama", vocabulary: int = VOCABULARY, layers: int = 2, dtype: Any = "float32"
    ) -> LanguageModel:
        from kilter.models import load

        return load(tiny_folder(family, vocabulary, layers), dtype=dtype)

    return make


@pytest.fixture
def serve(tiny_lm: Callable[..., LanguageModel]) -> Iterator[Callable[..., str]]:
    """serve(lm=None, name="tiny", folder=None, key=None) -> the address of Kilter's own server, until the test ends."""
    from kilter.serving import ServedModel, create_app, running

    with ExitStack() as stack:

        def start(
            lm: LanguageModel | None = None, name: str = "tiny", folder: Path | None = None, key: str | None = None
        ) -> str:
            return stack.enter_context(running(create_app(ServedModel(lm or tiny_lm(), name, folder), key)))

        yield start


@pytest.fixture
def pretend() -> Iterator[Callable[..., str]]:
    """pretend(answer) -> the address of a server that says whatever answer(method, path, body) returns.

    That is a status and a JSON value, or a status, a value and headers.
    """
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    from kilter.serving import running

    with ExitStack() as stack:

        def start(answer: Callable[..., tuple[Any, ...]]) -> str:
            async def everything(request: Request) -> Response:
                text = await request.body()
                status, value, *more = answer(request.method, request.url.path, json.loads(text) if text else None)
                headers = more[0] if more else None
                if isinstance(value, str):
                    return PlainTextResponse(value, status, headers)
                return JSONResponse(value, status, headers)

            app = Starlette(routes=[Route("/{path:path}", everything, methods=["GET", "POST"])])
            return stack.enter_context(running(app))

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and three times in all."""
    from kilter.models import endpoint

    for name, value in (("FIRST_WAIT", 0.0), ("LONGEST_WAIT", 0.0), ("ATTEMPTS", 3)):
        monkeypatch.setattr(endpoint, name, value)
