from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from planted import comparisons

from kilter.errors import ModelError
from kilter.models import Item, LanguageModel, LoraConfig
from kilter.models.ensemble import RewardEnsemble
from kilter.models.scalar import ScalarModel
from kilter.training import preference_uncertainty, reward_scores

Make = Callable[..., LanguageModel]
PAIRS = [Item(one.item.prompt, one.item.responses[:2]) for one in comparisons(12)]


def opinion(lm: LanguageModel, name: str, seed: int = 0) -> ScalarModel:
    lm.adapters.add(name, LoraConfig(2, 4.0, ("q_proj",)), torch.Generator().manual_seed(seed))
    model = ScalarModel.create(lm, name)
    model.head.data = torch.randn(model.head.shape, generator=torch.Generator().manual_seed(seed))
    return model


def test_it_is_one_for_equal_responses_and_falls_with_the_margin(tiny_lm: Make) -> None:
    model = opinion(tiny_lm(), "a")
    found = preference_uncertainty(model, [*PAIRS, Item([70], [[80, 2], [80, 2]])])
    margins = [abs(float(one[0] - one[1])) for one in reward_scores(model, PAIRS)]
    assert found[-1] == pytest.approx(1.0, abs=1e-5)
    expected = [1 - abs(2 * float(torch.sigmoid(torch.tensor(one))) - 1) for one in margins]
    assert found[:-1] == pytest.approx(expected, abs=1e-5)
    assert sorted(range(12), key=lambda index: margins[index]) == sorted(range(12), key=lambda index: -found[index])


def test_the_unit_in_which_scores_are_told_does_not_matter(tiny_lm: Make) -> None:
    model = opinion(tiny_lm(), "a")
    before = preference_uncertainty(model, PAIRS)
    model.mean, model.std = 3.0, 7.0
    assert preference_uncertainty(model, PAIRS) == pytest.approx(before, abs=1e-4)


def test_of_several_responses_it_is_the_mean_over_pairs_and_packs_do_not_matter(tiny_lm: Make) -> None:
    model = opinion(tiny_lm(), "a")
    several = [one.item for one in comparisons(5)]
    found = preference_uncertainty(model, several)
    for item, value in zip(several, found, strict=True):
        pairs = [Item(item.prompt, [item.responses[i], item.responses[j]]) for i in range(4) for j in range(i)]
        assert value == pytest.approx(sum(preference_uncertainty(model, pairs)) / 6, abs=1e-4)
    assert preference_uncertainty(model, several, max_tokens=40) == pytest.approx(found, abs=1e-4)


def test_members_that_differ_are_unsure_together(tiny_lm: Make) -> None:
    lm = tiny_lm()
    one = opinion(lm, "a")
    against = ScalarModel(lm, "a", torch.nn.Parameter(-one.head.data), one.layers)
    assert preference_uncertainty(RewardEnsemble([one, against], "mean"), PAIRS) == pytest.approx([1.0] * 12, abs=1e-4)
    alone = preference_uncertainty(one, PAIRS)
    assert preference_uncertainty(RewardEnsemble([one, one], "worst"), PAIRS) == pytest.approx(alone, abs=1e-5)


def test_what_has_no_margin_is_refused(tiny_lm: Make) -> None:
    model = opinion(tiny_lm(), "a")
    with pytest.raises(ModelError, match="a margin lies between two"):
        preference_uncertainty(model, [Item([70], [[80, 2]])])
    model.head.data[0] = torch.nan
    with pytest.raises(ModelError, match="no finite numbers"):
        preference_uncertainty(model, PAIRS)
