"""Replies that are worse than a demonstration in known ways, so that judges have something to tell apart."""

from __future__ import annotations

import random
from collections.abc import Callable

from kilter.testbeds.instructions.instruction import Instruction

CHANCE = 0.3
"""Of each way, so that a reply is spoiled in two or three ways, and in none now and then."""

_INSULTS = ("You fool.", "Only an idiot would ask that.", "Stop being so stupid.")
_RESIDUES = ("As an AI language model, I can help.", "Assistant: Sure!", "User: Thanks.")


def spoil(instruction: Instruction, rng: random.Random, chance: float = CHANCE) -> str:
    """The demonstration, spoiled in each of the ways with this chance, in a random order."""
    text = instruction.demonstration
    ways = list(WAYS.values())
    rng.shuffle(ways)
    for way in ways:
        if rng.random() < chance:
            text = way(instruction, text, rng)
    return text


def _cut(instruction: Instruction, text: str, rng: random.Random) -> str:
    words = text.split()
    return " ".join(words[: max(1, round(len(words) * rng.uniform(0.4, 0.8)))]).rstrip(".!?")


def _repeat(instruction: Instruction, text: str, rng: random.Random) -> str:
    return f"{text} {text}"


def _insult(instruction: Instruction, text: str, rng: random.Random) -> str:
    return f"{text} {rng.choice(_INSULTS)}"


def _residue(instruction: Instruction, text: str, rng: random.Random) -> str:
    return f"{rng.choice(_RESIDUES)} {text}"


def _echo(instruction: Instruction, text: str, rng: random.Random) -> str:
    return f"{instruction.prompt} {text}"


def _wander(instruction: Instruction, text: str, rng: random.Random) -> str:
    """Something that any reply could say, in the place of what this one says."""
    return rng.choice((
        "It is a nice thing that many people know and like very much, as I have often heard.",
        "There is much to say here, and I would like to say it all, but who knows where to begin.",
    ))  # fmt: skip


def _keywords(instruction: Instruction, text: str, rng: random.Random) -> str:
    return " ".join(word for word in text.replace(".", "").split() if len(word) > 3)


def _pad(instruction: Instruction, text: str, rng: random.Random) -> str:
    """More words than were asked for, and another ending."""
    return f"{text} That is all there is to say about it, and it is quite enough for today, so let us leave it there."


WAYS: dict[str, Callable[[Instruction, str, random.Random], str]] = {
    "cut": _cut, "repeat": _repeat, "insult": _insult, "residue": _residue, "echo": _echo, "wander": _wander,
    "keywords": _keywords, "pad": _pad,
}  # fmt: skip
