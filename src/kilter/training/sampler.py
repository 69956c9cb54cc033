"""Sampling on a server: the newest policy goes there before each step, the responses come back checked.

An adapter is named by the hash of its weights. So a name never stands for two contents, and what a server keeps of an
adapter, such as vLLM's cache of prompts that were read with it, is never taken for another's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from kilter.errors import ModelError, ServerError
from kilter.models import LanguageModel, Response, processes
from kilter.models.remote import RemoteSampler
from kilter.settings import Settings
from kilter.training.loop import Loop
from kilter.training.policy import Policy
from kilter.training.settings import weights_digest

FIXED = "Every response was sampled by the server's model as it was at the start (server_sync: fixed)."


class ServerSettings(Settings):
    """Where a run that samples may do so, if not in its own process."""

    server: str | None = Field(None, description="Address of a server that samples, vLLM or kilter serve; null: here.")
    server_model: str | None = Field(None, description="The server's name of the start model; null: its first.")
    server_key: str | None = Field(None, description="Environment variable that holds the server's key.")
    server_sync: Literal["newest", "fixed"] = Field(
        "newest", description="The server samples from the newest policy, or (fixed) from its model as it is."
    )

    @model_validator(mode="after")
    def _for_a_server(self) -> ServerSettings:
        if self.server is None:
            for name in ("server_model", "server_key", "server_sync"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} has no effect without server; give its address there")
        return self


class ServerSampler:
    """Samples a run's responses on a server; of several processes the main one talks to it, for all.

    Args:
        settings: with `server` given.
        folder: the run's; the policy is written into its folder `sampler`, where the server reads it.

    Raises:
        ModelError: the server does not serve the model.
        ServerError: it does not answer.
        SettingsError: the address or its key cannot be used.
    """

    def __init__(self, settings: ServerSettings, folder: Path) -> None:
        self._remote = RemoteSampler(str(settings.server), settings.server_model, key=settings.server_key)
        self._fixed, self._folder = settings.server_sync == "fixed", folder / "sampler"
        self._adapter: str | None = None

    def send(self, policy: Policy) -> None:
        """Let the server sample from `policy` as it is now, unless its model is fixed.

        Raises:
            SettingsError: the server takes no new weights.
            ServerError: it refused them, or does not answer.
        """
        if self._fixed:
            return
        if policy.adapter is None:
            policy.save(self._folder / "weights")
            processes.on_main(lambda: self._remote.load_weights(self._folder / "weights"))
            return
        name = f"kilter-{weights_digest(policy.parameters())[:16]}"
        if name == self._adapter:
            return
        policy.save(self._folder / name)
        processes.on_main(lambda: self._remote.load_adapter(name, self._folder / name))
        self._forget()
        self._adapter = name

    def sample(
        self, lm: LanguageModel, prompts: Sequence[Sequence[int]], *, n: int, max_new_tokens: int, temperature: float,
        seed: int,
    ) -> list[list[Response]]:  # fmt: skip
        """Responses of what was sent last (at first of the server's own model), with `lm`'s reading of their tokens.

        Raises:
            ModelError: the tokens cannot be those of `lm`.
            ServerError: the server does not answer, or not what was asked for.
        """
        told = processes.on_main(lambda: [[vars(one) for one in group] for group in self._remote.sample(
            prompts, n=n, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
        )])  # fmt: skip
        groups = [[Response(**one) for one in group] for group in told]
        for one in (one for group in groups for one in group):
            _require_own_tokens(lm, one)
            one.text = lm.decode(one.tokens)
        return groups

    def result(self) -> dict[str, str]:
        """What the run's result says of its samples, if anything, under "note"."""
        notes = [*self._remote.notes, *([FIXED] if self._fixed else [])]
        return {"note": " ".join(notes)} if notes else {}

    def close(self) -> None:
        """Let the server forget the adapter, and remove what was written for it."""
        with suppress(ServerError):  # the run is done; whether the server still lives no longer matters
            self._forget()
        if not processes.is_main():
            return
        shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self) -> None:
        former = self._adapter
        if former is not None and processes.is_main():
            self._remote.unload_adapter(former)
            shutil.rmtree(self._folder / former, ignore_errors=True)


@contextmanager
def open_sampler(settings: ServerSettings, folder: Path) -> Iterator[ServerSampler | None]:
    """The server that the settings name, or None where the run samples by itself."""
    if settings.server is None:
        yield None
        return
    sampler = ServerSampler(settings, folder)
    yield sampler
    sampler.close()  # not after an error: a server that is gone would only be waited for


@contextmanager
def kept_on_server_error(loop: Loop, step: int) -> Iterator[None]:
    """Keep the steps before `step` when a server fails inside the block, so that none of them is done again."""
    try:
        yield
    except ServerError:
        loop.keep(step)
        raise


def _require_own_tokens(lm: LanguageModel, response: Response) -> None:
    size = lm.model.get_input_embeddings().num_embeddings
    odd = [token for token in response.tokens if not 0 <= token < size]
    if odd:
        raise ModelError(
            f"The server sampled token {odd[0]}, but the model that is trained has {size}. Let it serve the same model."
        )
    if response.finished and response.tokens[-1] not in lm.eos_ids:
        raise ModelError(
            f"The server ended a response with token {response.tokens[-1]}, which ends none of the model that is "
            f"trained (those that do: {', '.join(map(str, sorted(lm.eos_ids)))}). The end of a response is learned "
            "like its other tokens, so the server must serve the same model and give its last token too."
        )
