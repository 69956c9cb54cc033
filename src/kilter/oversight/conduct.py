"""Conducting a study: cases, critiques, the plan, and what each rater says; stopped, it goes on where it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.special import expit, logit

from kilter.errors import DataError, SettingsError
from kilter.models.chat import ChatModel
from kilter.models.endpoint import bearer_key
from kilter.oversight.assistance import Arm, Assistance, CriticizeAll
from kilter.oversight.experiment import Outcome, Unread, help_by_arm, simulate
from kilter.oversight.findings import compare
from kilter.oversight.kept import Kept
from kilter.oversight.people import Pages, ask_people, judges_per_case, said_by_people
from kilter.oversight.plan import Trial
from kilter.oversight.program_critic import ProgramCritic
from kilter.oversight.prompted import PromptedCritic, PromptedRater, Unreadable, require_readable
from kilter.oversight.recording import add_outcomes, add_shown, start_run
from kilter.oversight.simulated_rater import RaterSettings
from kilter.oversight.study import (
    Critic,
    ModelCriticSettings,
    ModelRatersSettings,
    PassageCriticSettings,
    PeopleSettings,
    PromptedSettings,
    SimulatedRatersSettings,
    Study,
    SurpriseCriticSettings,
    cases_of,
    chance_to_show,
    flaw_types,
    plan_of,
    require_power,
    require_types,
    shows_critic,
)
from kilter.record import Principal, Workspace
from kilter.testbeds import Case

CHUNK = 8  # questions of a model between two writes: what an ended server costs at most

Ask = Callable[[PromptedSettings], ChatModel]
"""Opens the model that a study names."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Conducted:
    """A study with everything that was judged in it.

    Attributes:
        shown: what each arm shows with each case.
        outcomes: one per trial that was done and understood.
        power: computed before the start.
        planned: trials that there are when it is finished.
        unread: trials that were done, and whose answers nobody can read.
        run: id of its run on the record; None where it is only looked at.
    """

    study: Study
    folder: Path
    cases: list[Case]
    shown: dict[Arm, list[Assistance]]
    outcomes: list[Outcome]
    power: float
    planned: int
    unread: Sequence[Unread] = ()
    run: str | None = None


def conduct(
    study: Study, workspace: Workspace, ask: Ask, progress: Progress, pages: Pages | None = None
) -> Conducted:  # fmt: skip
    """Run a study to its end; what was done before is kept and not done again.

    Args:
        ask: opens the models that the study names.
        pages: opens the pages where people judge, for a study whose raters they are.

    Raises:
        SettingsError: it is too small for its power, sets a type of flaw that no case has, names the environment
            variable of a key that is not set, or its raters are people and there are no pages.
        DataError: the cases cannot be had, or another study of this name is in the workspace.
        ModelError, ServerError: the model says nothing that can be read, or its server does not answer.
        StorageError: the folder cannot be written.
    """
    _require_keys(study)
    cases = cases_of(study.cases)
    chance = require_power(study, cases, plan_of(study, len(cases)))
    require_types(study, cases)
    kept = Kept(workspace.runs / study.name, study)
    cases = kept.keep_cases(cases)
    trials = plan_of(study, len(cases))  # of a file that has grown since, those that were there are judged
    shown = help_by_arm(cases, critiques_of(study, cases, kept, ask, progress), study.arms, study.seed)
    _require_help(shown)
    if isinstance(study.raters, PeopleSettings) and pages is None:
        raise SettingsError("The raters of this study are people, and no pages were given for them to judge in.")
    ids = add_shown(workspace.record, cases, shown, study.cases.view)
    run = kept.run(lambda: start_run(workspace.record, study.name, study.model_dump(mode="json"), study.seed, ids))
    if isinstance(study.raters, PeopleSettings):
        assert pages is not None  # as said above
        said = ask_people(workspace.record, study, cases, shown, ids, pages, progress)
        return Conducted(study, kept.folder, cases, shown, said, chance, planned_trials(study, len(cases)), run=run)
    judge, principal, outcomes = _raters(study, study.raters, cases, shown, ask)
    done, unread = kept.outcomes(cases, shown), kept.unread()
    left = _left_of(study, trials, [one.trial for one in done] + [one.trial for one in unread])
    progress("trials", len(trials) - len(left), len(trials))
    for some in outcomes(left):
        read = [one for one in some if isinstance(one, Outcome)]
        add_outcomes(workspace.record, read, ids, judge, principal, run)
        kept.add_outcomes(read)
        done += read
        odd = [one for one in some if isinstance(one, Unread)]
        answers = [one.said for one in (*unread, *odd)]
        require_readable(judge, answers, len(done) + len(answers), of=len(trials))
        kept.add_unread(odd)
        unread += odd
        progress("trials", len(done) + len(unread), len(trials))
    return Conducted(study, kept.folder, cases, shown, done, chance, len(trials), unread, run)


