"""Several critiques of one case made into one: the surest of them, or the claims that enough of them make.

How many must agree trades comprehensiveness against invented flaws, as force sampling does in CriticGPT
(arXiv 2407.00215), for critics that only write. The share that makes a claim says how sure it is (self-consistency,
arXiv 2203.11171).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kilter.errors import DataError
from kilter.oversight.assistance import Assistance, Claim, CriticizeAll
from kilter.oversight.prompted import NEXT_SEED
from kilter.testbeds import Case


def draw(criticize_all: CriticizeAll, cases: Sequence[Case], n: int, seed: int = 0) -> list[tuple[Assistance, ...]]:
    """`n` critiques of each case, by seeds far from those that other draws begin with.

    Args:
        criticize_all: of a critic that draws its answers, such as `WrittenCritic` or a `PromptedCritic` of a
            temperature above 0; at 0 all critiques are one.
    """
    if n < 1:
        raise DataError(f"{n} critiques of a case cannot be had; ask for 1 or more.")
    return list(zip(*(criticize_all(cases, seed + number * NEXT_SEED) for number in range(n)), strict=True))


def best_of(criticize_all: CriticizeAll, cases: Sequence[Case], n: int, seed: int = 0) -> list[Assistance]:
    """The `surest` of `n` critiques of each case; see `draw`."""
    return [surest(several) for several in draw(criticize_all, cases, n, seed)]


def surest(several: Sequence[Assistance]) -> Assistance:
    """Best of n: of several critiques of one case the one whose claims are the surest in sum.

    How sure a claim is says the critic that can say so. The claims of one that only writes are as sure as the critiques
    agree. A critique that nobody can read is taken only where there is no other.
    """
    readable = _readable(several)
    return max(readable, key=lambda one: sum(_sureness(claim, readable) - 0.5 for claim in one.claims))


def agreed(several: Sequence[Assistance], least: float) -> Assistance:
    """The claims that at least this share of several critiques of one case make, the surest first.

    Each is in the words of the first critique that makes it, and its probability is the share of those that do.
    Critiques that nobody can read have no say.

    Args:
        least: above 0; the lower, the more is found and the more is invented.
    """
    readable = _readable(several)
    claims: list[Claim] = []
    for claim in (one for critique in readable for one in critique.claims):
        if not any(_same(claim, other) for other in claims):
            claims.append(replace(claim, probability=_share(claim, readable)))
    kept = [one for one in claims if (one.probability or 0) >= least]
    return replace(readable[0], claims=tuple(sorted(kept, key=lambda one: -(one.probability or 0))))


def _readable(several: Sequence[Assistance]) -> list[Assistance]:
    if not several:
        raise DataError("There is no critique to choose from.")
    return [one for one in several if one.readable] or list(several)


def _sureness(claim: Claim, several: Sequence[Assistance]) -> float:
    return _share(claim, several) if claim.probability is None else claim.probability


def _share(claim: Claim, several: Sequence[Assistance]) -> float:
    agree = [any(_same(claim, other) for other in one.claims) for one in several]
    return sum(agree) / len(agree)


def _same(one: Claim, other: Claim) -> bool:
    return one.verdict == other.verdict and one.start < other.end and other.start < one.end
