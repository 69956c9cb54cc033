from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kilter.models import Item, LoraConfig, native, pack, packed_logprobs, sample
from kilter.models.native import build, calls

DTYPES = pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 2e-6), (torch.bfloat16, 8e-3)], ids=["f32", "bf16"]
)
THREADS = pytest.mark.parametrize("threads", [1, 2])
needs_kernels = pytest.mark.skipif(build.library() is None, reason="there are no native kernels here")


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


def near(got: Tensor, expected: Tensor, bound: float) -> None:
    """Same shape, and each value within `bound` of its size and the tensor's usual size, of order 1."""
    assert got.shape == expected.shape
    if got.numel():
        usual = expected.abs().mean() + 0.01
        assert float(((got.double() - expected).abs() / (expected.abs() + usual)).max()) < bound


@needs_kernels
@DTYPES
@THREADS
@pytest.mark.parametrize(("rows", "d"), [(0, 8), (1, 1), (1, 32), (3, 17), (5, 64), (700, 33)])
def test_norm(rows: int, d: int, dtype: torch.dtype, bound: float, threads: int) -> None:
    torch.set_num_threads(threads)
    x, more, weight = random(rows, d, dtype=dtype), random(rows, d, dtype=dtype, seed=1), random(d, dtype=dtype, seed=2)
    for add in (None, more):
        own = x.clone()
        got = native.norm(own, weight, 1e-5, add=add)
        whole = x if add is None else x + add
        assert torch.equal(own, whole)
        wide = whole.double()
        near(got, wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double(), bound)


@needs_kernels
@DTYPES
@THREADS
@pytest.mark.parametrize(("rows", "d"), [(0, 4), (1, 1), (3, 17), (4, 64), (600, 31)])
def test_gated(rows: int, d: int, dtype: torch.dtype, bound: float, threads: int) -> None:
    torch.set_num_threads(threads)
    both = random(rows, 2 * d, dtype=dtype, scale=6)
    gate, up = both.chunk(2, -1)
    near(native.gated(gate, up), nn.functional.silu(gate.double()) * up.double(), bound)


@needs_kernels
def test_values_that_are_not_finite_pass_as_in_torch() -> None:
    odd = torch.tensor([float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 200.0, -200.0, 1e-40])
    for dtype in (torch.float32, torch.bfloat16):
        gate = odd.to(dtype)[:, None]
        expected = (nn.functional.silu(gate.double()) * 1.0).to(dtype)
        torch.testing.assert_close(native.gated(gate, torch.ones_like(gate)), expected, equal_nan=True)
        x = torch.ones(3, 20, dtype=dtype)
        x[1, 18] = float("nan")
        assert native.norm(x, torch.ones(20, dtype=dtype), 1e-5).isnan().any(1).tolist() == [False, True, False]