def planned_trials(study: Study, cases: int) -> int:
    """How many trials a study has when it is finished."""
    if isinstance(study.raters, PeopleSettings):
        return judges_per_case(study, cases) * cases
    return study.raters.count * (study.items_per_rater or cases)


def _require_keys(study: Study) -> None:
    """Raises `SettingsError` where a key that will be needed is not there, before the work of hours."""
    for asked in (study.critic, study.raters):
        if isinstance(asked, PromptedSettings) and asked.key is not None:
            bearer_key(asked.key)


def _left_of(study: Study, trials: Sequence[Trial], done: Sequence[Trial]) -> list[Trial]:
    """The trials that are still to do; raises `DataError` where what was done is not of this plan."""
    if not set(done) <= set(trials):
        raise DataError(
            f"The study {study.name} was begun by an earlier Kilter, which dealt out the arms in another way, so it "
            f"cannot go on. 'kilter oversee report {study.name}' shows what was judged; give the file another name to "
            "run it anew."
        )
    judged = set(done)
    return [one for one in trials if one not in judged]


def critiques_of(study: Study, cases: Sequence[Case], kept: Kept, ask: Ask, progress: Progress) -> list[Assistance]:
    """The critic's claims about every case; none where no arm shows any."""
    if not shows_critic(study.arms):
        return []
    done = kept.critiques()
    if len(done) == len(cases):
        return done
    criticize_all = critic_of(study.critic, cases, ask)
    while len(done) < len(cases):
        some = criticize_all(cases[len(done) : len(done) + CHUNK], study.seed)
        odd = [one.said for one in (*done, *some) if not one.readable]
        require_readable(some[0].critic, odd, len(done) + len(some), of=len(cases))
        kept.add_critiques(some)
        done += some
        progress("critiques", len(done), len(cases))
    return done


def critic_of(settings: Critic, cases: Sequence[Case], ask: Ask) -> CriticizeAll:
    """What criticizes some cases by a seed; raises `ModelError` where there is no such model."""
    if isinstance(settings, ModelCriticSettings):
        return _prompted(settings, flaw_types(cases), ask(settings))
    if isinstance(settings, PassageCriticSettings):
        from kilter.models import load
        from kilter.oversight.critics import PassageCritic

        critic = PassageCritic(
            load(settings.model), threshold=settings.threshold, most=settings.most, max_new_tokens=settings.max_tokens
        )
        return critic.criticize_all
    if isinstance(settings, SurpriseCriticSettings):
        from kilter.oversight.critics import SurpriseCritic

        return SurpriseCritic.open(settings.model, threshold=settings.threshold, most=settings.most).criticize_all
    program = ProgramCritic(settings.finds, settings.invents)
    return lambda some, seed: [program.criticize(case, seed) for case in some]


