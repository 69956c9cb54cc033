"""Recursive reward modeling (arXiv 1811.07871): an evaluation too hard for the bare judge, split into helped parts.

Which of two replies is better depends on a tree of parts, and a judge has the attention for a few of its leaves only.
At depth 0 the judge compares whole replies. At depth 1 the same judge first compares them part by part, a reward model
learns to do that, and its verdicts help the judge to compare whole replies. At depth 2 the parts are split in the same
way. What the judge says at the top trains the reward model of the policy. All depths spend the same number of labels.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kilter.errors import SettingsError
from kilter.stats import Estimate, rate
from kilter.testbeds.instructions import GoldScore, Instruction, generate, gold_score, spoil

TOTAL = "total"
PARTS: dict[str, tuple[str, ...]] = {
    "content": ("topic", "substance", "structure", "variety", "novelty"),
    "manners": ("complete", "civil", "natural"),
}
QUESTIONS = {
    "explicit": "Which reply does better what was asked for in so many words?",
    "content": "Which reply says more of what a reader wants to know?",
    "manners": "Which reply is better mannered?",
    "topic": "Which reply keeps better to the topic?",
    "substance": "Which reply says more?",
    "structure": "Which reply is written in better sentences?",
    "variety": "Which reply repeats itself less?",
    "novelty": "Which reply repeats the request less?",
    "complete": "Which reply is complete?",
    "civil": "Which reply is more polite?",
    "natural": "Which reply sounds more natural?",
}
WORTH = {"content": 2.0}
"""Every judge knows that a well-mannered reply that says nothing is worth nothing: the whole is a product with it."""
SALIENCE = ("substance", "civil", "natural", "complete", "variety", "novelty", "structure", "topic")
"""What strikes the eye first; the rules of the request come last."""
DEEPEST = 2
BLOCK = 64


@dataclass(frozen=True)
class Pair:
    """Two replies to an instruction, and what the gold judge makes of each."""

    instruction: Instruction
    replies: tuple[str, str]
    gold: tuple[GoldScore, GoldScore]

    @classmethod
    def of(cls, instruction: Instruction, one: str, other: str) -> Pair:
        """Judged by gold, both as ended."""
        return cls(
            instruction, (one, other), (gold_score(instruction, one, True), gold_score(instruction, other, True))
        )

    def parts(self, node: str) -> tuple[str, ...]:
        """What a part of the evaluation consists of; empty for a leaf."""
        if node == TOTAL:
            return ("explicit", *PARTS)
        if node == "explicit":
            return tuple(name for name in self.gold[0].parts if name.startswith("check:"))
        return PARTS.get(node, ())

    def leaves(self, node: str) -> tuple[str, ...]:
        """The leaves under a part; a leaf itself."""
        below = self.parts(node)
        return tuple(leaf for part in below for leaf in self.leaves(part)) if below else (node,)

    def difference(self, node: str) -> float:
        """How much better the first reply is, in [-1, 1]."""
        one, other = (gold.total if node == TOTAL else gold.parts[node] for gold in self.gold)
        return one - other

    @property
    def is_hard(self) -> bool:
        """Whether one reply is better and a part of it is not: who looks at a part only may be misled."""
        total = self.difference(TOTAL)
        return abs(total) >= 0.05 and any(self.difference(part) * total < 0 for part in self.parts(TOTAL))


@dataclass(frozen=True)
class Labeled:
    """What a judge said: the number of the better reply in a part of the evaluation."""

    pair: Pair
    node: str
    better: int


Predictor = Callable[[Sequence[tuple[Pair, str]]], list[float]]
"""A reward model as an evaluator: P(the first reply is better) in a part of the evaluation."""

Learner = Callable[[Sequence[Labeled]], Predictor]


@dataclass(frozen=True)
class BareJudge:
    """A simulated judge with little attention, who looks at what strikes the eye first.

    So the judge is not only noisy, which more labels would mend, but blind to what is hard to see in a whole reply;
    asked about a part alone, the same judge sees more of it.

    Attributes:
        attention: leaves of an evaluation that the judge looks at, the most striking ones.
        temperature: difference that counts as one logit.
        trust: how much a helper's verdict (from -1 to 1) counts as a difference.
    """

    attention: int = 2
    temperature: float = 0.1
    trust: float = 0.5

    def judge(self, pair: Pair, node: str, rng: random.Random, hints: Mapping[str, float] | None = None) -> int:
        """The number of the reply that the judge finds better; `hints` are P(first is better) of parts."""
        seen = set(sorted(pair.leaves(node), key=_salience)[: self.attention])
        parts = pair.parts(node) or (node,)
        worth = {part: WORTH.get(part, 1.0) for part in parts}
        felt = sum(worth[part] * self._felt(pair, part, seen, hints or {}) for part in parts) / sum(worth.values())
        return int(rng.random() >= 1 / (1 + math.exp(min(50.0, max(-50.0, -felt / self.temperature)))))

    def _felt(self, pair: Pair, part: str, seen: set[str], hints: Mapping[str, float]) -> float:
        """What the judge makes of one part: what was looked at, or else what a helper says."""
        leaves = pair.leaves(part)
        own = [pair.difference(leaf) for leaf in leaves if leaf in seen]
        if len(own) == len(leaves) or (own and part not in hints):
            return sum(own) / len(leaves)
        return self.trust * (2 * hints[part] - 1) if part in hints else 0.0


def _salience(leaf: str) -> tuple[int, str]:
    return (SALIENCE.index(leaf) if leaf in SALIENCE else len(SALIENCE), leaf)


def recursive_reward_model(
    learn: Learner, judge: BareJudge, pairs: Iterator[Pair], depth: int, labels: int, seed: int = 0
) -> Predictor:
    """The evaluator of whole replies, learned from `labels` judgments in all.

    Half of them go into the level below at every depth, so that depth 0 and depth 2 cost the judge the same.

    Raises:
        SettingsError: the depth is not 0 to 2, or there are too few labels to divide.
    """
    if not 0 <= depth <= DEEPEST:
        raise SettingsError(f"The evaluation has a depth of 0 to {DEEPEST}, not {depth}.")
    if labels < 2 ** (depth + 2):
        raise SettingsError(f"{labels} labels are too few to divide over a depth of {depth}; give more.")
    return _evaluator(learn, judge, pairs, 0, depth, labels, random.Random(f"rrm/{seed}/{depth}"))


def _evaluator(
    learn: Learner, judge: BareJudge, pairs: Iterator[Pair], level: int, depth: int, labels: int, rng: random.Random
) -> Predictor:  # fmt: skip
    below = labels // 2 if depth else 0
    helper = _evaluator(learn, judge, pairs, level + 1, depth - 1, below, rng) if depth else None
    asked = [_asked(next(pairs), level, number) for number in range(labels - below)]
    hints = _hints(helper, asked)
    return learn(
        [
            Labeled(pair, node, judge.judge(pair, node, rng, hint))
            for (pair, node), hint in zip(asked, hints, strict=True)
        ]
    )


def _asked(pair: Pair, level: int, number: int) -> tuple[Pair, str]:
    """Which part of a pair is asked about: all parts of a level in turn."""
    nodes: tuple[str, ...] = (TOTAL,)
    for _ in range(level):
        nodes = tuple(part for node in nodes for part in (pair.parts(node) or (node,)))
    return pair, nodes[number % len(nodes)]


def _hints(helper: Predictor | None, asked: Sequence[tuple[Pair, str]]) -> list[dict[str, float]]:
    """What the helper says of the parts of everything that is asked, in one go."""
    if helper is None:
        return [{} for _ in asked]
    parts = [(number, part) for number, (pair, node) in enumerate(asked) for part in pair.parts(node)]
    said = helper([(asked[number][0], part) for number, part in parts])
    hints: list[dict[str, float]] = [{} for _ in asked]
    for (number, part), chance in zip(parts, said, strict=True):
        hints[number][part] = chance
    return hints


def pairs_of(seed: int, split: Literal["train", "test"], *, hard: bool = False) -> Iterator[Pair]:
    """Endless pairs of replies that are spoiled in different ways; only hard ones, if so asked."""
    rng = random.Random(f"pairs/{seed}/{split}")
    for block in itertools.count():
        for instruction in generate(BLOCK, 1000 * seed + block, split=split):
            pair = Pair.of(instruction, spoil(instruction, rng), spoil(instruction, rng))
            if pair.replies[0] != pair.replies[1] and (pair.is_hard or not hard):
                yield pair


def accuracy(predict: Predictor, pairs: Sequence[Pair]) -> Estimate:
    """Share of pairs in which the evaluator prefers the reply that gold prefers, ties of gold left out."""
    decided = [pair for pair in pairs if pair.difference(TOTAL)]
    said = predict([(pair, TOTAL) for pair in decided])
    return rate([
        float((chance > 0.5) == (pair.difference(TOTAL) > 0)) for pair, chance in zip(decided, said, strict=True)
    ])  # fmt: skip


def question(pair: Pair, node: str) -> str:
    """What the reward model reads before a reply: the request, and which part is judged where it is not the whole."""
    if node == TOTAL:
        return pair.instruction.prompt
    asked = QUESTIONS.get(node) or f"Which reply keeps better to the rule about {node.removeprefix('check:')}?"
    return f"{pair.instruction.prompt}\n\n{asked}"