@needs_kernels
@DTYPES
@THREADS
@pytest.mark.parametrize(("n", "h", "d"), [(0, 2, 8), (1, 1, 2), (5, 3, 6), (3, 2, 64), (200, 5, 48)])
def test_rotate(n: int, h: int, d: int, dtype: torch.dtype, bound: float, threads: int) -> None:
    torch.set_num_threads(threads)
    heads, weight = random(n, h + 1, d, dtype=dtype), random(d, dtype=dtype, seed=1)
    angle = random(n, d // 2, seed=2).repeat(1, 2)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    for norm in (None, weight):
        wide = heads[:, :h].double()
        if norm is not None:
            wide = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.double()
        half = torch.cat([-wide[..., d // 2 :], wide[..., : d // 2]], -1)
        expected = wide * cos.double()[:, None] + half * sin.double()[:, None]
        near(native.rotate(heads[:, :h], cos, sin, norm, 1e-6), expected, bound)
        own = heads.clone()
        native.rotate(own[:, :h], cos, sin, norm, 1e-6, out=own[:, :h])
        near(own[:, :h], expected, bound)
        assert torch.equal(own[:, h], heads[:, h])


@needs_kernels
@DTYPES
@THREADS
@pytest.mark.parametrize(
    ("h", "g", "d", "of_prompt", "width", "column"),
    [
        (1, 1, 8, 0, 4, 0),
        (9, 3, 64, 32, 32, 0),
        (9, 3, 64, 96, 64, 40),
        (14, 2, 16, 7, 12, 11),
        (5, 1, 20, 0, 200, 130),
    ],
)
def test_attend(
    h: int, g: int, d: int, of_prompt: int, width: int, column: int, dtype: torch.dtype, bound: float, threads: int
) -> None:
    """Three rows of two prompts; the second prompt has a padded column; what lies behind the newest is not read."""
    torch.set_num_threads(threads)
    rows, prompt_of = 3, torch.tensor([0, 1, 1])

    def columns(x: int, w: int, seen: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        keys, values = random(x * g, d, w, dtype=dtype, seed=seed), random(x * g, w, d, dtype=dtype, seed=seed + 1)
        mask = torch.zeros(x * g, 1, w, dtype=dtype)
        mask[:, :, seen:] = float("-inf")
        return keys, values, mask

    prompt, own = columns(2, of_prompt, of_prompt, 1), columns(rows, width, column + 1, 3)
    if of_prompt:
        prompt[2][g:, :, -1] = float("-inf")
    qkv = random(rows, h + 2 * g, d, dtype=dtype, seed=5, scale=2)
    q, k, v = qkv[:, :h], qkv[:, h : h + g], qkv[:, h + g :]
    got = native.attend(q, k, v, prompt if of_prompt else None, prompt_of, own, column, 0.3)
    assert torch.equal(own[0].view(rows, g, d, width)[..., column], k)
    assert torch.equal(own[1].view(rows, g, width, d)[:, :, column], v)
    for row in range(rows):
        for head in range(h):
            at, place = int(prompt_of[row]) * g + head // (h // g), row * g + head // (h // g)
            keys = torch.cat([prompt[0][at], own[0][place]], 1).double()
            values = torch.cat([prompt[1][at], own[1][place]], 0).double()
            mask = torch.cat([prompt[2][at, 0], own[2][place, 0]]).double()
            p = torch.softmax(0.3 * q[row, head].double() @ keys + mask, 0)
            near(got[row, head], p @ values, 4 * bound)  # scores of size 10 round to 1e-6


@needs_kernels
@DTYPES
@THREADS
@pytest.mark.parametrize(("rows", "d"), [(0, 8), (1, 1), (1, 32), (3, 17), (129, 40), (600, 33)])
def test_gradients_of_norm_and_gate(rows: int, d: int, dtype: torch.dtype, bound: float, threads: int) -> None:
    torch.set_num_threads(threads)
    x, weight, grad, up = (
        random(*shape, dtype=dtype, seed=i) for i, shape in enumerate([(rows, d), (d,)] + [(rows, d)] * 2)
    )
    wide, w, u = (one.double().requires_grad_() for one in (x, weight, up))
    (wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w).backward(grad.double())
    dx, dw = native.norm_backward(x, weight, grad, 1e-5, of_weight=True)
    assert dw is not None
    near(dx, wide.grad, 2 * bound)
    near(dw, w.grad, 4 * bound)
    assert native.norm_backward(x, weight, grad, 1e-5, of_weight=False)[1] is None
    wide.grad = None
    (nn.functional.silu(wide) * u).backward(grad.double())
    for got, expected in zip(native.gated_backward(x, up, grad), (wide.grad, u.grad), strict=True):
        near(got, expected, bound)


@needs_kernels
@DTYPES
@THREADS
@pytest.mark.parametrize(("s", "each", "q", "k"), [(0, 1, 2, 3), (1, 1, 1, 1), (2, 3, 5, 17), (3, 6, 40, 70)])
def test_softmax(s: int, each: int, q: int, k: int, dtype: torch.dtype, bound: float, threads: int) -> None:
    torch.set_num_threads(threads)
    scores, grad = (random(s, each * q, k, dtype=dtype, seed=seed) for seed in (0, 1))
    seen = torch.randint(1, k + 1, (s, q), generator=torch.Generator().manual_seed(2))
    hidden = (torch.arange(k) >= seen[:, None, :, None]).expand(s, each, q, k).reshape(scores.shape)
    wide = scores.double().requires_grad_()
    expected = torch.softmax((0.7 * wide).masked_fill(hidden, float("-inf")), -1)
    p = scores.clone()
    native.softmax(p, seen, 0.7)
    near(p, expected.detach(), bound)
    assert not p[hidden].any()
    expected.backward(grad.double())
    native.softmax_backward(expected.detach().to(dtype), grad, seen, 0.7)
    near(grad, wide.grad, 2 * bound)
    assert not grad[hidden].any()


@needs_kernels
@DTYPES
@THREADS
def test_gather_and_scatter(dtype: torch.dtype, bound: float, threads: int) -> None:
    torch.set_num_threads(threads)
    x, at = random(9, 4, 20, dtype=dtype), torch.tensor([[3, 0, 8], [3, 1, -1]])
    block = native.gather(x, at, 2)
    expected = x[at.clamp(min=0)] * (at >= 0)[:, :, None, None]
    assert torch.equal(block, expected.permute(0, 2, 1, 3).reshape(4, 6, 20))
    out = torch.zeros_like(x)
    native.scatter(block, at, out, add=True)
    assert torch.equal(out, x * torch.tensor([1, 1, 0, 2, 0, 0, 0, 0, 1])[:, None, None])
    out.fill_(7)
    native.scatter(block, at, out, add=False)
    assert torch.equal(out[[0, 1, 3, 8]], x[[0, 1, 3, 8]])
    assert bool((out[2] == 7).all())


@needs_kernels
def test_a_turn_back_undoes_a_turn() -> None:
    heads, angle = random(7, 3, 10), random(7, 5, seed=1).repeat(1, 2)
    turned = native.rotate(heads, angle.cos(), angle.sin())
    torch.testing.assert_close(native.rotate(turned, angle.cos(), angle.sin(), back=True), heads)
    # The angles of a head's halves need not be the same ones for the gradient to be right.
    cos, sin, grad = random(7, 10, seed=2), random(7, 10, seed=3), random(7, 3, 10, seed=4)
    wide = heads.clone().requires_grad_()
    (wide * cos[:, None] + torch.cat([-wide[..., 5:], wide[..., :5]], -1) * sin[:, None]).backward(grad)
    torch.testing.assert_close(native.rotate(grad, cos, sin, back=True), wide.grad)


@needs_kernels
def test_the_number_of_threads_changes_nothing() -> None:
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        x, both = random(999, 70), random(999, 140)
        found.append([native.norm(x, random(70), 1e-5), native.gated(*both.chunk(2, -1))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@needs_kernels
def test_it_takes_what_it_can_compute_and_nothing_else() -> None:
    x = torch.ones(4, 6)
    assert native.takes(x, nn.Parameter(x))
    assert not native.takes(x.t())
    assert not native.takes(x, x.bfloat16())
    assert not native.takes(x.double())
    assert not native.takes(x.to("meta"))


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_no_second_openmp_is_loaded() -> None:
    lines = Path("/proc/self/maps").read_text().splitlines()
    before = {line.split()[-1] for line in lines if "omp" in line.rpartition("/")[2]}
    code = (
        "import torch, pathlib; from kilter.models.native import build; assert build.library() is not None;"
        "print({l.split()[-1] for l in pathlib.Path('/proc/self/maps').read_text().splitlines() if 'libgomp' in l})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("libgomp") == 1
    assert before


FORK = """
import os, torch
from kilter.models import Item, LoraConfig, native, pack, packed_logprobs, sample
torch.set_num_threads(2)
x, weight = torch.randn(999, 64), torch.ones(64)
expected = native.norm(x, weight, 1e-5).numpy().tobytes()
child = os.fork()
if not child:  # torch's own parallel operations would hang here, whoever comes first
    os._exit(0 if native.norm(x, weight, 1e-5).numpy().tobytes() == expected else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_it_computes_in_a_forked_child_too() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=250)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder with nothing compiled in it; what is found there stays in the test."""
    monkeypatch.setenv("KILTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KILTER_NATIVE", raising=False)
    monkeypatch.setattr(build, "note", lambda *_: None)
    return tmp_path / "home" / "native"


@needs_kernels
def test_it_is_compiled_once_into_a_folder_of_the_users_own(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHOICES", ((),))
    assert build.library.__wrapped__() is not None
    (made,) = fresh.iterdir()
    assert made.name.startswith("kernels-")
    assert fresh.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled twice"))
    assert build.library.__wrapped__() is not None


def test_a_folder_that_others_may_write_into_is_refused(fresh: Path) -> None:
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    assert build.library.__wrapped__() is None
    assert not list(fresh.iterdir())


@pytest.mark.parametrize("how", ["no compiler", "broken compiler", "switched off"])
def test_without_a_compiler_there_are_none(fresh: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "switched off":
        monkeypatch.setenv("KILTER_NATIVE", "0")
    else:
        monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",) if how == "no compiler" else ("false",))
    assert build.library.__wrapped__() is None
    assert not fresh.exists() or not list(fresh.iterdir())


def test_the_environment_of_a_run_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    from kilter.record import environment

    native.takes(torch.ones(1))
    assert environment()["native_kernels"] is (build.library() is not None)


FAMILIES = pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt_neox"])


@needs_kernels
@FAMILIES
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "adapter"])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_training_is_the_same_with_and_without(
    tiny_lm: Callable[..., Any], family: str, adapter: bool, dtype: str, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and every gradient of a packed row with shared prompts."""
    lm = tiny_lm(family, dtype=dtype)
    if adapter:
        lm.adapters.add("a", LoraConfig(4, 8.0, ("all-linear",)), torch.Generator().manual_seed(0))
        lm.adapters.activate("a")
        for one in lm.adapters.parameters("a"):
            one.data.add_(random(*one.shape, scale=0.1))
    else:
        lm.model.requires_grad_(True)
    packed = pack([Item([5, 9, 7, 4], [[7, 3], [12, 20, 4]]), Item([22] * 30, [[6, 8] * 9, [4]])])
    found = []
    for has in (build.library(), None):
        monkeypatch.setattr(calls, "library", lambda has=has: has)
        lm.model.zero_grad()
        logprobs, _ = packed_logprobs(lm, packed)
        logprobs.sum().backward()
        trained = [one for one in lm.model.parameters() if one.requires_grad]
        found.append([logprobs.detach(), *(one.grad.clone() for one in trained if one.grad is not None)])
    ours, plain = found
    assert len(ours) == len(plain) > 10
    for a, b in zip(ours, plain, strict=True):
        assert float((a.double() - b.double()).norm()) <= bound * float(b.double().norm()) + 1e-6


def test_sampling_is_the_same_with_and_without(tiny_lm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for family in ("llama", "qwen3", "gemma", "gpt_neox"):
        lm, found = tiny_lm(family), []
        for has in (build.library(), None):
            monkeypatch.setattr(calls, "library", lambda has=has: has)
            found.append(sample(lm, [[5, 6, 7], [9] * 20, [8, 3]], n=2, max_new_tokens=12, seed=3))
        ours, plain = ([one for row in rows for one in row] for rows in found)
        assert [one.tokens for one in ours] == [one.tokens for one in plain]
        for a, b in zip(ours, plain, strict=True):
            torch.testing.assert_close(torch.tensor(a.logprobs), torch.tensor(b.logprobs), rtol=1e-4, atol=1e-4)
