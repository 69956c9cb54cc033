"""What the server answers, in the form of OpenAI's API with vLLM's token ids."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from kilter.models import LanguageModel, Response

Alternatives = Callable[[int, Response], tuple[Tensor, Tensor]]
"""(number of the prompt, response) to log-probabilities and ids of the likeliest tokens, each [T, count]."""


def model_cards(names: Sequence[str], context: int) -> dict[str, Any]:
    """The answer of /v1/models: the model, then its adapters."""
    model = names[0]
    cards = [
        {
            "id": name, "object": "model", "created": 0, "owned_by": "kilter",
            "parent": None if name == model else model, "max_model_len": context,
        }
        for name in names
    ]  # fmt: skip
    return {"object": "list", "data": cards}


def completion(
    lm: LanguageModel, model: str, prompts: Sequence[Sequence[int]], groups: Sequence[Sequence[Response]], *,
    ids: bool, token_names: bool, logprobs: bool, alternatives: Alternatives | None,
) -> dict[str, Any]:  # fmt: skip
    """The answer of /v1/completions: n choices per prompt, in order."""
    name = _namer(lm, token_names)
    choices: list[dict[str, Any]] = []
    for number, (prompt, group) in enumerate(zip(prompts, groups, strict=True)):
        for one in group:
            choice: dict[str, Any] = {
                "index": len(choices), "text": one.text, "finish_reason": _reason(one), "logprobs": None,
            }  # fmt: skip
            if logprobs:
                top = alternatives(number, one) if alternatives is not None else None
                choice["logprobs"] = _legacy_logprobs(one, top, name)
            if ids:
                choice |= {"token_ids": one.tokens, "prompt_token_ids": list(prompt)}
            choices.append(choice)
    return _envelope("cmpl", "text_completion", model, choices, prompts, groups)


def chat_completion(
    lm: LanguageModel, model: str, prompt: Sequence[int], group: Sequence[Response], *,
    ids: bool, token_names: bool, logprobs: bool, alternatives: Alternatives | None,
) -> dict[str, Any]:  # fmt: skip
    """The answer of /v1/chat/completions."""
    name = _namer(lm, token_names)
    choices: list[dict[str, Any]] = []
    for index, one in enumerate(group):
        choice: dict[str, Any] = {
            "index": index, "message": {"role": "assistant", "content": one.text}, "finish_reason": _reason(one),
            "logprobs": None,
        }  # fmt: skip
        if logprobs:
            top = alternatives(0, one) if alternatives is not None else None
            choice["logprobs"] = {"content": _chat_logprobs(one, top, name)}
        if ids:
            choice["token_ids"] = one.tokens
        choices.append(choice)
    answer = _envelope("chatcmpl", "chat.completion", model, choices, [prompt], [group])
    return answer | ({"prompt_token_ids": list(prompt)} if ids else {})


def error(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _envelope(
    stem: str, kind: str, model: str, choices: list[dict[str, Any]], prompts: Sequence[Sequence[int]],
    groups: Sequence[Sequence[Response]],
) -> dict[str, Any]:  # fmt: skip
    read = sum(map(len, prompts))
    drawn = sum(len(one.tokens) for group in groups for one in group)
    return {
        "id": f"{stem}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model,
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn},
    }  # fmt: skip


def _reason(response: Response) -> str:
    return "stop" if response.finished else "length"


def _namer(lm: LanguageModel, as_ids: bool) -> Callable[[int], str]:
    """How a token is written where the protocol wants text, special tokens included."""
    if as_ids:
        return lambda token: f"token_id:{token}"
    return lambda token: str(lm.tokenizer.decode([token]))


def _legacy_logprobs(
    response: Response, top: tuple[Tensor, Tensor] | None, name: Callable[[int], str]
) -> dict[str, Any]:
    tokens = [name(token) for token in response.tokens]
    likeliest = [{token: value} for token, value in zip(tokens, response.logprobs, strict=True)]
    for place, (values, ids) in enumerate(zip(*(one.tolist() for one in top), strict=True) if top else ()):
        # the sampled token's own value comes last, so that its text shared with another never hides it
        others = {name(token): value for token, value in zip(ids, values, strict=True)}
        likeliest[place] = others | likeliest[place]
    offsets = [0, *itertools.accumulate(map(len, tokens))][: len(tokens)]
    return {
        "tokens": tokens, "token_logprobs": response.logprobs, "top_logprobs": likeliest, "text_offset": offsets,
    }  # fmt: skip


def _chat_logprobs(
    response: Response, top: tuple[Tensor, Tensor] | None, name: Callable[[int], str]
) -> list[dict[str, Any]]:
    def entry(token: int, logprob: float) -> dict[str, Any]:
        text = name(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    entries = [
        entry(token, value) | {"top_logprobs": []}
        for token, value in zip(response.tokens, response.logprobs, strict=True)
    ]
    for place, (values, ids) in enumerate(zip(*(one.tolist() for one in top), strict=True) if top else ()):
        entries[place]["top_logprobs"] = [entry(token, value) for token, value in zip(ids, values, strict=True)]
    return entries
