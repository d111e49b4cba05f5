"""The host side of the CUDA CTC loss, without a GPU: what it checks, what it leaves to the kernels, and when it tells.

The kernels themselves are in ``tests/kernels``.
"""

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.ctc import cuda_device
from minicrnn.ctc.cuda_device import raise_pending_errors
from minicrnn.ctc.cuda_targets import prepare_cuda
from minicrnn.ctc.targets import prepare
from tests.ctc.fake_gpu import FakeArrival, FakeGpu, on_host, resident
from tests.ctc.problems import problems

NAMES = ("targets", "input_lengths", "target_lengths")
CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeGpu()
    monkeypatch.setattr(cuda_device, "gpu", fake)
    monkeypatch.setattr(cuda_device, "_pending", {})
    return fake


def hold(arguments, held):
    """The arguments of a CTC loss with those in ``held`` on the device."""
    return [
        resident(torch.as_tensor(value)) if name in held else value
        for name, value in zip(NAMES, arguments, strict=True)
    ]


class TestPrepare:
    """Against the prepare of the vectorised level, which may look at everything."""

    @given(problems(dtype=torch.float32), st.sets(st.sampled_from(NAMES)))
    def test_equals_prepare_wherever_the_arguments_are(self, problem, held):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda_device, "gpu", FakeGpu())
            arguments = hold(problem.arguments[:3], held)
            scores, ours = prepare_cuda(problem.logits, *arguments, problem.blank)
        _, theirs = prepare(problem.logits, *problem.arguments)
        assert scores is problem.logits
        T, N, _ = scores.shape
        for n, text in enumerate(problem.texts):
            length = int(on_host(ours.target_lengths)[n])
            assert length == len(text) if "target_lengths" not in held else length == min(len(text), T + 1)
            assert on_host(ours.labels)[n, :length].tolist() == text[:length]
        assert torch.equal(on_host(ours.input_lengths), theirs.input_lengths)
        assert ours.blank == theirs.blank
        assert ours.labels.shape[0] == N
        for tensor in ours[:3]:
            assert tensor.dtype == torch.int64
            assert tensor.is_contiguous()

    def test_what_is_on_the_host_goes_up_in_one_copy(self, gpu):
        scores, lists = torch.zeros(5, 2, 4), ([[1, 2], [3, 0]], [5, 4], [2, 1])
        for held, uploads in ((set(), 1), ({"targets"}, 1), ({"input_lengths"}, 1), (set(NAMES), 0)):
            gpu.uploads = 0
            prepare_cuda(scores, *hold((torch.tensor(lists[0]), *lists[1:]), held), 0)
            assert gpu.uploads == uploads

    @pytest.mark.parametrize("form", ["padded", "concatenated"])
    def test_a_target_on_the_device_is_as_wide_as_can_fit(self, gpu, form):
        labels = torch.arange(1, 41).reshape(2, 20)
        targets = resident(labels if form == "padded" else labels.flatten())
        _, prepared = prepare_cuda(torch.zeros(5, 2, 50), targets, [5, 5], resident(torch.tensor([20, 20])), 0)
        assert on_host(prepared.labels).tolist() == labels[:, :6].tolist()
        assert on_host(prepared.target_lengths).tolist() == [6, 6]  # of at most 5 frames

    @pytest.mark.parametrize(
        ("lengths", "expected"),
        [
            ([2, 3, 1], [2, 3, 1]),
            ([2, 3, 0], [2, 3, -1]),  # one label is left over
            ([2, 3, 2], [2, 3, -1]),
            ([2, 9, 1], [2, -1, -1]),
            ([-7, 5, 1], [-7, 5, 1]),
            ([2, 1 << 62, 1 << 62], [2, -1, -1]),
        ],
    )
    def test_concatenated_lengths_that_do_not_add_up_are_left_for_the_kernels_to_name(self, gpu, lengths, expected):
        targets = resident(torch.tensor([1, 2, 3, 4, 5, 6]))
        _, prepared = prepare_cuda(torch.zeros(9, 3, 7), targets, [9] * 3, resident(torch.tensor(lengths)), 0)
        assert on_host(prepared.target_lengths).tolist() == expected

    def test_wrong_lengths_and_labels_on_the_device_are_handed_on(self, gpu):
        arguments = hold((torch.tensor([[1, 99], [-4, 0]]), torch.tensor([9, -1]), torch.tensor([3, -2])), NAMES)
        _, prepared = prepare_cuda(torch.zeros(5, 2, 4), *arguments, 0)
        assert [on_host(tensor).tolist() for tensor in prepared[:3]] == [[[1, 99], [-4, 0]], [9, -1], [3, -2]]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([[1], [4]], [5, 5], [1, 1]), r"sample 1: label 4 at position 0 is out of range"),
            (([[1], [0]], [5, 5], [1, 1]), r"sample 1: label 0 at position 0 is the blank"),
            (([[1], [2]], [5, 6], [1, 1]), r"sample 1: input_lengths is 6, it must be in \[0, 5\]"),
            (([[1], [2]], [5, 5], [1, 2]), r"sample 1: target_lengths is 2, it must be in \[0, 1\]"),
            (([1, 2], [5, 5], [1, 0]), r"targets hold 2 labels, target_lengths ask for 1"),
            (([[1]], [5, 5], [1, 1]), r"targets hold 1 rows for a batch of 2"),
            (([[1], [2]], [5], [1, 1]), r"input_lengths holds 1 lengths for a batch of 2"),
        ],
    )
    def test_what_is_on_the_host_is_checked_at_once(self, gpu, arguments, message):
        """With prepare's own words; also when another argument is on the device."""
        targets, frames, lengths = arguments
        given = torch.tensor(targets), frames, lengths
        for held in ((), ("input_lengths",), ("targets",)):
            hidden = {"input_lengths": "input_lengths is", "targets": "label"}
            if held and (hidden[held[0]] in message or "holds 1" in message):
                continue
            with pytest.raises(ValueError, match=message):
                prepare_cuda(torch.zeros(5, 2, 4), *hold(given, held), 0)

    def test_shapes_and_types_of_what_is_on_the_device_are_checked_at_once(self, gpu):
        scores, good = torch.zeros(5, 2, 4), (torch.tensor([[1], [2]]), torch.tensor([5, 5]), torch.tensor([1, 1]))
        for i, name in enumerate(NAMES):
            arguments = hold(good, NAMES)
            arguments[i] = resident(good[i].float())
            with pytest.raises(TypeError, match=f"{name} must be integers, not torch.float32"):
                prepare_cuda(scores, *arguments, 0)
        for i, name in enumerate(NAMES[1:], 1):
            arguments = hold(good, NAMES)
            arguments[i] = resident(torch.tensor([1, 1, 1]))
            with pytest.raises(ValueError, match=f"{name} holds 3 lengths for a batch of 2"):
                prepare_cuda(scores, *arguments, 0)
        with pytest.raises(ValueError, match="targets hold 1 rows for a batch of 2"):
            prepare_cuda(scores, *hold((good[0][:1], *good[1:]), NAMES), 0)
        with pytest.raises(ValueError, match="blank 4 is not one of the 4 classes"):
            prepare_cuda(scores, *hold(good, NAMES), 4)

    def test_a_graph_takes_device_tensors_only(self, gpu):
        gpu.graph = True
        given = torch.tensor([[1], [2]]), torch.tensor([5, 5]), torch.tensor([1, 1])
        prepare_cuda(torch.zeros(5, 2, 4), *hold(given, NAMES), 0)
        with pytest.raises(RuntimeError, match="input_lengths, target_lengths must be CUDA tensors while a CUDA graph"):
            prepare_cuda(torch.zeros(5, 2, 4), *hold(given, {"targets"}), 0)


