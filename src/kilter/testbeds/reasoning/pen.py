"""The pen that writes a solution step by step, and that can be made to slip once and go on from what it wrote."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
_ASIDE, _DONE = 0.5, 0.2  # how often a solution opens with a remark, and ends with one

OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


@dataclass(frozen=True)
class Mistake:
    """What to do wrong: in which step, of which type, and which of the ways there are."""

    step: int
    type: str
    way: int


@dataclass(frozen=True)
class Step:
    """One step: its text, what it says as plain data, and whether it only remarks on what is done."""

    text: str
    data: Any
    remark: bool = False


@dataclass
class Pen:
    """Writes one solution.

    Attributes:
        seed: decides the wordings, the same ones with and without a mistake.
        wordings: templates by name.
        difficulty: 0 to 1: how near a wrong number lies to the right one.
        mistake: what goes wrong, if anything.
        steps: what has been written.
        chances: every mistake that could have been made.
    """

    seed: int
    wordings: Mapping[str, Sequence[str]]
    difficulty: float
    mistake: Mistake | None = None
    steps: list[Step] = field(default_factory=list)
    chances: list[Mistake] = field(default_factory=list)

    def rng(self, what: str) -> random.Random:
        """Randomness that depends on nothing but the seed, the step, and `what` it is for."""
        return random.Random(f"{self.seed}/{len(self.steps)}/{what}")

    def line(self, name: str, **values: object) -> str:
        """One of the wordings, filled."""
        return self.rng("line").choice(self.wordings[name]).format(**values)

    def remark(self, name: str, **values: object) -> None:
        """Perhaps write a step that is right and brings the solution no further."""
        if self.rng(name).random() < (_DONE if name == "done" else _ASIDE):
            self.steps.append(Step(self.line(name, **values), [], remark=True))

    def write(self, right: T, say: Callable[[T], str], wrong: Mapping[str, Sequence[T]]) -> T:
        """Write a step about `right`, or about one of the `wrong` outcomes, and go on from what was written."""
        number, value = len(self.steps), right
        for type, ways in wrong.items():
            self.chances += [Mistake(number, type, way) for way in range(len(ways))]
            if self.mistake and (self.mistake.step, self.mistake.type) == (number, type):
                value = ways[self.mistake.way % len(ways)]
        self.steps.append(Step(say(value), value))
        return value

    def cases(self, cases: Sequence[T]) -> Iterator[T]:
        """Every case once; by mistake one is skipped or taken twice. The last is never skipped."""
        made = False
        for index, case in enumerate(cases):
            number = len(self.steps)
            if index + 1 < len(cases):
                self.chances.append(Mistake(number, "skipped_case", 0))
                if self.mistake == self.chances[-1] and not made:
                    made = True
                    continue
            if index > 0:
                self.chances.append(Mistake(number, "repeated_case", 0))
                if self.mistake == self.chances[-1]:
                    yield cases[index - 1]
            yield case

    def calculate(
        self,
        line: str,
        a: int,
        sign: str,
        b: int,
        *,
        others: Sequence[int] = (),
        copied: bool = True,
        flip: bool = False,
        **values: object,
    ) -> int:
        """Write `a sign b = result` and return the result.

        Args:
            line: name of its wordings, with {a}, {sign}, {b} and {r}.
            a, sign, b: the calculation.
            others: numbers with which `b` might be confused; where there are several it might be misread, too.
            copied: whether `a` is the result of an earlier step and could be copied wrongly.
            flip: whether plus and minus could be mistaken for each other.
            values: for the wordings.
        """

        def done(a: int, sign: str, b: int) -> list[Any]:
            return [a, sign, b, OPERATIONS[sign](a, b)]

        right = done(a, sign, b)
        other = {"+": "-", "-": "+"}.get(sign)
        instead = [one for one in dict.fromkeys(others) if one != b]
        if len(instead) > 1:
            instead += self.near(b)[: len(instead)]  # as often misread as mistaken for another one
        wrong = {
            "arithmetic_slip": [[a, sign, b, slip] for slip in self.near(right[3])],
            "wrong_copy": [done(near, sign, b) for near in self.near(a)] if copied else [],
            "wrong_operand": [done(a, sign, one) for one in instead],
            "wrong_operation": [done(a, other, b)] if flip and other else [],
        }
        wrong = {type: [one for one in ways if one[3] > 0] for type, ways in wrong.items()}

        def say(data: list[Any]) -> str:
            return self.line(line, **values, **dict(zip(("a", "sign", "b", "r"), data, strict=True)))

        return int(self.write(right, say, wrong)[3])

    def near(self, right: int, low: int = 1, high: int | None = None) -> list[int]:
        """Wrong numbers for a right one, within `low` and `high`, as far from it above as below.

        The slips are people's: off by a little, a digit of some place wrong, two digits changed over; and farther off
        where the case is to be easy.
        """
        rng = self.rng(f"near {right}")
        reach = 1 + round(0.5 * abs(right) * (1 - self.difficulty) ** 2)
        steps = {1, 2, rng.randint(1, 9), 10 if right > 20 else 1, 100 if right > 200 else 1, rng.randint(1, 9) * 10}
        found = [right + sign * step for step in steps if step < max(4, right) for sign in (-1, 1)]
        found += [right + sign * rng.randint(1, reach) for sign in (-1, 1) for _ in range(2)]
        swapped = list(str(right))
        if right > 9 and swapped[-2] != "0":
            swapped[-1], swapped[-2] = swapped[-2], swapped[-1]
            found.append(int("".join(swapped)))
        fits = [one for one in dict.fromkeys(found) if low <= one != right and (high is None or one <= high)]
        return rng.sample(fits, len(fits))

    def answer(self, right: Any, near: bool = True) -> Any:
        """Write the last step and return the answer that it gives."""
        self.remark("done")
        wrong = {"wrong_copy": self.near(right)} if near and isinstance(right, int) else {}
        return self.write(right, lambda value: self.line("answer", x=shown(value)), wrong)


def shown(value: Any) -> str:
    """A value as a solution writes it."""
    return ", ".join(str(one) for one in value) if isinstance(value, (list, tuple)) else str(value)
