"""A study: one experiment on help, written down. The same file serves simulated raters, models and people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from kilter.errors import DataError, SettingsError
from kilter.oversight.assistance import Arm
from kilter.oversight.plan import Trial, latin_square
from kilter.oversight.sight import View, require_view
from kilter.oversight.simulated_rater import RaterSettings
from kilter.settings import Settings, build, nearest, parse_yaml
from kilter.stats import Design, power
from kilter.testbeds import Case, generate, read_cases


def is_address(model: str) -> bool:
    """Whether a model is named by the address of its server."""
    return "://" in model


OF_A_TESTBED = ("testbed", "seed", "split", "difficulty", "flawed", "words")
"""Settings that say how cases are generated, and mean nothing beside a file of them."""


class CasesSettings(Settings):
    """What is judged."""

    testbed: str = Field("stories", description="Name of the testbed; 'kilter testbed' lists them.")
    n: int | None = Field(60, ge=1, description="How many cases; of a file its first ones, or all if not set.")
    seed: int = Field(0, description="Which cases.")
    split: Literal["train", "test"] = Field("test", description="They share no structure and no wording.")
    difficulty: float = Field(0.5, ge=0, le=1, description="From 0, easy, to 1.")
    flawed: float = Field(0.8, ge=0, le=1, description="Share of the cases that have flaws.")
    words: int | None = Field(None, description="Length of a story; by the difficulty if not set.")
    file: str | None = Field(None, description="JSONL of 'kilter testbed generate' in place of a testbed.")
    view: View = Field("expert", description="Of the source raters see all, or as 'judge' what is not cut from it.")

    @model_validator(mode="before")
    @classmethod
    def _all_of_a_file(cls, given: Any) -> Any:
        return {"n": None, **given} if isinstance(given, dict) and given.get("file") is not None else given

    @model_validator(mode="after")
    def _a_file_or_a_testbed(self) -> Self:
        if self.file is None and self.n is None:
            raise ValueError("n is needed: a testbed has as many cases as are asked for")
        idle = [name for name in OF_A_TESTBED if name in self.model_fields_set]
        if self.file is not None and idle:
            raise ValueError(
                f"{' and '.join(idle)} would have no effect, because the cases are those of the file; leave "
                f"{'it' if len(idle) == 1 else 'them'} or the file out"
            )
        return self


class ProgramCriticSettings(Settings):
    """A critic of known quality, which is told the truth."""

    kind: Literal["program"] = "program"
    finds: float = Field(0.7, ge=0, le=1, description="Chance to name each planted flaw.")
    invents: float = Field(0.5, ge=0, description="Right passages per case that it calls wrong, on average.")


class PromptedSettings(Settings):
    """A chat model that is asked."""

    model: str = Field(description="A model's name or folder, or the address of an OpenAI-compatible server.")
    name: str | None = Field(None, description="The server's name for it; the first that it lists if not set.")
    key: str | None = Field(None, description="Environment variable that holds the server's key.")
    max_tokens: int = Field(400, ge=1, description="Longest answer.")

    @model_validator(mode="after")
    def _key_for_an_address(self) -> Self:
        if self.key is not None and not is_address(self.model):
            raise ValueError("key has no effect unless model is the address of a server")
        return self


class ModelCriticSettings(PromptedSettings):
    """A prompted model, asked once or several times."""

    kind: Literal["model"] = "model"
    temperature: float = Field(0.0, ge=0, description="Of its sampling.")
    samples: int = Field(1, ge=1, le=100, description="Critiques of each case; the surest is shown (best of n).")
    threshold: float | None = Field(
        None, gt=0, le=1, description="Show, instead of the surest critique, what at least this share of them names."
    )
    looks_over: int = Field(
        0, ge=0, le=2, description="It drops those of its claims that it then finds false; 2: and looks over that look."
    )

    @model_validator(mode="after")
    def _several_critiques(self) -> Self:
        if self.samples > 1 and not self.temperature:
            raise ValueError("several samples of temperature 0 are one critique; set a temperature, such as 0.7")
        if self.samples == 1 and self.threshold is not None:
            raise ValueError("threshold has no effect on one critique; set samples to how many are to agree")
        return self


class TrainedCriticSettings(Settings):
    """A model on this machine that says of each passage how likely it is wrong; 'kilter train critic' trains one."""

    model: str = Field(description="Folder of the trained critic; of kind passages any model's name or folder, too.")
    threshold: float = Field(0.5, ge=0, le=1, description="Least probability of wrong at which a passage is named.")
    most: int = Field(3, ge=1, description="Passages of a case that are named at most, the surest first.")


class PassageCriticSettings(TrainedCriticSettings):
    """It is asked whether each passage is wrong, and why."""

    kind: Literal["passages"] = "passages"
    max_tokens: int = Field(60, ge=1, description="Longest reason.")


class SurpriseCriticSettings(TrainedCriticSettings):
    """It suspects what it did not expect."""

    kind: Literal["surprise"] = "surprise"


class SimulatedRatersSettings(Settings):
    """Simulated raters: they prove the protocol and the statistics, never an effect on people."""

    kind: Literal["simulated"] = "simulated"
    count: int = Field(20, ge=1, description="How many raters.")
    work: RaterSettings = RaterSettings()
    spread: float = Field(0.5, ge=0, description="Raters differ: standard deviation of the log odds to see and trust.")


class ModelRatersSettings(PromptedSettings):
    """A prompted model as the rater; several raters are several seeds of it."""

    kind: Literal["model"] = "model"
    count: int = Field(5, ge=1, description="How many raters.")
    temperature: float = Field(0.7, ge=0, description="Of its sampling; at 0 all raters would be one.")


class PeopleSettings(Settings):
    """People in their browsers."""

    kind: Literal["people"] = "people"
    count: int = Field(10, ge=1, description="How many people take part.")


Critic = Annotated[
    ProgramCriticSettings | ModelCriticSettings | PassageCriticSettings | SurpriseCriticSettings,
    Field(discriminator="kind"),
]
Raters = Annotated[SimulatedRatersSettings | ModelRatersSettings | PeopleSettings, Field(discriminator="kind")]


class ExpectedSettings(Settings):
    """What the study must be able to show, and what its power is computed from."""

    ratio: float = Field(1.5, gt=0, description="Flaws found with help to flaws found without.")
    power: float = Field(0.8, gt=0, lt=1, description="The least chance to tell that ratio from 1 at the 5 % level.")
    found: float = Field(0.4, gt=0, lt=1, description="Share of the planted flaws that is found without help.")
    rater_spread: float = Field(0.3, gt=0, description="Between raters, standard deviation of the log rate.")
    item_spread: float = Field(0.3, gt=0, description="Between items, standard deviation of the log rate.")


def shows_critic(arms: Sequence[Arm]) -> bool:
    """Whether an arm shows what the critic says, of this case or of another."""
    return not {"critiques", "placebo"}.isdisjoint(arms)


class Study(Settings):
    """Cases, arms of help, a critic, and who judges."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60, description="Short name, for folders.")
    cases: CasesSettings = CasesSettings()
    arms: tuple[Arm, ...] = Field(
        ("none", "critiques", "placebo", "misleading", "oracle"), description="'none' and at least one kind of help."
    )
    critic: Critic = ProgramCriticSettings()
    raters: Raters = SimulatedRatersSettings()
    items_per_rater: int | None = Field(None, ge=1, description="Cases that one rater judges; all if not set.")
    expected: ExpectedSettings = ExpectedSettings()
    seed: int = Field(0, description="Of the plan, the critic and the raters.")

    @model_validator(mode="after")
    def _arms_to_compare(self) -> Self:
        if "none" not in self.arms:
            raise ValueError("arms must hold 'none': what help is worth is measured against no help")
        if len(set(self.arms)) < 2:
            raise ValueError("there is no arm with assistance: add 'critiques', for example, to arms")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("an arm is named twice")
        return self

    @model_validator(mode="after")
    def _a_critic_that_is_shown(self) -> Self:
        if "critic" in self.model_fields_set and not shows_critic(self.arms):
            raise ValueError(
                "no arm shows what the critic says: add 'critiques' or 'placebo' to arms, or leave critic out"
            )
        return self


