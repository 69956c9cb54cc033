"""The routes: what OpenAI's clients and vLLM's callers ask for, carried out by one served model.

Prompts and responses are written nowhere; an error tells no more than what was wrong with the request.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from kilter.errors import KilterError, ModelError
from kilter.serving import answers
from kilter.serving.requests import (
    MOST_PROMPTS,
    ChatRequest,
    CompletionRequest,
    LoadAdapter,
    Sampling,
    UnloadAdapter,
    UpdateWeights,
)
from kilter.serving.served_model import ServedModel, UnknownModel

_BAD, _UNKNOWN = "invalid_request_error", "not_found_error"


class _TooMuch(KilterError):
    """A request asks for more than the server does at once."""


def create_app(served: ServedModel, key: str | None = None) -> FastAPI:
    """The application.

    Args:
        served: the model; where it has a folder, adapters and weights can be loaded from there.
        key: every request but /health must bring it as a bearer token; None asks for none.
    """
    app = FastAPI(title="kilter serve", docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)
    if key is not None:
        app.middleware("http")(partial(_guard, key.encode()))
    _add_models(app, served)
    _add_completions(app, served)
    if served.folder is not None:
        _add_loading(app, served)
    return app


def _add_models(app: FastAPI, served: ServedModel) -> None:
    @app.get("/health")
    def health() -> Response:
        return Response()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return answers.model_cards(served.names, served.lm.context)


def _add_completions(app: FastAPI, served: ServedModel) -> None:
    @app.post("/v1/completions")
    def completions(request: CompletionRequest) -> dict[str, Any]:
        prompts = _encoded(served, request)
        if len(prompts) > MOST_PROMPTS:
            raise _TooMuch(f"A request may have {MOST_PROMPTS} prompts; this one has {len(prompts)}.")
        groups = _sampled(served, request, prompts, request.max_tokens)
        return answers.completion(
            served.lm, request.model or served.name, prompts, groups, ids=request.return_token_ids,
            token_names=request.return_tokens_as_token_ids, logprobs=request.logprobs is not None,
            alternatives=_alternatives(served, request, prompts, request.logprobs or 0),
        )  # fmt: skip

    @app.post("/v1/chat/completions")
    def chat(request: ChatRequest) -> dict[str, Any]:
        prompt = served.lm.encode_chat(request.chat())
        room = max(served.lm.context - len(prompt), 1)
        [group] = _sampled(served, request, [prompt], request.max_completion_tokens or request.max_tokens or room)
        return answers.chat_completion(
            served.lm, request.model or served.name, prompt, group, ids=request.return_token_ids,
            token_names=request.return_tokens_as_token_ids, logprobs=request.logprobs,
            alternatives=_alternatives(served, request, [prompt], request.top_logprobs),
        )  # fmt: skip


def _add_loading(app: FastAPI, served: ServedModel) -> None:
    @app.post("/v1/load_lora_adapter")
    def load_adapter(request: LoadAdapter) -> Response:
        served.load_adapter(request.lora_name, request.lora_path, in_place=request.load_inplace)
        return PlainTextResponse(f"Success: LoRA adapter '{request.lora_name}' added successfully.")

    @app.post("/v1/unload_lora_adapter")
    def unload_adapter(request: UnloadAdapter) -> Response:
        served.unload_adapter(request.lora_name)
        return PlainTextResponse(f"Success: LoRA adapter '{request.lora_name}' removed successfully.")

    @app.post("/update_weights")
    def update_weights(request: UpdateWeights) -> dict[str, str]:
        served.load_weights(request.update_info.path)
        return {"message": "Weights updated"}

    # The rest of vLLM's weight transfer. Here the lock keeps requests apart and nothing is cached between them.
    for path in ("/pause", "/init_weight_transfer_engine", "/start_weight_update", "/finish_weight_update", "/resume"):
        app.add_api_route(path, _nothing_to_do, methods=["POST"])


def _nothing_to_do() -> dict[str, str]:
    return {"message": "done"}


def _encoded(served: ServedModel, request: CompletionRequest) -> list[list[int]]:
    """The prompts as token ids, whichever of its four forms the field has."""
    prompt = request.prompt
    several = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
    special = request.add_special_tokens
    return [
        served.lm.tokenizer.encode(one, add_special_tokens=special) if isinstance(one, str) else list(one)
        for one in several
    ]


def _sampled(served: ServedModel, request: Sampling, prompts: list[list[int]], most: int) -> Any:
    seed = secrets.randbits(62) if request.seed is None else request.seed
    return served.sample(request.model, prompts, seed=seed, max_new_tokens=most, **request.options())


def _alternatives(
    served: ServedModel, request: Sampling, prompts: list[list[int]], count: int
) -> answers.Alternatives | None:
    if not count:
        return None
    return lambda number, one: served.alternatives(
        request.model, prompts[number], one.tokens, count, request.temperature
    )


async def _guard(key: bytes, request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
    """Let pass who has the key; compared in constant time, so that its letters cannot be guessed one by one."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    if request.url.path != "/health" and not hmac.compare_digest(given, key):
        return JSONResponse(answers.error("The bearer key is missing or wrong.", _BAD, "invalid_api_key"), 401)
    return await follow(request)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UnknownModel)
    def unknown(_: Request, error: UnknownModel) -> JSONResponse:
        return JSONResponse(answers.error(str(error), _UNKNOWN, "model_not_found", "model"), 404)

    @app.exception_handler(KilterError)
    def unfit(_: Request, error: KilterError) -> JSONResponse:
        return JSONResponse(answers.error(str(error), _BAD, "model" if isinstance(error, ModelError) else None), 400)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"] if part != "body") or None
        text = f"{field}: {problem['msg']}" if field else str(problem["msg"])
        return JSONResponse(answers.error(text, _BAD, None, field), 400)

    @app.exception_handler(HTTPException)
    def elsewhere(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(answers.error(str(error.detail), _BAD), error.status_code)

    @app.exception_handler(Exception)
    def broken(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse(answers.error("A fault in the server.", "server_error"), 500)
