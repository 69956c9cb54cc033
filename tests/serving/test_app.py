"""The protocol, over real HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch

from kilter.models import Item, LanguageModel, LoraConfig, sample, score

Make = Callable[..., LanguageModel]
Serve = Callable[..., str]
PROMPT = [5, 6, 7]


def ask(address: str, path: str, body: dict[str, Any] | None = None, **more: Any) -> Any:
    response = httpx2.post(f"{address}{path}", json=body, **more)
    assert response.status_code == 200, response.text
    return response.json()


def refused(address: str, path: str, body: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    response = httpx2.post(f"{address}{path}", json=body, **more)
    error = response.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    return response.status_code, error


def adapter(lm: LanguageModel, folder: Path, shift: float = 0.3) -> Path:
    """An adapter of this model that changes what it says."""
    lm.adapters.add("made", LoraConfig(2, 4.0, ("q_proj", "v_proj")), torch.Generator().manual_seed(3))
    for one in lm.adapters.parameters("made"):
        one.data.add_(shift)
    lm.adapters.save("made", folder, lm.base_name, {"base_sha256": lm.weights_hash})
    return folder


def test_completions_of_token_ids_are_those_of_sample(tiny_lm: Make, serve: Serve) -> None:
    lm = tiny_lm()
    body = {
        "model": "tiny", "prompt": [PROMPT, [9]], "n": 3, "max_tokens": 12, "seed": 4, "temperature": 0.8,
        "logprobs": 0, "return_token_ids": True,
    }  # fmt: skip
    answer = ask(serve(), "/v1/completions", body)
    expected = sample(lm, [PROMPT, [9]], n=3, max_new_tokens=12, seed=4, temperature=0.8)
    flat = [one for group in expected for one in group]
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    for choice, one in zip(answer["choices"], flat, strict=True):
        assert choice["token_ids"] == one.tokens
        assert choice["logprobs"]["token_logprobs"] == one.logprobs  # to the bit
        assert len(choice["logprobs"]["tokens"]) == len(choice["logprobs"]["text_offset"]) == len(one.tokens)
        assert choice["text"] == one.text
        assert choice["finish_reason"] == ("stop" if one.finished else "length")
    assert [choice["prompt_token_ids"] for choice in answer["choices"]] == [PROMPT] * 3 + [[9]] * 3
    drawn = sum(len(one.tokens) for one in flat)
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": drawn, "total_tokens": 4 + drawn}


@pytest.mark.parametrize("prompt", ["hi", ["hi"], [75, 76]])
def test_a_prompt_has_four_forms(tiny_lm: Make, serve: Serve, prompt: Any) -> None:
    lm = tiny_lm()
    body = {"prompt": prompt, "temperature": 0, "return_token_ids": True}
    [choice] = ask(serve(), "/v1/completions", body)["choices"]
    ids = prompt if isinstance(prompt[0], int) else lm.encode_text("hi")
    [[expected]] = sample(lm, [ids], max_new_tokens=16, temperature=0)
    assert choice["token_ids"] == expected.tokens
    assert choice["logprobs"] is None


def test_a_stop_string_ends_a_completion(tiny_lm: Make, serve: Serve) -> None:
    lm, address = tiny_lm(), serve()
    [[whole]] = sample(lm, [PROMPT], max_new_tokens=16, seed=1)
    stop = whole.text[3:5]
    body = {"prompt": PROMPT, "seed": 1, "stop": stop, "return_token_ids": True}
    [choice] = ask(address, "/v1/completions", body)["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["text"] == whole.text[: whole.text.index(stop)]
    assert choice["token_ids"] == whole.tokens[: len(choice["token_ids"])]


def test_without_a_seed_answers_differ(serve: Serve) -> None:
    address, body = serve(), {"prompt": PROMPT, "max_tokens": 20, "return_token_ids": True}
    one, other = (ask(address, "/v1/completions", body)["choices"][0]["token_ids"] for _ in range(2))
    assert one != other


def test_the_likeliest_tokens_at_each_place(tiny_lm: Make, serve: Serve) -> None:
    lm = tiny_lm()
    body = {
        "prompt": PROMPT, "seed": 2, "logprobs": 3, "temperature": 0.5, "return_token_ids": True,
        "return_tokens_as_token_ids": True, "max_tokens": 5,
    }  # fmt: skip
    [choice] = ask(serve(), "/v1/completions", body)["choices"]
    tokens = choice["token_ids"]
    for place, top in enumerate(choice["logprobs"]["top_logprobs"]):
        assert 3 <= len(top) <= 4
        for name, value in top.items():
            response = [*tokens[:place], int(name.removeprefix("token_id:"))]
            [scores] = score(lm, [Item(PROMPT, [response])], temperature=0.5)
            assert value == pytest.approx(float(scores.logprobs[0][-1]), abs=1e-4)
        sampled = top[f"token_id:{tokens[place]}"]
        assert sampled == choice["logprobs"]["token_logprobs"][place]


def test_chat_uses_the_chat_template(tiny_lm: Make, serve: Serve) -> None:
    lm = tiny_lm()
    messages: list[Any] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "good "}, {"type": "text", "text": "day"}]},
    ]
    body = {
        "messages": messages, "max_tokens": 6, "n": 2, "seed": 3, "logprobs": True, "top_logprobs": 2,
        "return_token_ids": True,
    }  # fmt: skip
    answer = ask(serve(), "/v1/chat/completions", body)
    prompt = lm.encode_chat([{"role": "system", "content": "be brief"}, {"role": "user", "content": "good day"}])
    [expected] = sample(lm, [prompt], n=2, max_new_tokens=6, seed=3)
    assert answer["prompt_token_ids"] == prompt
    for choice, one in zip(answer["choices"], expected, strict=True):
        assert choice["message"] == {"role": "assistant", "content": one.text}
        assert choice["token_ids"] == one.tokens
        content = choice["logprobs"]["content"]
        assert [entry["logprob"] for entry in content] == one.logprobs
        assert all(len(entry["top_logprobs"]) == 2 for entry in content)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": PROMPT, "temperature": -1}, "temperature"),
        ({"prompt": PROMPT, "n": 0}, "n"),
        ({"prompt": PROMPT, "logit_bias": {"5": 1}}, "logit_bias"),
        ({"prompt": PROMPT, "stream": True}, "stream"),
        ({"prompt": PROMPT, "frequency_penalty": 0.5}, "frequency_penalty"),
        ({"prompt": [5000]}, None),
        ({"prompt": PROMPT, "max_tokens": 5000}, None),
        ({"prompt": PROMPT, "stop": [""]}, None),
        ({"prompt": [[]]}, None),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(serve: Serve, body: dict[str, Any], param: str | None) -> None:
    status, error = refused(serve(), "/v1/completions", body)
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param or "")
    assert param is None or error["param"]


def test_alternatives_need_logprobs(serve: Serve) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2}
    status, error = refused(serve(), "/v1/chat/completions", body)
    assert status == 400
    assert "top_logprobs has no effect without logprobs" in error["message"]


def test_a_page_in_a_browser_cannot_ask(serve: Serve) -> None:
    """What a page may send elsewhere unasked is plain text; a request must be declared as JSON."""
    response = httpx2.post(
        f"{serve()}/v1/completions", content='{"prompt": "x"}', headers={"Content-Type": "text/plain"}
    )
    assert response.status_code == 400


def test_unknown_models_and_routes_are_not_found(serve: Serve) -> None:
    address = serve()
    status, error = refused(address, "/v1/completions", {"model": "other", "prompt": PROMPT})
    assert (status, error["code"]) == (404, "model_not_found")
    assert "'other' does not exist; served: tiny" in error["message"]
    assert refused(address, "/v1/nothing", {})[0] == 404
    assert refused(address, "/v1/models", {})[0] == 405
    assert refused(address, "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "b"})[0] == 404


def test_a_fault_tells_nothing(serve: Serve, tiny_lm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(lm, "encode_chat", fail)
    status, error = refused(serve(lm), "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]})
    assert status == 500
    assert "secret" not in str(error)


def test_health_and_models(serve: Serve) -> None:
    address = serve(name="mine")
    assert httpx2.get(f"{address}/health").status_code == 200
    [card] = httpx2.get(f"{address}/v1/models").json()["data"]
    assert (card["id"], card["owned_by"], card["parent"], card["max_model_len"]) == ("mine", "kilter", None, 512)


def test_a_key_is_asked_for(serve: Serve) -> None:
    address = serve(key="secret")
    assert httpx2.get(f"{address}/health").status_code == 200
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret2"}):
        response = httpx2.get(f"{address}/v1/models", headers=given)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
    assert httpx2.get(f"{address}/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_adapters_come_change_and_go(serve: Serve, tiny_lm: Make, tmp_path: Path) -> None:
    address = serve(folder=tmp_path)
    body = {"prompt": PROMPT, "seed": 5, "return_token_ids": True, "max_tokens": 20}

    def drawn(model: str) -> list[int]:
        ids: list[int] = ask(address, "/v1/completions", {**body, "model": model})["choices"][0]["token_ids"]
        return ids

    before = drawn("tiny")
    load = {"lora_name": "a", "lora_path": str(adapter(tiny_lm(), tmp_path / "a"))}
    response = httpx2.post(f"{address}/v1/load_lora_adapter", json=load)
    assert (response.status_code, response.text) == (200, "Success: LoRA adapter 'a' added successfully.")
    cards = httpx2.get(f"{address}/v1/models").json()["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [("tiny", None), ("a", "tiny")]
    first = drawn("a")
    assert first != before
    assert drawn("tiny") == before

    assert refused(address, "/v1/load_lora_adapter", load)[0] == 400
    adapter(tiny_lm(), tmp_path / "a", shift=-0.4)
    assert drawn("a") == first
    assert httpx2.post(f"{address}/v1/load_lora_adapter", json={**load, "load_inplace": True}).status_code == 200
    assert drawn("a") not in (first, before)

    assert httpx2.post(f"{address}/v1/unload_lora_adapter", json={"lora_name": "a"}).status_code == 200
    assert refused(address, "/v1/unload_lora_adapter", {"lora_name": "a"})[0] == 404
    assert refused(address, "/v1/unload_lora_adapter", {"lora_name": "tiny"})[0] == 400
    assert refused(address, "/v1/completions", {**body, "model": "a"})[0] == 404
    assert drawn("tiny") == before


def test_adapters_from_elsewhere_or_of_another_model_are_refused(serve: Serve, tiny_lm: Make, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    address = serve(folder=allowed)
    outside = adapter(tiny_lm(), tmp_path / "outside")
    (allowed / "link").symlink_to(outside)
    other = adapter(tiny_lm(vocabulary=24), allowed / "other")
    (allowed / "empty").mkdir()
    (allowed / "broken").mkdir()
    (allowed / "broken" / "adapter_config.json").write_text("{}")
    said = {}
    for path in (outside, allowed / ".." / "outside", allowed / "link", other, allowed / "empty", allowed / "broken"):
        load = {"lora_name": "a", "lora_path": str(path)}
        status, error = refused(address, "/v1/load_lora_adapter", load)
        assert status == 400
        said[path] = error["message"]
    assert "is not under" in said[outside]
    assert "is not under" in said[allowed / "link"]
    assert "another model" in said[other]
    assert len(httpx2.get(f"{address}/v1/models").json()["data"]) == 1
    own = {"lora_name": "tiny", "lora_path": str(other), "load_inplace": True}
    assert refused(address, "/v1/load_lora_adapter", own)[0] == 400


def test_weights_come_from_disk(serve: Serve, tiny_lm: Make, tmp_path: Path) -> None:
    changed = tiny_lm()
    for parameter in changed.model.parameters():
        parameter.data.mul_(1.2)
    changed.model.save_pretrained(tmp_path / "weights")
    address = serve(folder=tmp_path)
    load = {"lora_name": "a", "lora_path": str(adapter(tiny_lm(), tmp_path / "a"))}
    assert httpx2.post(f"{address}/v1/load_lora_adapter", json=load).status_code == 200  # layers are wrapped now
    ask(address, "/init_weight_transfer_engine", {"init_info": {}})
    ask(address, "/start_weight_update")
    ask(address, "/update_weights", {"update_info": {"path": str(tmp_path / "weights")}})
    ask(address, "/finish_weight_update")
    body = {"prompt": PROMPT, "seed": 1, "logprobs": 0, "return_token_ids": True}
    [choice] = ask(address, "/v1/completions", body)["choices"]
    [[expected]] = sample(changed, [PROMPT], max_new_tokens=16, seed=1)
    assert choice["token_ids"] == expected.tokens
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(expected.logprobs, abs=1e-5)

    tiny_lm(vocabulary=24).model.save_pretrained(tmp_path / "other")
    update = {"update_info": {"path": str(tmp_path / "other")}}
    status, error = refused(address, "/update_weights", update)
    assert status == 400
    assert "not this model's" in error["message"]


def test_nothing_of_a_prompt_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    address = serve()
    with caplog.at_level(logging.DEBUG):
        ask(address, "/v1/completions", {"prompt": "zebra crossing", "max_tokens": 3})
        refused(address, "/v1/completions", {"prompt": "zebra crossing", "max_tokens": 5000})
    written = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "zebra" not in written.out + written.err + "".join(ours)