def read_study(file: Path) -> Study:
    """Read a study from its YAML file; a file of cases named there lies beside it.

    Raises:
        SettingsError: the file is missing or no study, with every problem named.
    """
    if not file.is_file():
        raise SettingsError(f"There is no file {file}; write one, or see docs/oversight.md for an example.")
    tree = parse_yaml(file)
    if not isinstance(tree, dict):
        raise SettingsError(f"{file} is no study: it needs cases, arms, a critic and raters.")
    study = build(Study, {"name": file.stem.replace("_", "-"), **tree}, file.name)
    if study.cases.file is None:
        return study
    beside = study.cases.model_copy(update={"file": str(file.parent / study.cases.file)})
    return study.model_copy(update={"cases": beside})


def cases_of(settings: CasesSettings) -> list[Case]:
    """The cases.

    Raises:
        SettingsError: there is no such testbed, or the judge's view is asked for where there is none.
        DataError: the file cannot be read.
    """
    if settings.file is not None:
        cases = read_cases(Path(settings.file))[: settings.n]
    else:
        assert settings.n is not None  # as the settings check
        cases = generate(
            settings.testbed, settings.n, settings.seed, settings.split, difficulty=settings.difficulty,
            flawed=settings.flawed, words=settings.words,
        )  # fmt: skip
    require_view(cases, settings.view)
    return cases