class TestNewsFromTheDevice:
    """Errors that the kernels find are raised by a later call, which does not wait for them."""

    fine, bad = torch.tensor([[0, 0], [0, 0]]), torch.tensor([[0, 0], [3, 7]])

    @staticmethod
    def explain(what, where):
        return f"fault {what} at {where}"

    def watch(self, status):
        cuda_device.watch(resident(status.int()), self.explain)

    def test_raised_by_the_first_call_that_finds_it_there(self, gpu):
        gpu.busy = True
        self.watch(self.fine)
        self.watch(self.bad)
        cuda_device.raise_arrived(CPU)
        gpu.busy = False
        with pytest.raises(ValueError, match=r"sample 1: fault 3 at 7 \(in an earlier CTC loss on cpu\)"):
            cuda_device.raise_arrived(CPU)
        cuda_device.raise_arrived(CPU)  # once

    def test_raised_on_request(self, gpu):
        for device in (None, "cpu", CPU):
            gpu.busy = True
            self.watch(self.bad)
            with pytest.raises(ValueError, match="sample 1"):
                raise_pending_errors(device)
            raise_pending_errors(device)

    def test_two_bad_calls_make_two_errors(self, gpu):
        self.watch(self.bad)
        self.watch(self.fine)
        self.watch(self.bad.flip(0))
        for n in (1, 0):
            with pytest.raises(ValueError, match=f"sample {n}"):
                raise_pending_errors()
        raise_pending_errors()

    def test_what_was_fine_is_forgotten(self, gpu):
        for _ in range(3):
            self.watch(self.fine)
        assert len(cuda_device._pending[CPU]) == 3
        cuda_device.raise_arrived(CPU)
        assert not cuda_device._pending[CPU]

    def test_one_stream_does_not_hold_up_the_news_of_another(self, gpu):
        self.watch(self.fine)
        cuda_device._pending[CPU][0].status.gpu = FakeGpu()
        cuda_device._pending[CPU][0].status.gpu.busy = True
        self.watch(self.bad)
        with pytest.raises(ValueError, match="sample 1"):
            cuda_device.raise_arrived(CPU)
        assert len(cuda_device._pending[CPU]) == 1

    def test_devices_are_kept_apart(self, gpu):
        self.watch(self.bad)
        cuda_device.raise_arrived(torch.device("cuda", 0))
        raise_pending_errors(0)
        with pytest.raises(ValueError, match="sample 1"):
            raise_pending_errors("cpu")

    def test_nothing_is_asked_or_sent_while_a_graph_is_captured(self, gpu):
        self.watch(self.bad)
        gpu.graph = True
        cuda_device.raise_arrived(CPU)
        self.watch(self.bad)
        gpu.graph = False
        assert len(cuda_device._pending[CPU]) == 1

    def test_from_four_threads_no_news_is_lost(self, gpu, monkeypatch):
        errors = []

        def arrived(self):
            time.sleep(1e-4)  # here another thread goes on
            return True

        monkeypatch.setattr(FakeArrival, "arrived", arrived)

        def call():
            for _ in range(50):
                try:
                    self.watch(self.bad)
                    cuda_device.raise_arrived(CPU)
                except ValueError as error:
                    errors.append(error)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while True:
            try:
                raise_pending_errors()
                break
            except ValueError as error:
                errors.append(error)
        assert len(errors) == 200
