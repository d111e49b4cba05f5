"""Whether the CUDA kernels can run, asked of a GPU that pretends, and what users are told if not."""

import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("numba.cuda", reason="numba-cuda is not installed: minicrnn[cuda]")

from numba import config, cuda

from minicrnn import backend
from minicrnn_kernels import ctc_cuda as kernels
from minicrnn_kernels import cuda_available
from tests.kernels.pretended_gpu import PretendedCuda

if config.ENABLE_CUDASIM:
    pytest.skip("the simulator has no device to pretend to", allow_module_level=True)

DEVICE = 1


@pytest.fixture
def device(monkeypatch):
    """numba's part of it."""
    pretended = PretendedCuda()
    monkeypatch.setattr(kernels, "cuda", pretended)
    caches = kernels._compiled, kernels._configured
    for cache in caches:
        cache.cache_clear()
    yield pretended
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(autouse=True)
def ask_anew():
    for cache in (cuda_available.why_no_cuda, backend._cuda_kernels_usable):
        cache.cache_clear()
    yield
    for cache in (cuda_available.why_no_cuda, backend._cuda_kernels_usable):
        cache.cache_clear()


@pytest.fixture
def present(monkeypatch):
    """A driver and a device."""
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_current_device", lambda: SimpleNamespace(id=DEVICE))


def test_without_numba_cuda(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba_cuda", None)
    assert cuda_available.why_no_cuda() == "numba-cuda is not installed"


def test_without_a_driver(monkeypatch):
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert cuda_available.why_no_cuda() == "numba-cuda finds no usable CUDA driver"


@pytest.mark.usefixtures("present")
def test_where_the_kernels_compile(device):
    assert cuda_available.why_no_cuda() == ""
    assert cuda_available.why_no_cuda(0) == ""
    assert device.entered == [DEVICE, 0]
    assert [name for name, _ in device.compiled] == ["frames", "recursion"] * 2


@pytest.mark.usefixtures("present")
def test_where_they_do_not_there_is_one_warning_that_says_why(device, monkeypatch):
    def jit(signature, **options):
        raise RuntimeError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION\nptxas application ptx input, line 9")

    monkeypatch.setattr(device, "jit", jit)
    message = r"cannot compile .* driver \(RuntimeError: CUDA_ERROR_UNSUPPORTED_PTX_VERSION; .*cuda12"
    with pytest.warns(RuntimeWarning, match=message):
        assert not backend._cuda_kernels_usable()
    assert not backend._cuda_kernels_usable()  # a second warning would be an error here


@pytest.mark.usefixtures("present")
def test_an_error_without_words(device, monkeypatch):
    def fails(*arguments):
        raise NotImplementedError

    monkeypatch.setattr(kernels, "compile_for", fails)
    assert "NotImplementedError: no reason given" in cuda_available.why_no_cuda()
