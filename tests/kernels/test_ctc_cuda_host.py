"""How the fast CUDA kernels are compiled and launched, and the real seam to torch.cuda, on a GPU that pretends.

What the kernels compute is tested in ``simulated/``.
"""

import pytest
import torch

pytest.importorskip("numba.cuda", reason="numba-cuda is not installed: minicrnn[cuda]")

from numba import config

from minicrnn.ctc import cuda as host
from minicrnn.ctc import cuda_device
from minicrnn.ctc.levels import Options
from minicrnn.ctc.targets import CTCTargets
from minicrnn_kernels import ctc_cuda as kernels
from tests.kernels.pretended_gpu import PretendedCuda, pretend_torch_cuda

if config.ENABLE_CUDASIM:
    pytest.skip("the simulator has no device to pretend to", allow_module_level=True)

DEVICE, STREAM = 1, 0x51
T, N, K, L = 6, 3, 5, 2


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


@pytest.fixture
def gpu(monkeypatch):
    """torch's part of it: the real ``Gpu``, on CPU tensors."""
    monkeypatch.setattr(cuda_device, "_pending", {})
    return pretend_torch_cuda(monkeypatch, DEVICE, STREAM)


def problem(samples=N, frames=T):
    labels = torch.ones(samples, L, dtype=torch.int64)
    targets = CTCTargets(labels, torch.full((samples,), frames), torch.full((samples,), L), blank=0)
    return torch.zeros(frames, samples, K), targets


def run(scores, targets, need_gradient=True):
    _, saved = host.ctc_cuda_forward(scores, targets, Options(True, "sum"), need_gradient=need_gradient)
    return saved, host.ctc_cuda_backward(torch.ones(()), saved) if need_gradient else None


class TestLaunches:
    def test_a_loss_and_its_gradient_are_three_launches(self, device, gpu):
        scores, targets = problem()
        saved, dscores = run(scores, targets)
        plan = kernels.plan(T, N, L)
        assert [(name, configuration) for name, configuration, _ in device.launches] == [
            (name, (shape.grid, shape.threads, f"stream {STREAM}", shape.shared))
            for name, shape in (("frames", plan.rows), ("recursion", plan.recursion), ("gradient", plan.rows))
        ]
        assert device.entered == [DEVICE, DEVICE]  # a forward, a backward
        assert gpu.guarded
        frames, recursion, gradient = (arguments for _, _, arguments in device.launches)
        assert frames[0] == gradient[0] == (scores.data_ptr(), N * K, K)
        assert frames[1] == recursion[0] == gradient[1]
        assert frames[1] == (
            targets.labels.data_ptr(), targets.input_lengths.data_ptr(), targets.target_lengths.data_ptr(),
            0, T, N, K, L, 1,
        )  # fmt: skip
        kept = tuple(getattr(saved, name).data_ptr() for name in kernels.Saved._fields)
        assert frames[3] == recursion[2] == gradient[3] == kept
        assert (frames[2], recursion[1], gradient[2]) == (1, 1, 0)
        assert frames[4] == recursion[4]
        assert frames[4].per_sample == plan.scratch
        assert gradient[5] == dscores.data_ptr()

    def test_no_gradient_no_links_and_no_gamma(self, device, gpu):
        saved, _ = run(*problem(), need_gradient=False)
        assert (len(saved.gamma), len(saved.links)) == (0, 0)
        assert [name for name, _, _ in device.launches] == ["frames", "recursion"]
        assert device.launches[0][2][2] == device.launches[1][2][1] == 0

    def test_without_frames_there_is_only_the_recursion_and_without_samples_nothing(self, device, gpu):
        run(*problem(frames=0))
        assert [name for name, _, _ in device.launches] == ["recursion"]
        device.launches.clear()
        run(*problem(samples=0))
        assert device.launches == []

    def test_each_kernel_is_compiled_once_for_a_device_and_configured_once_for_a_shape_and_stream(self, device, gpu):
        for _ in range(3):
            run(*problem())
        assert [name for name, _ in device.compiled] == ["frames", "recursion", "gradient"]
        assert device.configured == 3
        gpu.stream.cuda_stream = 0x99
        run(*problem())
        assert (len(device.compiled), device.configured) == (3, 6)
        assert device.launches[-1][1][2] == f"stream {0x99}"
        gpu.stream.device_index = 0
        run(*problem())
        assert (len(device.compiled), device.configured) == (6, 9)
        assert device.entered[-2:] == [0, 0]

    def test_torch_s_default_stream_is_numba_s(self, device, gpu):
        gpu.stream.cuda_stream = 0
        run(*problem())
        assert {configuration[2] for _, configuration, _ in device.launches} == {0}

    def test_what_is_compiled_is_what_the_report_of_the_ptx_looks_at(self, device, gpu):
        run(*problem())
        assert device.compiled == [
            (name, {"launch_bounds": kernels.LARGEST_BLOCK[name], "lto": False})
            for name in ("frames", "recursion", "gradient")
        ]

    @pytest.mark.parametrize("longest", [0, 8, 31, 32, 511, 512, 5000])
    def test_no_block_is_larger_than_it_was_compiled_for(self, longest):
        for frames in (1, 24, 300):
            plan = kernels.plan(frames, 1, longest)
            assert plan.recursion.threads <= kernels.LARGEST_BLOCK["recursion"]
            assert plan.recursion.shared <= kernels.SHARED_LIMIT
            assert plan.rows.threads <= kernels.LARGEST_BLOCK["frames"]
            assert (plan.where == "shared") == (plan.scratch == frames * (longest + 3))