def flaw_types(cases: Sequence[Case]) -> list[str]:
    """The kinds of flaw that occur, sorted."""
    return sorted({flaw.type for case in cases for flaw in case.flaws})


def require_types(study: Study, cases: Sequence[Case]) -> None:
    """Raises `SettingsError` where raters are to see a type of flaw that no case has."""
    if not isinstance(study.raters, SimulatedRatersSettings):
        return
    known = flaw_types(cases)
    for name in study.raters.work.sees_type:
        if name not in known:
            raise SettingsError(
                f"raters.work.sees_type sets '{name}', but no flaw of the cases is of that type: {nearest(name, known)}"
            )


def plan_of(study: Study, cases: int) -> list[Trial]:
    """Who judges which case with which help; raises `DataError` where that cannot be dealt out evenly."""
    return latin_square(
        study.raters.count, cases, study.arms, items_per_rater=study.items_per_rater, seed=study.seed
    )  # fmt: skip


def chance_to_show(study: Study, cases: list[Case], trials: list[Trial]) -> float:
    """The power of the study: its chance to tell the expected ratio from 1.

    Raises:
        DataError: no flaw is planted in any case.
    """
    return chance_with(study, flaws_per_case(cases), trials)


def flaws_per_case(cases: Sequence[Case]) -> float:
    """How many flaws are planted in a case on average; raises `DataError` where there is none in any."""
    flaws = sum(len(case.flaws) for case in cases)
    if flaws == 0:
        raise DataError("No case has a flaw, so there is nothing to find. Set cases.flawed above 0.")
    return flaws / len(cases)


def chance_with(study: Study, flaws: float, trials: Sequence[Trial]) -> float:
    """As `chance_to_show`, from the flaws per case; so that a study can be planned from some of its cases."""
    expected, order = study.expected, ["none", *(arm for arm in study.arms if arm != "none")]
    design = Design(
        np.array([order.index(one.arm) for one in trials]), np.array([one.rater for one in trials]),
        np.array([one.item for one in trials]), expected.found * flaws, expected.rater_spread, expected.item_spread,
    )  # fmt: skip
    return power(design, expected.ratio)


def require_power(study: Study, cases: list[Case], trials: list[Trial]) -> float:
    """The power; raises `SettingsError` where it is less than the study asks for, with what would do."""
    flaws = flaws_per_case(cases)
    found = chance_with(study, flaws, trials)
    if found >= study.expected.power:
        return found
    enough = raters_enough(study, flaws, len(cases))
    more = f"{enough} raters would do" if enough else "more cases or fewer arms are needed"
    raise SettingsError(
        f"The study {study.name} would be too small: with {study.raters.count} raters, {len(cases)} cases and "
        f"{len(study.arms)} arms its chance to tell a ratio of {study.expected.ratio:g} from 1 is {found:.0%}, and "
        f"expected.power asks for {study.expected.power:.0%}. By the same computation {more}; or set expected.power "
        "lower and report the wide interval."
    )


def raters_enough(study: Study, flaws: float, cases: int, most: int = 1000) -> int | None:
    """The fewest raters that give the power asked for, to a tenth; None where `most` do not."""
    count = study.raters.count
    while count < most:
        count = count + max(1, count // 10)
        larger = study.model_copy(update={"raters": study.raters.model_copy(update={"count": count})})
        if chance_with(larger, flaws, plan_of(larger, cases)) >= study.expected.power:
            return count
    return None
