"""`kilter train ...` on a tiny model and files, through the program's own door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from kilter.cli.main import execute
from kilter.testbeds import Case, Flaw, as_jsonl
from kilter.training.loop import read_metrics

LORA = ["--lora.rank", "2", "--lora.alpha", "4"]
WORDS = ["rain", "bees", "eggs", "moon", "bread", "water", "salt", "sea"]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": f"Say {word}", "response": word} for word in WORDS]
    return write(tmp_path_factory.mktemp("data") / "demonstrations.jsonl", rows)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": f"Say {word}", "chosen": word, "rejected": "no"} for word in WORDS]
    return write(tmp_path_factory.mktemp("data") / "comparisons.jsonl", rows)


@pytest.fixture(scope="module")
def base(tiny_folder: Callable[..., Path]) -> str:
    return str(tiny_folder())


@pytest.fixture(scope="module")
def trained(base: str, demonstrations: Path, comparisons: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy in sft/ and a reward model in reward/, both by command."""
    root = tmp_path_factory.mktemp("trained")
    sft = ["--data", str(demonstrations), "--output", str(root / "sft"), "--lr", "0.01", "batch_size=4", "epochs=2"]
    assert execute(["train", "sft", "--model", base, *sft, *LORA]) == 0
    reward = ["--data", str(comparisons), "--output", str(root / "reward"), "--batch-size", "4", "heldout=0.25"]
    assert execute(["train", "reward", "--model", str(root / "sft" / "model"), *reward, *LORA]) == 0
    return root


def test_sft_writes_a_policy_that_loads(trained: Path) -> None:
    from kilter.models import load, sample

    lm = load(trained / "sft" / "model")
    assert lm.adapters.active is not None
    [[response]] = sample(lm, [lm.encode_prompt("Say rain")], max_new_tokens=3)
    assert response.tokens
    rows = read_metrics(trained / "sft" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(len(rows)))
    result = json.loads((trained / "sft" / "result.json").read_text())
    assert result["heldout_loss_before"] != result["heldout_loss_after"]


def copied(word: str, split: Literal["train", "test"]) -> Case:
    """A word that should stand twice; the second time it does not."""
    end = len(word) + 3
    flaw = Flaw(len(word) + 1, end, "wrong", "major", "It is no copy.")
    units = ((0, len(word)), (len(word) + 1, end))
    return Case("made", word, split, 0.5, "Copy.", f"{word} {word}", f"{word} no", (flaw,), f"{word} {word}", units)


