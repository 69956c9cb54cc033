from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kilter.models import Item, LanguageModel, LoraConfig, frozen, pack, packed_logprobs
from kilter.models.flops import Compute, forward_flops, train_flops
from kilter.models.frozen import FrozenStates, reusing_frozen
from kilter.models.scalar import ScalarModel

Make = Callable[..., LanguageModel]
ITEMS = [
    Item([5, 6, 7], [[8, 9], [10, 11, 12, 13]]),
    Item([14, 15], [[16, 2]]),
    Item([5, 6, 7], [[8, 9]]),  # texts of the first
    Item([], [[20, 21, 22, 23, 24, 25, 26, 27, 2]]),
    Item([40] * 20, [[41] * 9, [], [42]]),
]
LAYERS, FIRST = 7, 6  # Gemma 3's sixth layer is the first that attends to all and has a rotation of its own


def adapted(make: Make, family: str = "llama", first: int = FIRST, dtype: str = "float32") -> LanguageModel:
    """A model whose adapter "a" of the layers from `first` up is active and does something."""
    lm = make(family, layers=LAYERS, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    lm.adapters.add("a", LoraConfig(4, 8.0, ("all-linear",), first), generator)
    for one in lm.adapters.parameters("a"):
        one.data.add_(0.05 * torch.randn(one.shape, generator=generator))
    lm.adapters.activate("a")
    return lm


@contextmanager
def reusing(
    lm: LanguageModel, folder: Path, *, reads: float = 2, max_tokens: int = 24
) -> Iterator[FrozenStates | None]:
    given: dict[str, Any] = {"reads": reads, "max_tokens": max_tokens, "folder": folder, "compute": Compute()}
    with reusing_frozen(lm, lm.adapters.active, ITEMS, **given):
        yield lm.frozen


def values(lm: LanguageModel, items: list[Item]) -> list[Tensor]:
    """Log-probabilities, and their sum's gradient."""
    for one in lm.adapters.parameters("a"):
        one.grad = None
    logprobs, _ = packed_logprobs(lm, pack(items))
    logprobs.sum().backward()  # type: ignore[no-untyped-call]
    return [logprobs.detach(), *(one.grad for one in lm.adapters.parameters("a") if one.grad is not None)]


def assert_close(found: list[Tensor], expected: list[Tensor], rel: float = 1e-5) -> None:
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm()) <= rel * float(other.norm())


