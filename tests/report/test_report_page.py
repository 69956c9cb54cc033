"""The report page on a realistic content; all its numbers are invented."""

from __future__ import annotations

import dataclasses
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from kilter.errors import DataError, StorageError
from kilter.report import (
    Curve,
    Headline,
    Measure,
    Pair,
    Rater,
    Reliability,
    ReportContent,
    Reproduction,
    Response,
    Series,
    Stage,
    write_report,
)
from kilter.report.page import render, total, visible
from kilter.stats import Estimate, calibration

CLUSTERED = "bootstrap of 120 clusters, BCa, 2000 replicates"


def estimate(value: float, half: float, n: int = 480, method: str = CLUSTERED) -> Estimate:
    return Estimate(value, value - half, value + half, n, method)


def measures() -> tuple[Measure, ...]:
    return (
        Measure(
            "Gold score",
            "Mean score of the programs that know what each prompt asked for; never seen in training.",
            estimate(0.4613, 0.031),
            estimate(0.7124, 0.028),
            estimate(0.2511, 0.034, method=f"paired {CLUSTERED}"),
            higher_is_better=True,
        ),
        Measure(
            "Win rate against the start",
            "How often the gold judge prefers the new model's response; a tie counts one half.",
            after=estimate(0.7312, 0.042),
            change=None,
            unit="%",
            higher_is_better=True,
            note="Ties 12.4%. Position effect +1.2 points [−5.8, +8.1].",
        ),
        Measure(
            "Win rate at equal length",
            "The same, predicted for responses of equal length by logistic regression.",
            after=estimate(0.6893, 0.055),
            unit="%",
            higher_is_better=True,
        ),
        Measure(
            "Reward model accuracy",
            "Share of held-out comparisons that the reward model orders as the raters did.",
            after=estimate(0.7471, 0.026, 1200),
            unit="%",
            higher_is_better=True,
            note="Shorter-is-better alone: 59.9% [57.1, 62.7].",
        ),
        Measure(
            "Calibration error",
            "Mean gap between the reward model's stated and observed rates.",
            after=Estimate(0.0412, 0.0203, 0.0584, 1200, "10 equal-mass bins, bootstrap, basic"),
            unit="%",
            higher_is_better=False,
            note="A perfectly calibrated model would show 2.9% at this n.",
        ),
        Measure(
            "KL to the SFT model",
            "How far the policy moved, per response; neither good nor bad.",
            after=estimate(11.34, 0.62),
            unit="nats",
        ),
        Measure(
            "Response length",
            "Mean tokens, the end token included.",
            estimate(61.2, 2.9),
            estimate(48.7, 1.8),
            estimate(-12.5, 2.6),
            unit="tokens",
        ),
        Measure(
            "Perplexity on plain text",
            "Alignment tax: how well held-out encyclopedia text is still predicted.",
            estimate(17.83, 0.41, 64),
            estimate(18.29, 0.43, 64),
            estimate(0.46, 0.09, 64),
            higher_is_better=False,
        ),
        Measure(
            "Multiple choice",
            "Alignment tax: accuracy on 200 plain questions.",
            Estimate(0.345, 0.2828, 0.4132, 200, "Wilson"),
            Estimate(0.34, 0.278, 0.408, 200, "Wilson"),
            estimate(-0.005, 0.021, 200),
            unit="%",
            higher_is_better=True,
        ),
    )


