"""Episodes of several turns: the policy replies, an environment answers, until one of them is done.

An environment is any class with `reset` and `step`: a tool, a game, a simulated user. Its words stand between the
policy's replies as the chat's user turns, are read like a prompt, and carry no loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Protocol, cast

import torch
from torch import Tensor

from kilter.errors import DataError
from kilter.models import LanguageModel, Response, processes
from kilter.training.rewards import Prompt
from kilter.training.seeds import derive_seed

MARK = "kilter-reply"


class Environment(Protocol):
    """One episode; a new one is made for each."""

    def reset(self, prompt: Prompt) -> None:
        """Begin with this prompt, which the policy is about to answer."""

    def step(self, response: str) -> tuple[str, float, bool]:
        """Take the policy's reply: what it is told next, a reward, and whether the episode is done."""


@dataclass
class Episode(Response):
    """All turns of one episode as one response.

    Attributes:
        learn: which of its tokens the policy sampled; `logprobs` are of these alone.
        reward: sum of the environment's rewards.
        turns: replies of the policy.
    """

    learn: list[bool] = field(default_factory=list)
    reward: float = 0.0
    turns: int = 0


Draw = Callable[..., list[list[Response]]]
"""`sample` with model, temperature and length given: (prompts, n=, seed=) to n responses each."""


def play(
    lm: LanguageModel, draw: Draw, make: Callable[[], Environment], prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]], *, n: int, turns: int, room: int, seed: int,
) -> list[list[Episode]]:  # fmt: skip
    """Play n episodes from each prompt; those that go on are sampled together, turn by turn.

    Args:
        make: gives a fresh environment.
        encoded: the prompts' token ids.
        turns: most replies in an episode.
        room: tokens that a reply may take; an episode ends where the context has no more of it.

    Raises:
        DataError: the environment failed, or answered with something else than (text, reward, done).
    """
    games = [_Game(prompt, list(ids)) for prompt, ids in zip(prompts, encoded, strict=True) for _ in range(n)]
    processes.on_main(lambda: _begin(make, games))
    active = games
    for turn in range(turns):
        given = derive_seed(seed, "turn", turn)
        if turn == 0:
            replies = [one for group in draw(encoded, n=n, seed=given) for one in group]
        else:
            replies = [group[0] for group in draw([one.context for one in active], n=1, seed=given)]
        told = processes.on_main(partial(_told, active, replies))
        for game, reply, (text, reward, done) in zip(active, replies, told, strict=True):
            game.take(lm, reply, text, reward, done or turn + 1 == turns, room)
        active = [one for one in active if not one.done]
        if not active:
            break
    return [[one.episode for one in games[first : first + n]] for first in range(0, len(games), n)]


def as_environment(reward: object) -> Callable[[], Environment] | None:
    """`reward` if it makes environments rather than judging whole responses."""
    makes = callable(reward) and all(callable(getattr(reward, name, None)) for name in ("reset", "step"))
    return cast("Callable[[], Environment]", reward) if makes else None


def rewards_of_episodes(responses: Sequence[Response]) -> tuple[Tensor, dict[str, float]]:
    """The reward of each episode, [R], and for the log how many turns they had on average."""
    episodes = [one for one in responses if isinstance(one, Episode)]
    turns = sum(one.turns for one in episodes) / len(episodes)
    return torch.tensor([one.reward for one in episodes]), {"turns": turns}


class _Game:
    """An episode as far as it was played."""

    def __init__(self, prompt: Prompt, ids: list[int]) -> None:
        self.prompt, self.context, self.done = prompt, ids, False
        self.world: Environment | None = None  # on the main process alone
        self.episode = Episode([], [], False, "")

    def take(self, lm: LanguageModel, reply: Response, text: str, reward: float, last: bool, room: int) -> None:
        """Add the policy's reply and, unless the episode ends with it, what the environment said to it."""
        one = self.episode
        one.tokens += reply.tokens
        one.learn += [True] * len(reply.tokens)
        one.logprobs += reply.logprobs
        one.text += reply.text
        one.reward += reward
        one.turns += 1
        one.finished = reply.finished
        self.context = [*self.context, *reply.tokens]
        told = [] if last else between_replies(lm, text)
        if told and reply.tokens and told[0] == reply.tokens[-1]:  # the end of the reply was sampled already
            told = told[1:]
        self.done = last or len(self.context) + len(told) + room > lm.context
        if not self.done:
            one.tokens += told
            one.learn += [False] * len(told)
            one.text += f"\n\n{text}\n\n"
            self.context += told


def between_replies(lm: LanguageModel, text: str) -> list[int]:
    """Token ids that the chat template puts between the words of one reply and of the next, with a user's turn."""
    chat = [
        {"role": "user", "content": "-"},
        {"role": "assistant", "content": MARK},
        {"role": "user", "content": text},
    ]
    written = lm.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return lm.encode_text(written.partition(MARK)[2])


def _begin(make: Callable[[], Environment], games: Sequence[_Game]) -> None:
    """Make and reset an environment for each game."""
    for number, game in enumerate(games):
        try:
            world = make()
            world.reset(game.prompt)
        except Exception as error:
            raise DataError(
                f"The environment failed to begin episode {number} with {type(error).__name__}: {error}. It is made "
                "without arguments, and reset(prompt) begins an episode; KILTER_DEBUG=1 shows where it failed."
            ) from error
        game.world = world


def _told(active: Sequence[_Game], replies: Sequence[Response]) -> list[tuple[str, float, bool]]:
    """What each environment says to the reply it got."""
    found = []
    for game, reply in zip(active, replies, strict=True):
        try:
            given: object = game.world.step(reply.text) if game.world is not None else None
        except Exception as error:
            raise DataError(
                f"The environment's step failed with {type(error).__name__}: {error}, at the reply "
                f"{reply.text[:60]!r}. KILTER_DEBUG=1 shows where it failed."
            ) from error
        match given:
            case (str(text), Real() as reward, bool(done)) if math.isfinite(reward):
                found.append((text, float(reward), done))
            case _:
                raise DataError(
                    f"The environment's step gave {given!r} for the reply {reply.text[:60]!r}. It must return what the "
                    "policy is told next (a text), a reward (a finite number) and whether the episode is done (a bool)."
                )
    return found