def lowest(lm: LanguageModel, number: int = 0) -> list[int]:
    """Tokens of each pass through a layer's feed-forward part, from now on."""
    seen: list[int] = []
    layer = lm.model.base_model.layers[number].mlp
    layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2]))
    return seen


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt_neox"])
def test_values_and_gradients_are_those_of_a_whole_pass(
    tiny_lm: Make, tmp_path: Path, family: str, recompute: bool
) -> None:
    """In any packs, whichever were computed together."""
    lm = adapted(tiny_lm, family)
    lm.recompute = recompute
    packs = [ITEMS[:1], ITEMS[1:4], [ITEMS[4], ITEMS[0]], [Item([40] * 20, [[42]])]]
    naive = [values(lm, one) for one in packs]
    with reusing(lm, tmp_path) as kept:
        assert kept is not None
        for _ in range(2):
            for one, expected in zip(packs, naive, strict=True):
                assert lm.starts_at(pack(one), "a") == FIRST
                assert_close(values(lm, one), expected)
    assert lm.frozen is None
    assert all("forward" not in vars(layer) for layer in lm.model.base_model.layers)
    assert_close(values(lm, packs[0]), naive[0], 0.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_read_in_the_same_packs_they_are_the_same_bits(tiny_lm: Make, tmp_path: Path, dtype: str) -> None:
    lm = adapted(tiny_lm, dtype=dtype)
    once = [ITEMS[0], ITEMS[1], ITEMS[3], ITEMS[4]]
    order = sorted(once, key=lambda one: -one.length)  # as one pack of all has them
    expected = values(lm, order)
    with reusing(lm, tmp_path, max_tokens=4096) as kept:
        assert kept is not None
        found = values(lm, order)
    assert_close(found, expected, 1e-6 if dtype == "float32" else 2e-2)  # ITEMS[2] is in the pack, too
    with reusing_frozen(lm, "a", once, reads=2, max_tokens=4096, folder=tmp_path, compute=Compute()):
        again = values(lm, order)
    assert all(torch.equal(one, other) for one, other in zip(again, expected, strict=True))


def test_lower_layers_are_computed_once(tiny_lm: Make, tmp_path: Path) -> None:
    lm = adapted(tiny_lm)
    with reusing(lm, tmp_path) as kept:
        assert kept is not None
        below, above = lowest(lm, FIRST - 1), lowest(lm, FIRST)
        for adapter in ("a", None, "a"):
            with lm.adapters.use(adapter), torch.no_grad():
                for one in ITEMS:
                    packed_logprobs(lm, pack([one]))
    assert sum(below) == sum(one.length for one in ITEMS)
    assert sum(above) == 3 * sum(one.length for one in ITEMS)


def test_nothing_is_computed_before_it_is_needed(tiny_lm: Make, tmp_path: Path) -> None:
    lm = adapted(tiny_lm)
    with reusing(lm, tmp_path, max_tokens=12):
        below = lowest(lm)
        values(lm, [ITEMS[1]])
    assert 0 < sum(below) <= 12


def test_what_is_computed_does_not_depend_on_what_was_asked_for_first(tiny_lm: Make, tmp_path: Path) -> None:
    found = []
    for order in (ITEMS, ITEMS[::-1]):
        lm = adapted(tiny_lm)
        with reusing(lm, tmp_path, max_tokens=30):
            for one in order:
                values(lm, [one])
            found.append(torch.cat([values(lm, [one])[0] for one in ITEMS]))
    assert torch.equal(*found)


def test_a_text_is_known_by_all_of_its_tokens(tiny_lm: Make, tmp_path: Path) -> None:
    lm = adapted(tiny_lm)
    others = [
        Item([5, 6, 8], [[8, 9]]),  # another prompt
        Item([5, 6, 7], [[8, 10]]),  # another response
        Item([5, 6], [[7, 8, 9]]),  # the same tokens, cut elsewhere
        Item([14, 15], [[8, 9]]),  # a known response after another prompt that is known
        Item([6, 7], []),  # in another position
        Item([], [[16, 2]]),  # a known response without its prompt
        Item([20, 21], []),  # a part of one
    ]
    with reusing(lm, tmp_path) as kept:
        assert kept is not None
        for one in others:
            assert not kept.knows(pack([one]))
            assert lm.starts_at(pack([one, ITEMS[0]]), "a") == 0
            assert kept.knows(pack([ITEMS[0]]))
    for one in others[:4]:
        expected = values(lm, [one, ITEMS[0]])
        with reusing(lm, tmp_path):
            assert_close(values(lm, [one, ITEMS[0]]), expected, 0.0)


def test_only_what_is_the_same_below_starts_there(tiny_lm: Make, tmp_path: Path) -> None:
    lm = adapted(tiny_lm)
    for name, first in (("low", 2), ("high", LAYERS - 1)):
        lm.adapters.add(name, LoraConfig(2, 4.0, ("q_proj",), first), torch.Generator().manual_seed(1))
        for one in lm.adapters.parameters(name):
            one.data.add_(0.3)
    packed = pack(ITEMS[:2])
    expected = {}
    for name in ("low", "high", None):
        with lm.adapters.use(name), torch.no_grad():
            expected[name] = lm.hidden_states(packed)
    with reusing(lm, tmp_path):
        for name, start in (("low", 0), ("high", FIRST), (None, FIRST)):
            assert lm.starts_at(packed, name) == start
            with lm.adapters.use(name), torch.no_grad():
                torch.testing.assert_close(lm.hidden_states(packed), expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [FIRST - 1, FIRST, LAYERS])
def test_a_scalar_model_that_stops_early(tiny_lm: Make, tmp_path: Path, layers: int) -> None:
    lm = adapted(tiny_lm)
    model = ScalarModel.create(lm, "a", layers, "mean")
    model.head.data.normal_(generator=torch.Generator().manual_seed(0))
    packed = pack(ITEMS)
    with torch.no_grad():
        expected = model.scores(packed)
        with reusing(lm, tmp_path):
            start = FIRST if layers >= FIRST else 0
            assert lm.starts_at(packed, "a", layers) == start
            torch.testing.assert_close(model.scores(packed), expected, rtol=1e-5, atol=1e-5)
            assert model.read_flops(packed) == forward_flops(lm, packed, layers=layers, start=start)


@pytest.mark.parametrize("reads", [1.0, 0.5])
def test_what_is_read_once_is_not_kept(tiny_lm: Make, tmp_path: Path, reads: float) -> None:
    with reusing(adapted(tiny_lm), tmp_path, reads=reads) as kept:
        assert kept is None


def test_without_frozen_layers_nothing_is_kept(tiny_lm: Make, tmp_path: Path) -> None:
    with reusing(adapted(tiny_lm, first=0), tmp_path) as kept:
        assert kept is None
    lm = tiny_lm()
    lm.model.requires_grad_(True)
    with reusing(lm, tmp_path) as kept:
        assert kept is None


def test_layers_that_exchange_more_than_hidden_states_are_computed(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = adapted(tiny_lm)
    kind = type(lm.model.base_model.layers[0])
    plain, aside = kind.forward, []

    def forward(layer: Any, hidden: Tensor, *given: Any, **named: Any) -> Tensor:
        number = layer.self_attn.layer_idx
        if number == 0:
            aside.append(hidden)
        out: Tensor = plain(layer, hidden, *given, **named)
        return out + aside.pop() if number == LAYERS - 1 else out

    monkeypatch.setattr(kind, "forward", forward)
    lm.model.base_model.register_forward_pre_hook(lambda *_: aside.clear())
    with reusing(lm, tmp_path) as kept:
        assert kept is None


def test_layers_that_do_not_return_hidden_states_are_left_alone(tiny_lm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = adapted(tiny_lm)
    kind = type(lm.model.base_model.layers[0])
    plain = kind.forward
    monkeypatch.setattr(kind, "forward", lambda *given, **named: [plain(*given, **named)])
    with pytest.raises(TypeError, match="returns a list"):
        frozen.entering(lm, pack(ITEMS[:1]), 1)
    assert all("forward" not in vars(layer) for layer in lm.model.base_model.layers)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_where_memory_is_short_they_lie_in_a_file_without_a_name(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    found = []
    folder = tmp_path / "not yet there"
    for free in (1 << 40, 0):
        monkeypatch.setattr(frozen, "free_memory", lambda _, free=free: free)
        lm = adapted(tiny_lm, dtype=dtype)
        with reusing(lm, folder) as kept:
            assert kept is not None
            assert folder.exists() == (free == 0)
            found.append([values(lm, ITEMS), values(lm, ITEMS)])
            assert not folder.exists() or not list(folder.iterdir())
    assert all(torch.equal(a, b) for a, b in zip(*(one for pair in found for one in pair[:1]), strict=True))
    assert_close(found[0][1], found[1][1], 0.0)


@pytest.mark.parametrize("how", ["small", "fills up"])
def test_where_the_disk_is_short_too_everything_is_computed(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frozen, "free_memory", lambda _: 0)
    if how == "small":
        monkeypatch.setattr(frozen.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    else:
        monkeypatch.setattr(frozen.os, "posix_fallocate", full, raising=False)
    with reusing(adapted(tiny_lm), tmp_path) as kept:
        assert kept is None
    assert not list(tmp_path.iterdir())


def test_beside_an_accelerator_there_is_half_of_the_memory_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "free_memory", lambda _: 1000)
    room = frozen._room(50, 5, torch.bfloat16, None)
    assert room is not None
    assert room.shape == (50, 5)
    assert frozen._room(51, 5, torch.bfloat16, None) is None


def test_after_an_error_all_is_as_before(tiny_lm: Make, tmp_path: Path) -> None:
    lm = adapted(tiny_lm)
    compute = Compute()
    with (
        pytest.raises(KeyError),
        reusing_frozen(lm, "a", ITEMS, reads=2, max_tokens=24, folder=tmp_path, compute=compute),
    ):
        raise KeyError
    assert lm.frozen is None
    assert compute.flops == 0


def test_the_lower_layers_are_counted_once(tiny_lm: Make, tmp_path: Path) -> None:
    lm, compute = adapted(tiny_lm), Compute()
    packed = pack(ITEMS[:2])
    whole = train_flops(lm, packed, labels=5, first_layer=FIRST)
    below = whole - train_flops(lm, packed, labels=5, first_layer=FIRST, start=FIRST)
    assert below == pytest.approx(forward_flops(lm, packed, layers=FIRST))
    with reusing_frozen(lm, "a", [*ITEMS[:2], ITEMS[0]], reads=2, max_tokens=24, folder=tmp_path, compute=compute):
        pass
    assert compute.flops == pytest.approx(below)
    assert compute.tokens == 0