def curves() -> tuple[Curve, ...]:
    rng = np.random.default_rng(0)
    kl = np.linspace(0, 14, 15)
    gold = 0.46 + 0.34 * np.sqrt(kl / 14) - 0.09 * (kl / 14) ** 2
    proxy = 0.45 + 0.47 * np.sqrt(kl / 14)
    steps = np.arange(400.0)
    loss = 0.69 * np.exp(-steps / 120) + 0.42 + rng.normal(0, 0.05, 400)
    loss[200:204] = math.nan
    return (
        Curve(
            "Reward against KL",
            "KL to the SFT model (nats)",
            "score",
            (
                Series("proxy (reward model)", tuple(kl), tuple(proxy), markers=True),
                Series(
                    "gold (held out)",
                    tuple(kl),
                    tuple(gold),
                    tuple(gold - 0.03),
                    tuple(gold + 0.03),
                    markers=True,
                ),
            ),
            "Where the proxy keeps rising and gold turns down, the policy has begun to exploit the reward "
            "model (Gao et al., 2022).",
        ),
        Curve(
            "PPO loss",
            "update",
            "loss",
            (Series("policy", tuple(steps), tuple(loss)),),
            "Should fall and flatten; a gap marks updates that were skipped.",
        ),
        Curve(
            "Entropy and reward by step",
            "step",
            "nats or score",
            tuple(
                Series(name, tuple(steps[::20]), tuple(level + slope * steps[::20] / 400), markers=marks)
                for name, level, slope, marks in (
                    ("entropy", 2.1, -0.9, False),
                    ("reward", 0.1, 1.4, False),
                    ("value", 0.0, 1.2, True),
                    ("penalty", 0.05, 0.3, False),
                    ("a fifth series with a long name", 1.4, 0.2, True),
                )
            ),
            "A fall of entropy towards 0 would be a collapse onto one answer.",
        ),
        Curve(
            "Sampler and trainer agree",
            "update",
            "ratio before the first step",
            (Series("mean ratio", tuple(range(20)), tuple(1 + rng.normal(0, 0.0012, 20)), markers=True),),
            "Both must give the same token the same probability; outside 1 ± 0.01 the gradient is biased.",
            1.0,
            "exact agreement",
        ),
        Curve(
            "Reward model loss",
            "comparisons seen",
            "loss",
            (
                Series("training", tuple(steps * 30), tuple(loss)),
                Series("held out", tuple(steps[::50] * 30), tuple(0.62 * np.ones(8)), markers=True),
            ),
            "Held-out loss must stay with training loss; ln 2 = 0.69 is guessing.",
            math.log(2),
            "guessing",
        ),
    )


def reliability() -> Reliability:
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.1, 0.9, 1200)
    p = expit(1.4 * logit(chance))
    y = (rng.random(1200) < chance).astype(int)
    return Reliability(
        "Does the reward model know how sure it is?",
        calibration(list(p), list(y), symmetric=True, replicates=50).curve,
        "Points below the line mean that it is surer than it should be. Overconfidence matters here because "
        "PPO takes the difference of rewards at its word.",
    )


def pairs() -> tuple[Pair, ...]:
    return (
        Pair(
            'Name three uses of vinegar in the house. Answer as a list with three bullets, and avoid the word "clean".',
            Response(
                "Vinegar is a versatile household item that can be used for many purposes. It can be used "
                "to clean windows, to clean the kitchen, and it can also be used to clean the floor. "
                "Vinegar is a versatile",
                0.31,
                {
                    "three bullets": 0.0,
                    "avoids 'clean'": 0.0,
                    "on topic": 1.0,
                    "no repetition": 0.5,
                    "ends": 0.0,
                },
                finished=False,
            ),
            Response(
                "- Descale the kettle: boil it with equal parts of water.\n- Freshen the drain: pour a cup "
                "after baking soda.\n- Loosen labels from jars.",
                0.97,
                {
                    "three bullets": 1.0,
                    "avoids 'clean'": 1.0,
                    "on topic": 1.0,
                    "no repetition": 1.0,
                    "ends": 0.87,
                },
            ),
            "topic: household, prompt 17 of 120",
        ),
        Pair(
            "In at most twelve words: what is a tide?",
            Response("", 0.0, {"at most 12 words": 1.0, "on topic": 0.0}),
            Response("The regular rise and fall of the sea, pulled by the moon.", 1.0, {"at most 12 words": 1.0}),
        ),
        Pair(
            "Explain <b>bold</b> in HTML & give an example.\nUse two lines.",
            Response("<script>alert('x')</script><img src=http://evil.example/x.png onerror=alert(1)>", 0.2),
            Response("</p></main><style>*{display:none}</style>\x00\x1b[31m\ud800 שלום world " + "a" * 300, 0.3),
        ),
    )


