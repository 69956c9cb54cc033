"""A sampler elsewhere: vLLM, `kilter serve` or any server that gives token ids with its completions.

Token ids are required: text that is tokenized again is often other tokens than were sampled (trl#5224). Truncation and
penalties are turned off in every request, because vLLM takes them from the model's generation config otherwise.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from kilter.errors import ModelError, ServerError, SettingsError
from kilter.models.endpoint import Endpoint
from kilter.models.sample import Response

OWNER = "kilter"
"""What Kilter's own server calls the owner of its models."""
NO_LOGPROBS = "The server gave no log-probabilities, so the trainer's own stood in for the sampler's."
RAW_LOGPROBS = (
    "The server's log-probabilities are those before temperature (vLLM: start it with --logprobs-mode "
    "processed_logprobs), so the trainer's own stood in for the sampler's."
)
_PLAIN = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


class _Logprobs(BaseModel):
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(BaseModel):
    index: int
    text: str = ""
    finish_reason: str | None = None
    token_ids: list[int] | None = Field(None, min_length=1)
    logprobs: _Logprobs | None = None


class _Completion(BaseModel):
    choices: list[_Choice]


class RemoteSampler:
    """Samples as `kilter.models.sample` does, on a server.

    Args:
        address, key, timeout: see `Endpoint`.
        model: the server's name for the model; None takes the first that is no adapter.

    Attributes:
        model: the name that requests go to; `load_adapter` changes it.
        notes: what a run should say of its samples, such as that their log-probabilities are missing.

    Raises:
        ModelError: the server does not serve this model.
        ServerError: it does not answer.
    """

    def __init__(
        self, address: str, model: str | None = None, *, key: str | None = None, timeout: float = 600.0
    ) -> None:
        self._endpoint = Endpoint(address, key=key, timeout=timeout)
        cards = self._endpoint.cards()
        bases = [card.id for card in cards if card.parent is None]
        if not bases or (model is not None and model not in [card.id for card in cards]):
            what = f"'{model}'" if model else "any model"
            listed = ", ".join(card.id for card in cards) or "none"
            raise ModelError(f"The server at {self._endpoint.address} does not serve {what}; it lists: {listed}.")
        self.model = model or bases[0]
        self.notes: list[str] = []
        # Rows of one request to Kilter's server have random numbers of their own. With vLLM all prompts of a request
        # share a seed and with it their noise, so that each prompt is a request.
        self._together = all(card.owned_by == OWNER for card in cards)
        self._scaled: bool | None = self._together or None
        self._ready_for_weights = False

    def sample(
        self, prompts: Sequence[Sequence[int]], *, n: int = 1, max_new_tokens: int = 128, temperature: float = 1.0,
        seed: int = 0,
    ) -> list[list[Response]]:  # fmt: skip
        """Sample `n` responses to each prompt.

        Args:
            prompts: token ids of each prompt.
            n, max_new_tokens, temperature: as for `kilter.models.sample`.
            seed: the same seed gives the same samples where the server's arithmetic repeats itself.

        Returns:
            For each prompt, its n responses. Where the server's log-probabilities are missing, or are not those of
            the sampling temperature, they are NaN, and `notes` says so.

        Raises:
            ModelError: the server gives no token ids.
            ServerError: it does not answer, or not what was asked for.
        """
        if temperature != 1 and self._scaled is None:
            self._scaled = self._gives_scaled_logprobs(prompts[0])
        settings = {"n": n, "max_tokens": max_new_tokens, "temperature": temperature}
        requests = [{**settings, "prompt": list(map(list, prompts)), "seed": seed}]
        if not self._together:
            requests = [
                {**settings, "prompt": [list(prompt)], "seed": random.Random(f"{seed}/{number}").getrandbits(62)}
                for number, prompt in enumerate(prompts)
            ]
        answers = self._endpoint.ask_all(self._complete, requests)
        flat = [self._response(choice, temperature) for answer in answers for choice in answer]
        return [flat[first : first + n] for first in range(0, len(flat), n)]

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter that the server can read in `folder`, and sample with it from now on.

        A name must stand for one content: the server may keep what it has read under it.

        Raises:
            SettingsError: the server loads no adapters while it runs.
            ServerError: it refused this one, or does not answer.
        """
        if not self._lists(name):
            body = {"lora_name": name, "lora_path": str(folder.resolve())}
            try:
                self._endpoint.tell("/v1/load_lora_adapter", body)
            except ServerError as error:
                # tried again after an answer that was lost on the way, it may be refused because it is there
                if error.status != 400 or not self._lists(name):
                    raise _not_offered(error, _NO_ADAPTERS.format(folder=folder)) from error
        self.model = name

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; nothing happens where the server has none of that name."""
        try:
            self._endpoint.tell("/v1/unload_lora_adapter", {"lora_name": name})
        except ServerError as error:
            if error.status not in (400, 404):
                raise

    def load_weights(self, folder: Path) -> None:
        """Let the server read all weights anew from safetensors in `folder`: vLLM's weight transfer by disk.

        Raises:
            SettingsError: the server does not do that.
            ServerError: it refused them, or does not answer.
        """
        try:
            self._endpoint.tell("/pause?mode=wait")  # and forget what was computed with the former weights
            if not self._ready_for_weights:
                self._endpoint.tell("/init_weight_transfer_engine", {"init_info": {}})
                self._ready_for_weights = True
            self._endpoint.tell("/start_weight_update")
            self._endpoint.tell("/update_weights", {"update_info": {"path": str(folder.resolve())}})
            self._endpoint.tell("/finish_weight_update")
            self._endpoint.tell("/resume")
        except ServerError as error:
            raise _not_offered(error, _NO_WEIGHTS) from error

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def _lists(self, name: str) -> bool:
        return name in [card.id for card in self._endpoint.cards()]

    def _complete(self, request: dict[str, Any]) -> list[_Choice]:
        """The choices of one request, n for each of its prompts, in order."""
        body = {"model": self.model, "logprobs": 0, "return_token_ids": True, **_PLAIN, **request}
        choices = self._endpoint.post("/v1/completions", body, _Completion).choices
        choices.sort(key=lambda choice: choice.index)
        if [choice.index for choice in choices] != list(range(request["n"] * len(request["prompt"]))):
            raise ServerError(
                f"The server at {self._endpoint.address} gave {len(choices)} completions, or numbered them wrongly, "
                f"where n={request['n']} was asked for and {len(request['prompt'])} prompts."
            )
        return choices

    def _response(self, choice: _Choice, temperature: float) -> Response:
        if choice.token_ids is None:
            raise ModelError(
                f"The server at {self._endpoint.address} gives no token ids with its completions (return_token_ids). "
                "Text that is tokenized again is often not the tokens that were sampled, so nothing can be learned "
                "from it; use vLLM from 0.10.2 on, or kilter serve."
            )
        if choice.finish_reason not in ("stop", "length"):
            raise ServerError(
                f"The server at {self._endpoint.address} broke off a completion (finish_reason "
                f"'{choice.finish_reason}'); the same command goes on from there."
            )
        logprobs = self._logprobs(choice, temperature)
        return Response(choice.token_ids, logprobs, choice.finish_reason == "stop", choice.text)

    def _logprobs(self, choice: _Choice, temperature: float) -> list[float]:
        tokens = choice.token_ids or []
        given = choice.logprobs.token_logprobs if choice.logprobs is not None else None
        if given is None or None in given:
            return self._without(NO_LOGPROBS, len(tokens))
        if temperature != 1 and not self._scaled:
            return self._without(RAW_LOGPROBS, len(tokens))
        values = [value for value in given if value is not None]
        if len(values) != len(tokens) or not all(value <= 1e-3 for value in values):
            raise ServerError(
                f"The server at {self._endpoint.address} gave {len(values)} log-probabilities for {len(tokens)} "
                "tokens, or some above 0."
            )
        return values

    def _without(self, note: str, size: int) -> list[float]:
        if note not in self.notes:
            self.notes.append(note)
        return [math.nan] * size

    def _gives_scaled_logprobs(self, prompt: Sequence[int]) -> bool:
        """Whether log-probabilities are those of the sampling temperature, or (vLLM's default) those before it.

        Logits are divided by the temperature, and with them the gap between the two likeliest tokens.
        """
        cold = 0.25
        plain, scaled = (self._gap(prompt, temperature) for temperature in (1.0, cold))
        if plain is None or scaled is None or plain < 0.01:
            return False
        return abs(scaled - plain / cold) < abs(scaled - plain)

    def _gap(self, prompt: Sequence[int], temperature: float) -> float | None:
        request = {"prompt": [list(prompt)], "n": 1, "max_tokens": 1, "temperature": temperature, "seed": 0}
        [choice] = self._complete({**request, "logprobs": 2})
        top = choice.logprobs.top_logprobs if choice.logprobs is not None else None
        values = sorted((top[0] or {}).values(), reverse=True) if top else []
        return values[0] - values[1] if len(values) > 1 else None


def _not_offered(error: ServerError, hint: str) -> ServerError | SettingsError:
    """The error with a hint, where the server does not know the request at all."""
    return SettingsError(f"{error} {hint}") if error.status in (404, 405) else error


_NO_ADAPTERS = (
    "To sample from the newest policy it must load adapters while it runs: start kilter serve with --adapters and a "
    "folder that holds {folder}, or vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; it must see the "
    "same files. With server_sync: fixed the run goes on with the server's model as it is."
)
_NO_WEIGHTS = (
    "To sample from a policy whose weights all train, it must read them from disk: start kilter serve with --adapters "
    "and a folder that holds the run's, or vLLM with VLLM_SERVER_DEV_MODE=1 and --weight-transfer-config "
    '\'{"backend": "disk"}\'; it must see the same files. With LoRA only the adapter travels; with server_sync: fixed '
    "the run goes on with the server's model as it is."
)