class TestLimit:
    """Offsets within a sample have 32 bits."""

    def test_on_both_sides(self):
        T, L = 1, (2**31 - 1 - 5) // 3
        assert kernels.plan(T, 1, L).scratch == T * (3 * L + 5) <= 2**31 - 1
        with pytest.raises(ValueError, match=r"1 frames and targets of up to \d+ labels .* below 2\^31"):
            kernels.plan(T, 1, L + 1)

    def test_the_loss_refuses_before_it_allocates(self, device, gpu):
        scores, labels = torch.zeros(()).expand(60_000, 1, 5), torch.ones((), dtype=torch.int64).expand(1, 30_000)
        targets = CTCTargets(labels, torch.tensor([60_000]), torch.tensor([30_000]), blank=0)
        with pytest.raises(ValueError, match=r"60000 frames and targets of up to 30000 labels are too many"):
            host.ctc_cuda_forward(scores, targets, Options(True), need_gradient=False)
        assert device.launches == []


class TestSeam:
    """``cuda_device.Gpu`` and ``Arrival`` themselves."""

    def test_a_tensor_is_its_address_and_a_cpu_tensor_is_not_held(self):
        tensor = torch.zeros(4)[1:]
        assert cuda_device.Gpu().argument(tensor) == tensor.data_ptr()
        assert not cuda_device.Gpu().holds(tensor)

    def test_place_and_capture_are_those_of_the_current_stream(self, gpu):
        assert cuda_device.Gpu().place(torch.device("cuda", DEVICE)) == {"device": DEVICE, "stream": STREAM}
        assert not cuda_device.Gpu().capturing()
        gpu.capturing = True
        assert cuda_device.Gpu().capturing()

    def test_uploads_come_from_pinned_memory_and_wait_for_nothing(self, gpu, monkeypatch):
        copy = torch.Tensor.to

        def to(tensor, device, *, non_blocking=False):
            assert non_blocking
            return copy(tensor, device)

        monkeypatch.setattr(torch.Tensor, "to", to)
        values = torch.tensor([3, 1])
        assert torch.equal(cuda_device.Gpu().upload(values, torch.device("cpu")), values)
        assert gpu.pinned == 1

    def test_a_download_has_arrived_when_its_event_has_happened(self, gpu):
        values = torch.tensor([[1, 2]])
        arrival = cuda_device.Gpu().download(values)
        assert gpu.pinned == 1
        assert torch.equal(arrival.values, values)
        assert arrival.event.stream is gpu.stream
        assert not arrival.arrived()
        arrival.wait()
        assert arrival.arrived()

    def test_bad_input_is_told_by_a_later_call(self, device, gpu):
        status = torch.zeros(N, 2, dtype=torch.int32)
        status[2] = torch.tensor([3, 1])
        cuda_device.watch(status, lambda what, where: kernels.FAULTS[what].format(where=where))
        run(*problem(), need_gradient=False)  # the event has not happened
        for pending in cuda_device._pending[torch.device("cpu")]:
            pending.status.event.happened = True
        with pytest.raises(ValueError, match="sample 2: the label at position 1 is out of range or the blank"):
            run(*problem(), need_gradient=False)
