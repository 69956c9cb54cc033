"""The remote sampler against Kilter's own server, and against servers that misbehave."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import ModelError, ServerError, SettingsError
from kilter.models import LanguageModel, LoraConfig, sample
from kilter.models.remote import NO_LOGPROBS, RAW_LOGPROBS, RemoteSampler

Make = Callable[..., LanguageModel]
Serve = Callable[..., str]
PROMPTS = [[5, 6, 7], [9, 8]]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_are_those_of_sample_to_the_bit(tiny_lm: Make, serve: Serve, temperature: float) -> None:
    few = {"vocabulary": 24}  # so that the token that ends is drawn at times
    expected = sample(tiny_lm(**few), PROMPTS, n=3, max_new_tokens=20, seed=4, temperature=temperature)
    remote = RemoteSampler(serve(tiny_lm(**few)))
    assert remote.sample(PROMPTS, n=3, max_new_tokens=20, seed=4, temperature=temperature) == expected
    assert {one.finished for group in expected for one in group} == {True, False}
    assert all(one.tokens[-1] == 2 for group in expected for one in group if one.finished)  # EOS is carried
    assert remote.notes == []


def test_a_model_that_is_not_served(serve: Serve, pretend: Callable[..., str]) -> None:
    with pytest.raises(ModelError, match="does not serve 'other'; it lists: tiny"):
        RemoteSampler(serve(), "other")
    with pytest.raises(ModelError, match="any model; it lists: none"):
        RemoteSampler(pretend(lambda *_: (200, {"data": []})))


def test_a_key_opens_the_server(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    address = serve(key="secret")
    with pytest.raises(ServerError, match=r"status 401: .* Name the environment variable"):
        RemoteSampler(address)
    monkeypatch.setenv("SERVER_KEY", "secret")
    assert RemoteSampler(address, key="SERVER_KEY").sample([[5]], max_new_tokens=2)[0][0].tokens


def test_adapters(tiny_lm: Make, serve: Serve, tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.adapters.add("made", LoraConfig(2, 4.0, ("q_proj",)), torch.Generator().manual_seed(0))
    for one in lm.adapters.parameters("made"):
        one.data.add_(0.5)
    lm.adapters.save("made", tmp_path / "a", lm.base_name)
    remote = RemoteSampler(serve(folder=tmp_path))
    before = remote.sample(PROMPTS, max_new_tokens=12, seed=1)
    remote.load_adapter("a", tmp_path / "a")
    remote.load_adapter("a", tmp_path / "a")  # of the same content, so nothing happens
    with lm.adapters.use("made"):
        expected = sample(lm, PROMPTS, max_new_tokens=12, seed=1)
    after = remote.sample(PROMPTS, max_new_tokens=12, seed=1)
    assert after == expected != before
    remote.unload_adapter("a")
    remote.unload_adapter("a")
    with pytest.raises(ServerError, match="does not exist"):
        remote.sample(PROMPTS)


@pytest.mark.parametrize(("what", "hint"), [("adapter", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"), ("weights", "disk")])
def test_a_server_that_takes_nothing_new(serve: Serve, tmp_path: Path, what: str, hint: str) -> None:
    remote = RemoteSampler(serve())
    with pytest.raises(SettingsError, match=f"(?s)status 404.*--adapters.*{hint}.*server_sync: fixed"):
        remote.load_adapter("a", tmp_path) if what == "adapter" else remote.load_weights(tmp_path)


class Pretended:
    """A server in vLLM's words, whose choices are changed by a test.

    It draws nothing: logits are fixed, the token is always 5, and `scaled` says whether its log-probabilities are those
    of the temperature.
    """

    def __init__(self, change: Callable[[dict[str, Any]], Any] = lambda choice: None, scaled: bool = True) -> None:
        self.change, self.scaled = change, scaled
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {
                "data": [{"id": "base", "owned_by": "vllm"}, {"id": "a", "owned_by": "vllm", "parent": "base"}]
            }
        self.bodies.append(body)
        values = torch.tensor([1.0, 0.5, -1.0]) / (body["temperature"] if self.scaled else 1)
        top = values.log_softmax(0).tolist()
        tokens = [5] * body["max_tokens"]
        choices = []
        for index in range(body["n"]):
            choice: dict[str, Any] = {
                "index": index, "text": "five", "finish_reason": "length", "token_ids": tokens,
                "logprobs": {
                    "token_logprobs": [top[0]] * len(tokens),
                    "top_logprobs": [dict(zip("abc", top, strict=True))] * len(tokens),
                },
            }  # fmt: skip
            self.change(choice)
            choices.append(choice)
        return 200, {"choices": choices}


def test_what_vllm_is_asked(pretend: Callable[..., str]) -> None:
    server = Pretended()
    groups = RemoteSampler(pretend(server)).sample(PROMPTS, n=2, max_new_tokens=3, seed=1)
    assert [[one.tokens for one in group] for group in groups] == [[[5, 5, 5]] * 2] * 2
    assert not groups[0][0].finished
    bodies = sorted(server.bodies, key=lambda body: len(body["prompt"][0]), reverse=True)
    assert [body["prompt"] for body in bodies] == [[one] for one in PROMPTS]  # each on its own
    assert bodies[0]["seed"] != bodies[1]["seed"]  # or prompts of one request would share their noise
    plain = {
        "model": "base", "n": 2, "max_tokens": 3, "temperature": 1.0, "logprobs": 0, "return_token_ids": True,
        "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0,  # else from generation_config.json
    }  # fmt: skip
    assert all(plain.items() <= body.items() for body in bodies)


def test_without_token_ids_nothing_is_sampled(pretend: Callable[..., str]) -> None:
    server = Pretended(lambda choice: choice.pop("token_ids"))
    with pytest.raises(ModelError, match="no token ids") as caught:
        RemoteSampler(pretend(server)).sample(PROMPTS)
    assert len(str(caught.value).splitlines()) == 1


def gone(choice: dict[str, Any]) -> None:
    choice["logprobs"] = None


def partly_gone(choice: dict[str, Any]) -> None:
    choice["logprobs"]["token_logprobs"][0] = None


@pytest.mark.parametrize("change", [gone, partly_gone])
def test_without_logprobs_they_are_nan_and_that_is_said_once(pretend: Callable[..., str], change: Any) -> None:
    remote = RemoteSampler(pretend(Pretended(change)))
    groups = remote.sample(PROMPTS, n=2, max_new_tokens=3) + remote.sample(PROMPTS, max_new_tokens=3)
    assert all(len(one.logprobs) == 3 and all(map(math.isnan, one.logprobs)) for group in groups for one in group)
    assert remote.notes == [NO_LOGPROBS]


@pytest.mark.parametrize("scaled", [True, False])
def test_logprobs_before_temperature_are_found_out(pretend: Callable[..., str], scaled: bool) -> None:
    server = Pretended(scaled=scaled)
    remote = RemoteSampler(pretend(server))
    assert not math.isnan(remote.sample([[5]], max_new_tokens=1)[0][0].logprobs[0])  # the same at temperature 1
    for _ in range(2):
        [[one]] = remote.sample([[5]], max_new_tokens=1, temperature=0.5)
        assert math.isnan(one.logprobs[0]) == (not scaled)
    assert remote.notes == ([] if scaled else [RAW_LOGPROBS])
    assert len(server.bodies) == 1 + 2 + 2  # two to find out, once
    expected = float((torch.tensor([1.0, 0.5, -1.0]) / 0.5).log_softmax(0)[0])
    assert not scaled or one.logprobs[0] == pytest.approx(expected)


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"index": 7}, "numbered them wrongly"),
    ({"finish_reason": "abort"}, "broke off a completion"),
    ({"finish_reason": None}, "broke off a completion"),
    ({"token_ids": []}, "something else than the protocol"),
    ({"token_ids": ["x"]}, "something else than the protocol"),
    ({"token_ids": [5]}, "3 log-probabilities for 1 tokens"),
    ({"logprobs": {"token_logprobs": [0.5, 0.5, 0.5]}}, "above 0"),
]


@pytest.mark.parametrize(("change", "said"), MALFORMED)
def test_malformed_answers(pretend: Callable[..., str], change: dict[str, Any], said: str) -> None:
    server = Pretended(lambda choice: choice.update(change))
    with pytest.raises(ServerError, match=said):
        RemoteSampler(pretend(server)).sample([[5]], max_new_tokens=3)


def test_too_few_completions(pretend: Callable[..., str]) -> None:
    server = Pretended()

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        status, value = server(method, path, body)
        return status, {"choices": value["choices"][:1]} if body else value

    with pytest.raises(ServerError, match=r"gave 1 completions, .* n=2 was asked for"):
        RemoteSampler(pretend(answer)).sample([[5]], n=2)


def test_an_adapter_whose_yes_was_lost_is_not_refused_for_being_there(
    pretend: Callable[..., str], impatient: None, tmp_path: Path
) -> None:
    loaded: list[str] = []

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            cards = [{"id": "base"}, *({"id": name, "parent": "base"} for name in loaded)]
            return 200, {"data": cards}
        if body["lora_name"] == "bad" or loaded:
            return 400, {"error": {"message": "has already been loaded"}}
        loaded.append(body["lora_name"])
        return 502, "the gateway lost it"

    remote = RemoteSampler(pretend(answer))
    remote.load_adapter("a", tmp_path)
    assert remote.model == "a"
    with pytest.raises(ServerError, match="already been loaded"):
        remote.load_adapter("bad", tmp_path)
