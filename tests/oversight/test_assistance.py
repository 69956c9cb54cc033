"""What each arm shows."""

from __future__ import annotations

import pytest
from made_cases import made_case

from kilter.errors import DataError, SettingsError
from kilter.oversight import ProgramCritic, misleading, oracle, placebos


def test_the_oracle_names_every_flaw_and_nothing_else() -> None:
    case = made_case(wrong=(1, 4, 6))
    claims = oracle(case).claims
    assert [(one.start, one.end) for one in claims] == [(one.start, one.end) for one in case.flaws]
    assert all(one.verdict == "wrong" and one.applies_to(case.response) for one in claims)


def test_misleading_help_vouches_for_flaws_and_blames_what_is_right() -> None:
    case = made_case(wrong=(1, 4))
    claims = misleading(case, 0).claims
    blamed = {one.start // 10 for one in claims if one.verdict == "wrong"}
    assert {one.start // 10 for one in claims if one.verdict == "fine"} == {1, 4}
    assert len(blamed) == 2
    assert not blamed & {1, 4}
    assert misleading(case, 0) == misleading(case, 0)
    assert len(misleading(made_case(wrong=()), 0).claims) == 2


def test_a_placebo_is_about_another_item() -> None:
    cases = [made_case(number) for number in range(5)]
    given = placebos([oracle(case) for case in cases], 3)
    assert {one.arm for one in given} == {"placebo"}
    for case, one in zip(cases, given, strict=True):
        assert one.claims
        assert not any(claim.applies_to(case.response) for claim in one.claims)
    assert len({one.claims for one in given}) == 5
    with pytest.raises(DataError, match="one item only"):
        placebos([oracle(cases[0])], 0)


def test_a_program_critic_is_as_good_as_it_is_set() -> None:
    cases = [made_case(number) for number in range(1500)]
    claims = [(case, claim) for case in cases for claim in ProgramCritic(0.6, 0.9).criticize(case, 0).claims]
    true = sum(claim.quote.startswith("x") for _, claim in claims)
    assert true / 3000 == pytest.approx(0.6, abs=0.04)
    assert (len(claims) - true) / 1500 == pytest.approx(0.9, abs=0.08)
    assert ProgramCritic(0.6, 0.9).criticize(cases[0], 1) == ProgramCritic(0.6, 0.9).criticize(cases[0], 1)


@pytest.mark.parametrize(("finds", "invents"), [(1.2, 0), (-0.1, 0), (0.5, -1)])
def test_a_program_critic_refuses_what_is_no_quality(finds: float, invents: float) -> None:
    with pytest.raises(SettingsError, match="from 0 to 1"):
        ProgramCritic(finds, invents)
