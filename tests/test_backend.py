"""The seam between levels: what is chosen, by whom it can be pinned, and what it says when it cannot be."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from minicrnn import backend
from minicrnn.backend import choose, use_backend
from minicrnn.ctc import ctc_loss, posteriors
from minicrnn_kernels import cuda_available

X = torch.zeros(4, 2, 3)
ELSEWHERE = torch.zeros(4, 2, 3, device="meta")  # a device that no kernel was written for
ARGUMENTS = (torch.full((3, 1, 2), 0.5).log(), torch.tensor([[1]]), [3], [1])


def test_auto_chooses_the_fastest_there_is():
    assert choose("ctc_loss", X) == "numba"
    assert choose("ctc_loss", ELSEWHERE) == "torch"


def test_the_choice_returns_on_leaving_also_after_an_error():
    with use_backend("torch"):
        with pytest.raises(RuntimeError, match="inside"), use_backend("numba"):
            raise RuntimeError("inside")
        assert choose("ctc_loss", X) == "torch"
        with use_backend("auto"):
            assert choose("ctc_loss", X) == "numba"
    assert choose("ctc_loss", X) == "numba"


def test_a_missing_level_names_the_operation_and_what_there_is():
    with (
        use_backend("numba"),
        pytest.raises(NotImplementedError, match=r"ctc_loss has no numba .*float32 on meta; there is: torch"),
    ):
        choose("ctc_loss", ELSEWHERE)


def test_a_tensor_no_level_takes_is_named():
    with pytest.raises(NotImplementedError, match=r"no implementation for torch.int64 on cpu; there is: none"):
        choose("ctc_loss", X.long())


def test_the_fastest_able_level_comes_first(monkeypatch):
    table = {"ctc_loss": {"numba": lambda x: x.dtype == torch.float64, "torch": lambda x: True}}
    monkeypatch.setattr(backend, "_IMPLEMENTATIONS", table)
    assert choose("ctc_loss", X.double()) == "numba"
    assert choose("ctc_loss", X) == "torch"
    with use_backend("torch"):
        assert choose("ctc_loss", X.double()) == "torch"


def test_an_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="'cuda': choose one of auto, torch, numba"), use_backend("cuda"):
        pass


def test_an_unknown_operation_lists_the_operations():
    with pytest.raises(ValueError, match=r"'conv': choose one of .*ctc_loss"):
        choose("conv", X)


def test_a_thread_keeps_its_own_choice():
    inside, done = threading.Event(), threading.Event()

    def pin():
        with use_backend("torch"):
            inside.set()
            done.wait(5)

    with ThreadPoolExecutor(1) as pool:
        pinned = pool.submit(pin)
        assert inside.wait(5)
        assert choose("ctc_loss", X) == "numba"
        done.set()
        pinned.result()


@pytest.mark.parametrize("operation", [ctc_loss, posteriors])
def test_operations_ask(operation, monkeypatch):
    monkeypatch.setattr(backend, "_IMPLEMENTATIONS", {"ctc_loss": {"torch": lambda x: True}})
    operation(*ARGUMENTS)
    with use_backend("numba"), pytest.raises(NotImplementedError, match="ctc_loss has no numba"):
        operation(*ARGUMENTS)


class FakeCuda(torch.Tensor):
    """Looks like a CUDA tensor to those who choose."""

    device, is_cuda = torch.device("cuda"), True


def fake_cuda(dtype):
    return torch.zeros(4, 2, 3, dtype=dtype).as_subclass(FakeCuda)


@pytest.fixture
def ask_anew():
    backend._cuda_kernels_usable.cache_clear()
    yield
    backend._cuda_kernels_usable.cache_clear()


@pytest.mark.usefixtures("ask_anew")
def test_without_cuda_kernels_there_is_one_warning_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cuda_available, "why_no_cuda", lambda: "numba-cuda is not installed")
    table = backend._IMPLEMENTATIONS["ctc_loss"]
    with pytest.warns(RuntimeWarning, match=r"numba-cuda is not installed: .* pip install \"minicrnn\[cuda\]\""):
        assert not table["numba"](fake_cuda(torch.float32))
    assert not table["numba"](fake_cuda(torch.float16))  # a second warning would be an error here


@pytest.mark.usefixtures("ask_anew")
def test_cuda_kernels_take_up_to_32_bits(monkeypatch):
    monkeypatch.setattr(cuda_available, "why_no_cuda", lambda: "")
    takes = backend._IMPLEMENTATIONS["ctc_loss"]["numba"]
    assert all(takes(fake_cuda(dtype)) for dtype in (torch.float32, torch.float16, torch.bfloat16))
    assert not takes(fake_cuda(torch.float64))
