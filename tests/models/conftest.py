"""Files about what the native kernels replace are run twice, with the kernels and with PyTorch alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

TWICE = ("test_attention", "test_cache", "test_norm", "test_sample", "test_score", "test_trunk")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__ in TWICE:
        metafunc.fixturenames.append("kernels")
        metafunc.parametrize("kernels", ["native", "plain"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    from kilter.models.native import build, calls

    if request.param == "native" and build.library() is None:
        pytest.skip("there are no native kernels here")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(calls, "library", lambda: None)
        yield