@pytest.mark.parametrize("kind", ["surprise", "passages"])
def test_a_critic_learns_from_a_testbed_and_is_measured(
    kind: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        cases = [copied(word, split) for word in WORDS]
        (tmp_path / split).write_text(as_jsonl(cases))
    files = [
        "--data",
        str(tmp_path / "train"),
        "--heldout",
        str(tmp_path / "test"),
        "--output",
        str(tmp_path / "critic"),
    ]
    said = execute(["train", "critic", "--model", base, *files, "batch_size=4", f"kind={kind}", *LORA])
    shown = capsys.readouterr()
    assert said == 0, shown.err
    figures = dict(line.split(": ", 1) for line in shown.out.splitlines())
    assert {"named", "chance", "gain", "ranked", "heldout_loss_after", "Model"} <= set(figures)
    assert figures["chance"].endswith("n = 8")


@pytest.fixture(scope="module")
def roomy(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model with room for a question of a byte a token."""
    folder = tmp_path_factory.mktemp("roomy") / "base"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return str(folder)


@pytest.mark.parametrize("more", [[], ["reward=truth", "false_cost=0.25"], ["reward=gain", "judge.sees=0.4"]])
def test_a_critic_learns_to_write_and_from_what_its_critiques_are_worth(
    more: list[str], roomy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        (tmp_path / split).write_text(as_jsonl([copied(word, split) for word in WORDS]))
    output = tmp_path / "critic"
    files = ["--data", str(tmp_path / "train"), "--heldout", str(tmp_path / "test"), "--output", str(output)]
    learn = [*more, "rl.steps=2", "rl.prompts=2", "rl.samples=2"] if more else []
    command = ["train", "critic", "--model", roomy, *files, "kind=written", "max_new_tokens=9", "batch_size=4", *learn]
    said = execute([*command, *LORA])
    shown = capsys.readouterr()
    assert said == 0, shown.err
    figures = dict(line.split(": ", 1) for line in shown.out.splitlines())
    assert {"named", "chance", "gain", "ranked", "found", "invented", "unreadable", "Model"} <= set(figures)
    assert figures["unreadable"].endswith("n = 8")
    assert (output / "model" / "adapter_config.json").is_file()
    assert (output / "sft" / "model").is_dir() == bool(more)
    assert len(read_metrics(output / "metrics.jsonl")) == 2  # of the updates, or of the rounds with a reward
    assert ("reward" in read_metrics(output / "metrics.jsonl")[0]) == bool(more)


def test_another_reward_of_critiques_is_not_taken_for_the_finished_run(roomy: str, tmp_path: Path) -> None:
    (tmp_path / "train").write_text(as_jsonl([copied(word, "train") for word in WORDS]))
    files = ["--model", roomy, "--data", str(tmp_path / "train"), "--output", str(tmp_path / "critic")]
    short = ["kind=written", "max_new_tokens=9", "reward=truth", "rl.steps=1", "rl.prompts=2", "rl.samples=2"]
    results = []
    for cost in (0.25, 0.25, 0.75):
        assert execute(["train", "critic", *files, *short, f"false_cost={cost}", *LORA]) == 0
        results.append(json.loads((tmp_path / "critic" / "result.json").read_text()))
    assert results[0] == results[1]
    assert results[0]["fingerprint"] != results[2]["fingerprint"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["notes=false"], "notes has no effect unless kind is passages"),
        (["kind=passages", "max_new_tokens=9"], "max_new_tokens has no effect unless kind is written"),
        (["reward=truth"], "reward has no effect unless kind is written"),
        (["kind=written", "rl.steps=2"], "rl has no effect unless reward is truth or gain"),
        (["kind=written", "reward=gain", "false_cost=1"], "false_cost has no effect unless reward is truth"),
        (["kind=written", "reward=truth", "judge.trust=1"], "judge has no effect unless reward is gain"),
    ],
)
def test_a_setting_of_another_kind_of_critic_is_refused(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["train", "critic", "--data", str(tmp_path / "none"), *given]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_reward_writes_a_scalar_model_that_loads(trained: Path) -> None:
    from kilter.models import Item, load
    from kilter.models.scalar import ScalarModel
    from kilter.training import reward_scores

    lm = load(trained / "sft" / "model")
    judge = ScalarModel.load(lm, trained / "reward" / "model", "reward")
    item = Item(lm.encode_prompt("Say rain"), [lm.encode_response("rain"), lm.encode_response("no")])
    [scores] = reward_scores(judge, [item])
    assert scores[0] != scores[1]
    assert 0 <= json.loads((trained / "reward" / "result.json").read_text())["heldout_accuracy"] <= 1


def test_ppo_goes_on_from_both(trained: Path, demonstrations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kilter.models import load

    output = trained / "ppo"
    command = [
        "train", "ppo", "--model", str(trained / "sft" / "model"), "--reward", str(trained / "reward" / "model"),
        "--data", str(demonstrations), "--output", str(output), "--steps", "2", "prompts=4", "samples=6",
        "max_new_tokens=60", "max_kl=1000", "ptx_tokens=16", *LORA,
    ]  # fmt: skip
    assert execute(command) == 0
    said = capsys.readouterr().out
    assert f"Model: {output / 'model'}" in said
    assert "kl: " in said
    assert len(read_metrics(output / "metrics.jsonl")) == 2
    policy, start = load(output / "model"), load(trained / "sft" / "model")
    ids = [
        policy.adapters.parameters(str(policy.adapters.active)),
        start.adapters.parameters(str(start.adapters.active)),
    ]
    assert any((a != b).any() for a, b in zip(*ids, strict=True))
    before = (output / "model" / "adapter_model.safetensors").read_bytes()
    assert execute(command) == 0  # a finished run does nothing
    assert (output / "model" / "adapter_model.safetensors").read_bytes() == before


@pytest.mark.parametrize("method", ["dpo", "kto", "grpo", "grpo by a model", "online-dpo", "best-of-n"])
def test_the_other_methods_go_on_from_the_policy(
    trained: Path, comparisons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    from kilter.models import load

    (tmp_path / "mine.py").write_text("def short(prompts, responses):\n    return [-len(one) for one in responses]\n")
    function = f"{tmp_path / 'mine.py'}:short"
    sampled = ["max_new_tokens=60", "samples=6"]
    more = {
        "dpo": ["--loss", "ipo", "heldout=0.25"],
        "kto": ["--batch-size", "4"],
        "grpo": ["--reward", function, "--variant", "rloo", "steps=2", "prompts=4", "max_kl=1000", *sampled],
        "grpo by a model": ["--reward", str(trained / "reward" / "model"), "steps=2", "max_kl=1000", *sampled],
        "online-dpo": ["--reward", function, "steps=2", "prompts=4", "max_kl=1000", *sampled],
        "best-of-n": ["--reward", function, *sampled],
    }[method]
    command = [
        "train", method.split()[0], "--model", str(trained / "sft" / "model"), "--data", str(comparisons),
        "--output", str(tmp_path / "out"), "--lr", "0.01", *more, *LORA,
    ]  # fmt: skip
    assert execute(command) == 0
    assert f"Model: {tmp_path / 'out' / 'model'}" in capsys.readouterr().out
    policy, start = load(tmp_path / "out" / "model"), load(trained / "sft" / "model")
    pairs = zip(*(lm.adapters.parameters(str(lm.adapters.active)) for lm in (policy, start)), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_several_reward_models_judge_as_one_and_a_held_out_judge_looks_on(
    trained: Path, comparisons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--model", str(trained / "sft" / "model"), "--data", str(comparisons), *LORA]
    several = ["train", "reward-ensemble", *common, "--output", str(tmp_path / "several"), "members=2", "heldout=0.25"]
    assert execute(several) == 0
    assert "unsure_accuracy: " in capsys.readouterr().out
    (tmp_path / "mine.py").write_text("def long(prompts, responses):\n    return [len(one) for one in responses]\n")
    command = [
        "train", "ppo", *common, "--reward", str(tmp_path / "several" / "model"), "--output", str(tmp_path / "ppo"),
        "--judge", f"{tmp_path / 'mine.py'}:long", "monitor=judge", "--stop-kl", "0.001", "steps=9", "samples=6",
        "max_new_tokens=20", "max_kl=1000", "ptx_coef=0", "lr=0.01",
    ]  # fmt: skip
    assert execute(command) == 0
    assert "beyond stop_kl." in capsys.readouterr().out
    rows = read_metrics(tmp_path / "ppo" / "metrics.jsonl")
    assert 1 < len(rows) < 9
    assert all(row["reward_disagreement"] > 0 and row["judge"] > 0 for row in rows)


def test_steps_are_learned_and_are_a_reward(
    trained: Path, comparisons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"p{n}", "completions": ["good", "badx"], "labels": [True, n % 2 == 0]} for n in range(12)]
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = ["--model", str(trained / "sft" / "model"), *LORA]
    judge = tmp_path / "judge"
    assert execute(
        ["train", "process-reward", *model, "--data", str(tmp_path / "steps.jsonl"), "--output", str(judge)]
    ) == 0  # fmt: skip
    assert "first_error_accuracy: " in capsys.readouterr().out
    learn = ["--data", str(comparisons), "--reward", str(judge / "model"), "--output", str(tmp_path / "grpo")]
    assert execute(["train", "grpo", *model, *learn, "steps=1", "samples=4", "max_new_tokens=9", "max_kl=1000"]) == 0
    dense = [*learn[:-1], str(tmp_path / "dense"), "--step-reward", str(judge / "model")]
    assert execute(["train", "grpo", *model, *dense, "steps=1", "samples=4", "max_new_tokens=9", "max_kl=1000"]) == 0
    rows = [read_metrics(tmp_path / name / "metrics.jsonl")[0] for name in ("grpo", "dense")]
    assert ["step_reward" in row for row in rows] == [False, True]
    wrong = ["--data", str(comparisons), "--reward", str(judge / "model"), "--output", str(tmp_path / "ppo")]
    assert execute(["train", "ppo", *model, *wrong]) == 4
    assert "judges single steps" in capsys.readouterr().err


def test_solutions_of_the_reasoning_testbed_teach_a_judge_of_steps_and_a_policy(
    roomy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = str(tmp_path / "cases.jsonl")
    assert execute(["testbed", "generate", "reasoning", "--n", "12", "--difficulty", "0", "--out", cases]) == 0
    model, judge = ["--model", roomy, "--data", cases, *LORA], str(tmp_path / "judge" / "model")
    assert execute(["train", "process-reward", *model, "--output", str(tmp_path / "judge"), "heldout=0.25"]) == 0
    assert "heldout_accuracy: " in capsys.readouterr().out
    learn = ["--reward", judge, "--step-reward", judge, "--output", str(tmp_path / "grpo")]
    short = ["steps=1", "prompts=2", "samples=2", "max_new_tokens=9", "max_kl=1000"]
    assert execute(["train", "grpo", *model, *learn, *short]) == 0
    assert "step_reward" in read_metrics(tmp_path / "grpo" / "metrics.jsonl")[0]
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"testbed": "reasoning", "units": []}\n')
    assert execute(["train", "process-reward", "--model", roomy, "--data", str(broken)]) == 3
    assert "is no case of a testbed" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("mine.py", "it has no colon"),
        ("nowhere.py:short", "there is no file nowhere.py"),
        ("mine.py:shrot", "has no function 'shrot'"),
        ("broken.py:short", "cannot be run: SyntaxError"),
        ("nowhere", "holds no reward model"),
    ],
)
def test_a_reward_that_is_not_there_is_named(
    trained: Path, comparisons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], named: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def short(prompts, responses):\n    return [1.0] * len(responses)\n")
    (tmp_path / "broken.py").write_text("def short(:\n")
    model = ["--model", str(trained / "sft" / "model")]
    assert execute(["train", "grpo", *model, "--data", str(comparisons), "--reward", named]) in (2, 4)
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "trained").exists()


def test_full_fine_tuning_by_a_flag(base: str, demonstrations: Path, tmp_path: Path) -> None:
    from kilter.models import load

    command = ["train", "sft", "--model", base, "--data", str(demonstrations), "--output", str(tmp_path), "lora=null"]
    assert execute([*command, "--lr", "0.001"]) == 0
    assert load(tmp_path / "model").adapters.active is None
    assert (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sft", "--data", "DATA", "batch_sise=3"], 2, "did you mean 'batch_size'?"),
        (["sft", "--data", "DATA", "--batch-sise", "3"], 2, "--batch-size"),
        (["sft", "--data", "DATA", "lora.rang=3"], 2, "did you mean 'rank'?"),
        (["sft", "--data", "DATA", "lr=3"], 2, "surely a typing mistake"),
        (["sft"], 2, "'data' is required"),
        (["ppo", "--data", "DATA", "kl_coeff=1"], 2, "did you mean 'kl_coef'?"),
        (["reward", "--data", "DATA", "heldout=1.5"], 2, "heldout"),
        (["sft", "--model", "BASE", "--data", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["reward", "--model", "BASE", "--data", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["ppo", "--model", "BASE", "--data", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["sft", "--model", "BASE", "--data", "BROKEN"], 3, "columns"),
        (["sft", "--model", "nowhere", "--data", "DATA"], 4, "There is no model 'nowhere'"),
        (["reward", "--model", "nowhere", "--data", "PAIRS"], 4, "There is no model 'nowhere'"),
        (["ppo", "--model", "nowhere", "--data", "DATA"], 4, "There is no model 'nowhere'"),
        (["ppo", "--model", "BASE", "--reward", "BASE", "--data", "DATA"], 4, "holds no reward model"),
        (["sftt"], 2, "sft"),
    ],
)
def test_what_is_wrong_has_its_exit_code(
    words: list[str], code: int, said: str, base: str, demonstrations: Path, comparisons: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    broken = write(tmp_path / "broken.jsonl", [{"words": "a"}])
    real = {"DATA": str(demonstrations), "PAIRS": str(comparisons), "BASE": base, "BROKEN": str(broken)}
    assert execute(["train", *(real.get(word, word) for word in words)]) == code
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "trained").exists()


def test_one_comparison_cannot_be_split(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "one.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    command = ["train", "reward", "--model", base, "--data", str(data), "--output", str(tmp_path / "out"), *LORA]
    assert execute(command) == 3
    assert "Error: " in capsys.readouterr().err


def test_one_demonstration_is_enough_to_learn(base: str, tmp_path: Path) -> None:
    data = write(tmp_path / "one.jsonl", [{"prompt": "a", "response": "b"}])
    command = ["train", "sft", "--model", base, "--data", str(data), "--output", str(tmp_path / "out"), *LORA]
    assert execute(command) == 0