def _prompted(settings: ModelCriticSettings, types: Sequence[str], chat: ChatModel) -> CriticizeAll:
    """A prompted model whose several critiques of a case are made into one, which it looks over."""
    from kilter.oversight.critics import agreed, draw, looked_over, surest
    from kilter.oversight.critics.critique_cases import FALSE_CLAIM

    first, second = (
        PromptedCritic(chat, names, temperature=settings.temperature).criticize_some for names in (types, [FALSE_CLAIM])
    )

    def criticize(cases: Sequence[Case], seed: int) -> list[Assistance]:
        several = draw(first, cases, settings.samples, seed)
        made = [surest(one) if settings.threshold is None else agreed(one, settings.threshold) for one in several]
        return looked_over(second, cases, made, settings.looks_over, seed)

    return criticize


def rater_pool(settings: SimulatedRatersSettings, seed: int) -> list[RaterSettings]:
    """Raters around the one that was set, who see and trust more or less."""
    rng = random.Random(f"raters/{seed}")

    def around(share: float) -> float:
        inside = min(max(share, 0.001), 0.999)
        moved = float(expit(logit(inside) + rng.gauss(0, settings.spread)))
        return share if share in (0, 1) else moved

    work = settings.work
    return [
        work.model_copy(update={"sees": around(work.sees), "trust": around(work.trust)}) for _ in range(settings.count)
    ]


Judged = Callable[[Sequence[Trial]], Iterator[Sequence[Outcome | Unread]]]


def _raters(
    study: Study, raters: SimulatedRatersSettings | ModelRatersSettings, cases: list[Case],
    shown: dict[Arm, list[Assistance]], ask: Ask,
) -> tuple[str, Principal, Judged]:  # fmt: skip
    """The raters' name, who stands behind them, and what does their trials a part at a time."""
    if isinstance(raters, SimulatedRatersSettings):
        pool = rater_pool(raters, study.seed)

        def simulated(left: Sequence[Trial]) -> Iterator[Sequence[Outcome | Unread]]:
            yield simulate(cases, shown, left, pool, study.seed, study.cases.view)

        return "simulated/rater", "simulated", simulated
    chat = ask(raters)
    rater = PromptedRater(chat, flaw_types(cases), raters.temperature, study.cases.view)

    def one(trial: Trial) -> Outcome | Unread:
        case, help_ = cases[trial.item], shown[trial.arm][trial.item]
        said = rater.review(case, help_, study.seed + 2 * trial.rater)
        if isinstance(said, Unreadable):
            return Unread(trial, said.said)
        return Outcome(trial, case, help_, said, compare(case, said.alone), compare(case, said.marks))

    def prompted(left: Sequence[Trial]) -> Iterator[Sequence[Outcome | Unread]]:
        for start in range(0, len(left), CHUNK):
            yield chat.ask_all(one, left[start : start + CHUNK])

    return rater.name, "model", prompted


def _require_help(shown: dict[Arm, list[Assistance]]) -> None:
    silent = [arm for arm, given in shown.items() if arm != "none" and not any(one.claims for one in given)]
    if silent:
        raise DataError(
            f"In the arm {' and '.join(silent)} there is nothing to show with any case: the critic said nothing. Give "
            "the study a critic that names problems, or leave the arm out."
        )


def done_so_far(workspace: Workspace, name: str) -> Conducted:
    """A study as far as it was judged.

    Raises:
        DataError: there is no such study, or nothing of it was judged yet.
    """
    kept = Kept.open(workspace.runs / name)
    study, cases = kept.study, kept.cases()
    critiques = kept.critiques()
    if len(critiques) < len(cases) and shows_critic(study.arms):
        raise DataError(f"The critic of {study.name} has not seen every case yet; 'kilter oversee run' goes on.")
    shown = help_by_arm(cases, critiques, study.arms, study.seed)
    if isinstance(study.raters, PeopleSettings):
        outcomes = said_by_people(workspace.record, study, cases)
    else:
        outcomes = kept.outcomes(cases, shown)
    if not outcomes:
        raise DataError(f"Nothing of {study.name} was judged yet; 'kilter oversee run' goes on.")
    chance = chance_to_show(study, cases, plan_of(study, len(cases)))
    return Conducted(
        study, kept.folder, cases, shown, outcomes, chance, planned_trials(study, len(cases)), kept.unread()
    )
