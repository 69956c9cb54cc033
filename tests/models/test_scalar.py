from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kilter.errors import ModelError
from kilter.models import Item, LanguageModel, LoraConfig, pack
from kilter.models.scalar import HEAD_FILE, ScalarModel

Make = Callable[..., LanguageModel]
PACKED = pack([Item([5, 6, 7], [[8, 9, 2], [10]]), Item([11], [[12, 13]])])


def trained(lm: LanguageModel, adapter: str | None = "reward", layers: int | None = None) -> ScalarModel:
    if adapter is not None:
        lm.adapters.add(adapter, LoraConfig(2, 4.0, ("q_proj", "up_proj")), torch.Generator().manual_seed(0))
    model = ScalarModel.create(lm, adapter, layers)
    for index, parameter in enumerate(model.parameters()):
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
        parameter.data.add_(0.2 * noise)
    model.mean, model.std = 0.25, 1.5
    return model


def test_starts_by_saying_nothing(tiny_lm: Make) -> None:
    model = ScalarModel.create(tiny_lm(), None)
    assert model.values(PACKED, PACKED.ends).tolist() == [0, 0, 0]
    assert model.layers == 2


def test_reads_the_last_token_of_each_response_with_its_own_adapter(tiny_lm: Make) -> None:
    lm = tiny_lm()
    model = trained(lm)
    lm.adapters.activate(None)
    values = model.values(PACKED, PACKED.ends)
    assert lm.adapters.active is None
    with lm.adapters.use("reward"):
        for number, ids in enumerate([[5, 6, 7, 8, 9, 2], [5, 6, 7, 10], [11, 12, 13]]):
            hidden = lm.hidden_states(pack([Item(ids, [])]))[-1]
            expected = (hidden @ model.head - 0.25) / 1.5
            torch.testing.assert_close(values[number], expected, rtol=1e-5, atol=1e-6)


def test_the_mean_is_over_the_responses_own_tokens(tiny_lm: Make) -> None:
    lm = tiny_lm()
    model = trained(lm)
    model.pooling = "mean"
    packed = pack([Item([5, 6, 7], [[8, 9, 2], [10], []]), Item([11], [[12, 13]]), Item([], [[14, 15]])])
    scores = model.scores(packed)
    rows = [([5, 6, 7], [8, 9, 2]), ([5, 6, 7], [10]), ([5, 6], [7]), ([11], [12, 13]), ([], [14, 15])]
    with lm.adapters.use("reward"):
        for number, (prompt, response) in enumerate(rows):  # an empty response is read at its prompt's end
            hidden = lm.hidden_states(pack([Item(prompt + response, [])]))[len(prompt) :].mean(0)
            expected = (hidden @ model.head - 0.25) / 1.5
            torch.testing.assert_close(scores[number], expected, rtol=1e-5, atol=1e-6)
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is not None for one in model.parameters())


@pytest.mark.parametrize("layers", [None, 1])
def test_gradients_reach_all_its_parameters_and_no_others(tiny_lm: Make, layers: int | None) -> None:
    lm = tiny_lm()
    model = trained(lm, layers=layers)
    model.values(PACKED, PACKED.ends).sum().backward()  # type: ignore[no-untyped-call]
    own = {id(one) for one in model.parameters()}
    assert len(own) == 1 + 2 * 2 * (layers or 2)
    assert all(one.grad is not None for one in model.parameters())
    assert all(one.grad is None for one in lm.model.parameters() if id(one) not in own)


@pytest.mark.parametrize("layers", [None, 1])
def test_a_whole_trunk_trains_up_to_the_last_layer_read(tiny_lm: Make, layers: int | None) -> None:
    lm = tiny_lm("qwen2")
    lm.model.requires_grad_(True)
    model = trained(lm, None, layers)
    model.values(PACKED, PACKED.ends).sum().backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is not None for one in model.parameters())
    names = {id(one): name for name, one in lm.model.named_parameters()}
    listed = {names[id(one)] for one in model.parameters()[1:]}
    assert "lm_head.weight" not in listed
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= listed
    assert any(".1." in name for name in listed) == (layers is None)


def test_saved_and_loaded_gives_the_same_bits(tiny_lm: Make, tmp_path: Path) -> None:
    model = trained(tiny_lm(), layers=1)
    model.save(tmp_path)
    again = ScalarModel.load(tiny_lm(), tmp_path, "mine")
    assert (again.adapter, again.layers, again.mean, again.std) == ("mine", 1, 0.25, 1.5)
    assert torch.equal(again.values(PACKED, PACKED.ends), model.values(PACKED, PACKED.ends))


def test_saved_whole_and_loaded_gives_the_same_bits(tiny_lm: Make, tmp_path: Path) -> None:
    from kilter.models import load

    model = trained(tiny_lm(), None)
    model.save(tmp_path)
    again = ScalarModel.load(load(tmp_path, dtype="float32"), tmp_path, "mine")
    assert again.adapter is None
    assert torch.equal(again.values(PACKED, PACKED.ends), model.values(PACKED, PACKED.ends))


def test_take_head_brings_head_and_normalization(tiny_lm: Make, tmp_path: Path) -> None:
    model = trained(tiny_lm())
    model.save(tmp_path)
    other = ScalarModel.create(tiny_lm(), None)
    other.take_head(tmp_path)
    assert torch.equal(other.head, model.head)
    assert (other.mean, other.std) == (0.25, 1.5)


def test_what_does_not_fit_is_refused(tiny_lm: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no reward model"):
        ScalarModel.load(tiny_lm(), tmp_path, "mine")
    trained(tiny_lm()).save(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "base_sha256": "0" * 64}))
    lm = tiny_lm()
    with pytest.raises(ModelError, match="another version"):
        ScalarModel.load(lm, tmp_path, "mine")
    assert not lm.adapters.configs


def test_a_head_of_another_width_is_refused(tiny_lm: Make, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(
        {"weight": torch.zeros(48)}, tmp_path / HEAD_FILE,
        metadata={"kilter": json.dumps({"layers": 1, "mean": 0.0, "std": 1.0})},
    )  # fmt: skip
    with pytest.raises(ModelError, match="reads 48 features"):
        ScalarModel.load(tiny_lm(), tmp_path, "mine")
