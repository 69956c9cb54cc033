"""The curves of a report: what the policy's training measured, step by step, and what to look for in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kilter.report import Curve, Series


@dataclass(frozen=True)
class _Plot:
    """One curve of the report: what of the training's metrics it shows, and what an expert should look for."""

    title: str
    x: str
    y_label: str
    keys: tuple[str, ...]
    caption: str
    reference: float | None = None
    reference_label: str = ""


_PLOTS = (
    _Plot(
        "Proxy reward", "step", "reward model's score", ("reward",),
        "Rises while PPO learns what the reward model likes.",
    ),
    _Plot(
        "Gold score", "step", "gold score", ("gold",),
        "Of the same rollouts, never trained on. Where it falls while the proxy rises, the policy exploits the reward "
        "model.",
    ),
    _Plot(
        "Proxy reward against KL", "kl", "reward model's score", ("reward",),
        "The price of reward in distance from the SFT model (Gao et al.).",
    ),
    _Plot(
        "Gold score against KL", "kl", "gold score", ("gold",),
        "A peak followed by a fall is over-optimization.",
    ),
    _Plot(
        "KL", "step", "nats per response", ("kl",),
        "Distance of the policy from the SFT model on its own samples.",
    ),
    _Plot(
        "Entropy", "step", "nats per token", ("entropy",),
        "A fall to zero means that the policy gives one answer only.",
    ),
    _Plot(
        "Losses", "step", "loss", ("value_loss", "ptx_loss"),
        "The value loss should fall; the loss on plain text should not rise.",
    ),
    _Plot(
        "Response length", "step", "tokens", ("length",),
        "Shrinking or growing lengths are the usual sign of a reward model that goes by length.",
    ),
    _Plot(
        "Sampler against trainer", "step", "mean probability ratio", ("agreement",),
        "The same tokens should get the same probability from both: 1 within 0.01.",
        reference=1.0, reference_label="exact agreement",
    ),
    _Plot(
        "Comparisons ordered as judged", "step", "share of a batch's pairs", ("accuracy",),
        "On how many the policy has gained more on the better response than on the worse. Of the comparisons that it "
        "is trained on: near 1 means learned by heart, not that people would prefer its new responses.",
        reference=0.5, reference_label="chance",
    ),
    _Plot(
        "Implicit reward", "step", "nats", ("desirable", "undesirable"),
        "How far the policy has gone towards the responses that were marked good, and towards those marked bad.",
    ),
    _Plot(
        "Margin", "step", "nats", ("margin",),
        "By how much it has gained more on the better response. A steep rise means that it moves far from its start.",
    ),
)  # fmt: skip


def curves_of(metrics: Sequence[dict[str, float]]) -> tuple[Curve, ...]:
    """Curves over the training's steps, as far as it measured them."""
    curves = []
    for plot in _PLOTS:
        series = tuple(one for one in (_series(metrics, key, plot.x) for key in plot.keys) if one is not None)
        if series:
            x_label = "step" if plot.x == "step" else "KL (nats per response)"
            curves.append(
                Curve(plot.title, x_label, plot.y_label, series, plot.caption, plot.reference, plot.reference_label)
            )
    return tuple(curves)


def _series(metrics: Sequence[dict[str, float]], key: str, x: str) -> Series | None:
    rows = sorted((one for one in metrics if key in one and x in one), key=lambda one: one[x])
    if not rows:
        return None
    name = key.removesuffix("_loss")
    return Series(name, tuple(one[x] for one in rows), tuple(one[key] for one in rows), markers=x != "step")
