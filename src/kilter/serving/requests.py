"""What may be asked of the server: the part of OpenAI's and vLLM's requests that it carries out.

A field that is not here is refused by name, because a setting that is silently ignored is worse than none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kilter.models.language_model import Message

Token = Annotated[int, Field(ge=0)]
MOST_PROMPTS, MOST_SAMPLES, MOST_ALTERNATIVES = 4096, 1024, 20


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Sampling(_Request):
    """What both kinds of completion share; names and defaults are OpenAI's and vLLM's."""

    model: str | None = None
    n: int = Field(1, ge=1, le=MOST_SAMPLES)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=-1)
    min_p: float = Field(0.0, ge=0, lt=1)
    repetition_penalty: float = Field(1.0, gt=0)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False
    user: str | None = None
    stream: Literal[False] = False
    frequency_penalty: Literal[0] = 0
    presence_penalty: Literal[0] = 0

    def options(self) -> dict[str, Any]:
        """The settings as `kilter.models.sample` wants them, but for seed and length."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        names = ("n", "temperature", "top_p", "min_p", "repetition_penalty")
        return {name: getattr(self, name) for name in names} | {"top_k": max(self.top_k, 0), "stop": stop}


class CompletionRequest(Sampling):
    """POST /v1/completions."""

    prompt: str | Annotated[list[Token] | list[str] | list[list[Token]], Field(min_length=1, max_length=2**20)]
    max_tokens: int = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=MOST_ALTERNATIVES)
    echo: Literal[False] = False
    add_special_tokens: bool = True


class _TextPart(_Request):
    type: Literal["text"]
    text: str


class _Turn(_Request):
    role: str
    content: str | list[_TextPart]
    name: str | None = None

    def message(self) -> Message:
        parts = self.content
        return {"role": self.role, "content": parts if isinstance(parts, str) else "".join(one.text for one in parts)}


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: list[_Turn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_ALTERNATIVES)

    @model_validator(mode="after")
    def _alternatives_of_logprobs(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs has no effect without logprobs: true")
        return self

    def chat(self) -> list[Message]:
        """The messages, their text parts joined."""
        return [turn.message() for turn in self.messages]


class LoadAdapter(_Request):
    """POST /v1/load_lora_adapter; an adapter of the same name is replaced only with `load_inplace`."""

    lora_name: str = Field(min_length=1)
    lora_path: str = Field(min_length=1)
    load_inplace: bool = False


class UnloadAdapter(_Request):
    """POST /v1/unload_lora_adapter."""

    lora_name: str = Field(min_length=1)
    lora_int_id: int | None = None


class _Place(_Request):
    path: str = Field(min_length=1)


class UpdateWeights(_Request):
    """POST /update_weights, as vLLM's weight transfer by disk."""

    update_info: _Place