def sample() -> ReportContent:
    return ReportContent(
        title="SmolLM2-135M after feedback from five simulated raters",
        subtitle="Run quickstart, seed 7, two cores with bf16, 9 min 12 s",
        summary="We took SmolLM2-135M-Instruct, showed it 600 demonstrations, trained a reward model on "
        "2,400 comparisons by simulated raters, and let PPO raise that reward for 60 updates while a penalty held "
        "the model near where it began. The gold judge, which nothing was trained on, then scored 120 new "
        "prompts, four responses each.",
        notices=(
            "The raters in this run are simulated. Their figures prove the method and the statistics, never "
            "an effect on people.",
        ),
        headlines=(
            Headline(
                "Gold win rate against the start",
                estimate(0.7312, 0.042),
                "%",
                "The new model's response is preferred in about three of four prompts.",
                (0.0, 1.0),
                0.5,
                "no better: 50%",
            ),
            Headline(
                "Gold score",
                estimate(0.7124, 0.028),
                "",
                "It was 0.461 at the start.",
                (0, 1),
                0.4613,
                "start",
            ),
            Headline("Reward model accuracy", estimate(0.7471, 0.026, 1200), "%", "", (0, 1), 0.5, "guessing"),
            Headline("KL to the SFT model", estimate(11.34, 0.62), "nats", "How far the policy moved."),
        ),
        measures=measures(),
        curves=curves(),
        reliability=reliability(),
        pairs=pairs(),
        pairs_statement="Three of 120 held-out prompts, drawn with seed 7 before any response was sampled. "
        "Before is always on the left; nobody was asked to judge these.",
        raters=(
            Rater("simulated/careful-1", "simulated", 612, Estimate(0.91, 0.884, 0.931, 612, "Wilson")),
            Rater("simulated/careful-2", "simulated", 598, Estimate(0.893, 0.866, 0.916, 598, "Wilson")),
            Rater(
                "simulated/careless",
                "simulated",
                590,
                Estimate(0.534, 0.494, 0.574, 590, "Wilson"),
                "Dawid-Skene finds it: estimated accuracy 0.53.",
            ),
            Rater("gold", "program", 480),
        ),
        agreement_statement="Agreement: share of a rater's comparisons in which it names the gold judge's "
        "choice. Krippendorff's alpha (nominal) over all raters: 0.41 [0.37, 0.45].",
        stages=(
            Stage("Sampling responses", 71.2, 96_000, 2.6e13, 0.08, 1_310_000_000),
            Stage("SFT", 64.0, 51_200, 4.2e13, 0.41, 1_720_000_000),
            Stage("Reward model", 148.4, 201_600, 1.6e14, 0.44, 1_810_000_000),
            Stage("PPO", 243.9, 122_880, 1.9e14, 0.27, 2_410_000_000),
            Stage("Evaluation", 24.6),
        ),
        compute_statement="Peak: 370 GFLOP/s, bf16 matrix products on two cores, measured in this run.",
        reproduction=Reproduction(
            ("git checkout 1f2e3d4", "make quickstart", "kilter run recipes/quickstart.yaml seed=7"),
            "1f2e3d4c5b6a79880716253443526170f1e2d3c4",
            {"kilter": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0", "python": "3.11.2"},
            {"data": 7, "training": 7, "bootstrap": 0},
            {"base model": "sha256:" + "ab12" * 16, "comparisons": "sha256:" + "cd34" * 16},
        ),
        limits=(
            "Nothing about people: the raters are programs with noise.",
            "One seed. Another seed would give other numbers; the intervals cover the choice of prompts only.",
            "The gold judge checks what can be checked by program. It does not know whether a statement is true.",
        ),
        settings={"name": "quickstart", "ppo": {"steps": 60, "kl": 0.05, "betas": (0.9, 0.95)}, "data": None},
    )


class Checker(HTMLParser):
    """Balanced tags, unique ids, what is linked, and the text."""

    void = frozenset({"meta", "link", "input", "br", "img", "path", "line", "circle"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.closed_alone: set[str] = set()

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag} {attrs}"
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def page() -> str:
    return render(sample())


def test_is_well_formed_with_one_heading_and_no_dangling_links(page: str):
    parsed = read(page)
    names = [tag for tag, _ in parsed.tags]
    assert names.count("h1") == names.count("main") == 1
    assert page.startswith("<!DOCTYPE html>")
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in parsed.tags:
        if tag == "a":
            assert (attrs["href"] or "").removeprefix("#") in ids
        if tag == "label":
            assert attrs["for"] in ids
        if tag == "svg":
            assert attrs.get("aria-hidden") or (attrs["role"] == "img" and attrs["aria-label"])


def test_headings_never_skip_a_level(page: str):
    levels = [int(tag[1]) for tag, _ in read(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_asks_nothing_of_the_network_and_runs_no_script(page: str):
    parsed = read(page)
    for tag, attrs in parsed.tags:
        assert tag not in {"script", "iframe", "object", "embed", "img", "base", "form"}
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in {"src", "href", "action", "data", "srcset", "xlink:href"}:
                assert (value or "").startswith(("#", "data:,"))
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


def test_what_a_model_wrote_stays_text(page: str):
    said = [text for text in read(page).text if "alert" in text or "display:none" in text]
    assert said[0] == "<script>alert('x')</script><img src=http://evil.example/x.png onerror=alert(1)>"
    assert said[1].startswith("</p></main><style>*{display:none}</style>\u2400\u241b[31m\ufffd שלום world aaa")
    assert "<script" not in page
    page.encode("utf-8")


HOSTILE = "\"'><script>x</script>&amp;\x00"


def hostile(node):
    """`node` with every string replaced."""
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return dataclasses.replace(
            node,
            **{
                field.name: hostile(getattr(node, field.name))
                for field in dataclasses.fields(node)
                if field.name not in {"unit"}
            },
        )
    if isinstance(node, str):
        return HOSTILE if node else node
    if isinstance(node, tuple):
        return tuple(hostile(part) for part in node)
    if isinstance(node, dict):
        return {HOSTILE + str(key): hostile(part) for key, part in node.items()}
    return node


def test_no_string_anywhere_can_become_markup(page: str):
    attacked = render(hostile(sample()))
    shape = [tag for tag, _ in read(attacked).tags]
    assert shape == [tag for tag, _ in read(page).tags]
    assert "<script" not in attacked
    assert "\x00" not in attacked


def test_shows_the_figures_with_their_intervals(page: str):
    text = " ".join(" ".join(read(page).text).split())
    assert "73.1%" in text
    assert "[68.9, 77.3]" in text
    assert "+0.251" in text
    assert "−12.5 tokens" in text
    assert "≈ no clear change" in text
    assert "▼ worse" in text
    assert "simulated" in text
    assert "4 min 04 s" in text
    assert "190 TFLOP" in text
    assert "kl: 0.05" in text
    for forbidden in ("nan", "None", "inf", "Undefined"):
        assert not re.search(rf"\b{forbidden}\b", text), forbidden
    assert not re.search(r'"[^"]*\bnan\b', page)


def test_a_bare_report_leaves_out_what_is_empty():
    bare = render(ReportContent("A run", "It ran.", Reproduction(("kilter run x.yaml",), "0" * 40), ()))
    ids = {attrs["id"] for _, attrs in read(bare).tags if "id" in attrs}
    assert ids == {"main", "reproduce", "theme-auto", "theme-light", "theme-dark"}


def test_the_same_content_gives_the_same_bytes(page: str):
    assert render(sample()) == page
    assert len(page.encode()) < 150_000


def test_verdicts_follow_the_interval():
    def verdict(low: float, high: float, up: bool | None) -> str:
        change = Estimate((low + high) / 2, low, high, 10, "x")
        return Measure("m", "e", change=change, higher_is_better=up).verdict()

    assert verdict(0.1, 0.2, True) == "better"
    assert verdict(0.1, 0.2, False) == "worse"
    assert verdict(-0.2, -0.1, False) == "better"
    assert verdict(-0.2, -0.1, True) == "worse"
    assert verdict(-0.1, 0.2, True) == "no clear change"
    assert verdict(0.1, 0.2, None) == ""
    assert Measure("m", "e", higher_is_better=True).verdict() == ""


def test_totals():
    whole = total(sample().stages)
    assert whole is not None
    assert whole.tokens == 471_680
    assert whole.memory == 2_410_000_000
    assert whole.peak_share is None
    assert total(sample().stages[:1]) is None


def test_characters_that_cannot_be_shown():
    assert visible("a\r\nb\tc") == "a\nb\tc"
    assert visible("\x00\x07\r\x7f") == "\u2400\u2407\u240d\u2421"
    assert visible("\x85\ud800\ufffe\ufdd0\U0001ffff") == "\ufffd" * 5
    assert visible("naïve 日本 שלום 👩‍🔬") == "naïve 日本 שלום 👩‍🔬"


@pytest.mark.parametrize(
    ("x", "y", "low", "high"),
    [((), (), None, None), ((1.0,), (1.0, 2.0), None, None), ((1.0,), (1.0,), (0.5,), None)],
)
def test_malformed_series_are_refused(x, y, low, high):
    with pytest.raises(DataError, match="malformed"):
        Series("s", x, y, low, high)


def test_a_plot_holds_what_can_be_told_apart():
    with pytest.raises(DataError, match="1 to 5"):
        Curve("t", "x", "y", (Series("s", (1.0,), (1.0,)),) * 6, "c")


def test_writes_whole_files_into_new_folders(tmp_path: Path):
    path = tmp_path / "runs" / "quickstart" / "report.html"
    write_report(sample(), path)
    assert path.read_text("utf-8") == render(sample())
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_an_old_report_survives_a_failed_write(tmp_path: Path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_report(sample(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
