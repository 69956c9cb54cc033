"""A chat model behind an address: one question, one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from kilter.errors import ServerError
from kilter.models.endpoint import Endpoint

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message


class _Chat(BaseModel):
    choices: list[_Choice]


class ChatModel:
    """Answers questions, each in a conversation of its own.

    Args:
        address, key, timeout: see `Endpoint`.
        model: the server's name for the model; None takes the first it lists.
        max_tokens: longest answer.
        temperature: of answers for which no other one is asked.

    Attributes:
        model: the server's name for it.

    Raises:
        ServerError: the server does not answer, or lists no model.
    """

    def __init__(
        self, address: str, model: str | None = None, *, key: str | None = None, timeout: float = 600.0,
        max_tokens: int = 512, temperature: float = 0.0,
    ) -> None:  # fmt: skip
        self._endpoint = Endpoint(address, key=key, timeout=timeout)
        self.model = model or self._first_model()
        self._max_tokens, self._temperature = max_tokens, temperature

    def answer(self, question: str, seed: int, *, temperature: float | None = None) -> str:
        """The answer; empty where the model says nothing. Raises `ServerError` where the server does not answer."""
        body: dict[str, Any] = {
            "model": self.model, "messages": [{"role": "user", "content": question}], "max_tokens": self._max_tokens,
            "temperature": self._temperature if temperature is None else temperature, "seed": seed,
        }  # fmt: skip
        choices = self._endpoint.post("/v1/chat/completions", body, _Chat).choices
        return (choices[0].message.content or "") if choices else ""

    def ask_all(self, ask: Callable[[Asked], Told], what: Sequence[Asked]) -> list[Told]:
        """See `Endpoint.ask_all`: several questions at once, answers in order."""
        return self._endpoint.ask_all(ask, what)

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def _first_model(self) -> str:
        cards = self._endpoint.cards()
        if not cards:
            raise ServerError(f"The server at {self._endpoint.address} lists no model.")
        return cards[0].id
