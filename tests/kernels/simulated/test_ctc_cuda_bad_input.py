"""Bad input that only the kernels can see: nothing is read out of bounds, the sample is NaN, a later call says why."""

import math

import pytest
import torch

from minicrnn.ctc.cuda import ctc_cuda_backward, ctc_cuda_forward
from minicrnn.ctc.cuda_device import raise_pending_errors
from minicrnn.ctc.cuda_targets import prepare_cuda
from minicrnn.ctc.levels import Options
from tests.ctc.fake_gpu import on_host, resident
from tests.ctc.problems import normal
from tests.kernels.simulator import simulated

T, N, K = 5, 3, 4
GOOD = {
    "scores": normal(T, N, K, dtype=torch.float32),
    "targets": torch.tensor([[1, 2], [3, 3], [2, 0]]),
    "input_lengths": torch.tensor([5, 4, 5]),
    "target_lengths": torch.tensor([2, 2, 1]),
}


def run(arguments, from_logits=True):
    """Losses and gradient, as NumPy arrays."""
    arguments = {name: resident(tensor) for name, tensor in arguments.items()}
    scores, targets = prepare_cuda(*arguments.values(), blank=0)
    with simulated():
        losses, saved = ctc_cuda_forward(scores, targets, Options(from_logits), need_gradient=True)
        dscores = ctc_cuda_backward(resident(torch.ones(N)), saved)
    return on_host(losses), on_host(dscores)


def spoiled(name, place, value):
    arguments = {key: tensor.clone() for key, tensor in GOOD.items()}
    arguments[name][place] = value
    return arguments


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("targets", (1, 1), 4, "label at position 1 is out of range or the blank"),
        ("targets", (1, 0), -1, "label at position 0 is out of range or the blank"),
        ("targets", (1, 0), 1 << 40, "label at position 0 is out of range or the blank"),
        ("targets", (1, 0), 0, "label at position 0 is out of range or the blank"),
        ("input_lengths", 1, 6, "input_length is out of range"),
        ("input_lengths", 1, -1, "input_length is out of range"),
        ("target_lengths", 1, 3, "target_length is out of range"),
        ("target_lengths", 1, -(1 << 40), "target_length is out of range"),
        ("scores", (3, 1, 2), math.nan, r"scores of frame 3 hold NaN or \+inf"),
        ("scores", (0, 1, 1), math.inf, r"scores of frame 0 hold NaN or \+inf"),
        ("scores", (2, 1), -math.inf, "scores of frame 2 hold −inf in every class"),
    ],
)
def test_a_bad_sample_is_nan_and_named_later_and_the_others_are_untouched(gpu, name, place, value, message):
    expected, dexpected = run(GOOD)
    raise_pending_errors()
    gpu.busy = True  # backward does not know yet
    losses, dscores = run(spoiled(name, place, value))
    assert losses[1].isnan()
    frames = {"input_lengths": max(min(value, T), 0)}.get(name, 4)
    assert dscores[:frames, 1].isnan().all()
    assert not dscores[frames:, 1].any()
    for n in (0, 2):
        assert losses[n] == expected[n]
        assert torch.equal(dscores[:, n], dexpected[:, n])
    with pytest.raises(ValueError, match=f"sample 1: .*{message}.* \\(in an earlier CTC loss"):
        raise_pending_errors()
    raise_pending_errors()


def test_the_backward_pass_raises_what_its_forward_pass_found():
    with pytest.raises(ValueError, match=r"sample 1: .*label at position 1"):
        run(spoiled("targets", (1, 1), 99))


def test_the_lowest_bad_sample_is_named(gpu):
    gpu.busy = True
    arguments = spoiled("targets", (2, 0), 99)
    arguments["scores"][0, 1] = math.nan
    run(arguments)
    with pytest.raises(ValueError, match=r"sample 1: .*frame 0"):
        raise_pending_errors()


def test_what_does_not_count_may_be_anything():
    expected, dexpected = run(GOOD)
    arguments = spoiled("targets", (2, 1), -99)
    arguments["scores"][4, 1] = torch.tensor([math.nan, math.inf, -math.inf, 0])
    losses, dscores = run(arguments)
    assert torch.equal(losses, expected)
    assert torch.equal(dscores, dexpected)
    raise_pending_errors()


def test_a_frame_of_minus_infinity_is_impossible_but_legal_as_log_probabilities():
    losses, dscores = run(spoiled("scores", (2, 1), -math.inf), from_logits=False)
    raise_pending_errors()
    assert losses[1] == math.inf
    assert dscores[:4, 1].isnan().all()
    assert losses[[0, 2]].isfinite().all()


@pytest.mark.parametrize(("lengths", "sample"), [([2, 2, 2], 2), ([2, 2, 0], 2), ([2, 9, 1], 1), ([2, -1, 1], 1)])
def test_concatenated_targets_that_are_not_as_many_as_the_lengths_say(gpu, lengths, sample):
    gpu.busy = True
    targets = torch.tensor([1, 2, 3, 3, 2])
    run(GOOD | {"targets": targets, "target_lengths": torch.tensor(lengths)})
    with pytest.raises(ValueError, match=f"sample {sample}: .*target_length is out of range"):
        raise_pending_errors()


def test_a_target_longer_than_the_frames_is_impossible_but_legal():
    arguments = GOOD | {"targets": torch.ones(N, 20, dtype=torch.int64), "target_lengths": torch.tensor([20, 7, 1])}
    losses, _ = run(arguments)
    raise_pending_errors()
    assert (losses == math.inf).tolist() == [True, True, False]


def test_the_next_call_raises_what_an_earlier_one_found(gpu):
    gpu.busy = True
    run(spoiled("targets", (1, 1), 99))
    gpu.busy = False
    scores, targets = prepare_cuda(*(resident(tensor) for tensor in GOOD.values()), blank=0)
    with simulated(), pytest.raises(ValueError, match=r"sample 1: .*label at position 1"):
        ctc_cuda_forward(scores, targets, Options(True), need_gradient=False)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("labels", (1, 0), K),
        ("labels", (1, 1), -1),
        ("labels", (1, 1), 1 << 40),
        ("target_lengths", 1, 3),
        ("target_lengths", 1, -1),
        ("input_lengths", 1, 99),
        ("input_lengths", 1, -99),
        ("links", (1, 0), 3),
        ("links", (1, 0), 1 << 30),
        ("links", (1, 1), 1),  # to itself
        ("links", (1, 1), -(1 << 31)),
    ],
)
def test_what_changes_before_the_backward_pass_leads_nowhere_out_of_bounds(name, place, value):
    """The sample's own gradient means nothing then; the others' are as they were."""
    _, expected = run(GOOD)
    scores, targets = prepare_cuda(*(resident(tensor) for tensor in GOOD.values()), blank=0)
    with simulated():
        _, saved = ctc_cuda_forward(scores, targets, Options(True), need_gradient=True)
        changed = on_host(getattr(saved, name)).clone()
        changed[place] = value
        dscores = ctc_cuda_backward(resident(torch.ones(N)), saved._replace(**{name: resident(changed)}))
    assert torch.equal(on_host(dscores)[:, [0, 2]], expected[:, [0, 2]])
