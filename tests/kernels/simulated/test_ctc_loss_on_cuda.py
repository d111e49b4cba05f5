"""The public CTC loss on stand-ins for CUDA tensors: arguments, kernels, autograd, against the vectorised level."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minicrnn.backend import use_backend
from minicrnn.ctc import CTCLoss, ctc_loss, ctc_loss_from_logits, cuda, cuda_targets, posteriors
from minicrnn.ctc.cuda_device import raise_pending_errors
from minicrnn.ctc.levels import Level, Options, level_for
from tests.ctc.fake_gpu import Resident, on_host, resident
from tests.ctc.problems import Problem, gradient, normal, problems
from tests.ctc.test_cuda import NAMES, hold
from tests.kernels.simulator import simulated

CUDA = Level(cuda_targets.prepare_cuda, cuda.ctc_cuda_forward, cuda.ctc_cuda_backward, cuda.label_occupancy)
few = settings(max_examples=settings.default.max_examples // 3)  # a kernel takes its time in the simulator
CLOSE = {"atol": 2e-5, "rtol": 2e-6}  # of losses up to some hundreds in float32


@pytest.fixture(autouse=True)
def level(monkeypatch):
    """Stand-ins go the way of CUDA tensors; the simulator runs what they launch."""

    def of(scores: Tensor) -> Level:
        return CUDA if isinstance(scores, Resident) else level_for(scores)

    for name in ("minicrnn.ctc.loss", "minicrnn.ctc.posteriors"):
        monkeypatch.setattr(sys.modules[name], "level_for", of)
    with simulated(), use_backend("torch"):
        yield


def on_cuda(problem: Problem, held=NAMES):
    return hold(problem.arguments[:3], held)


@settings(max_examples=settings.default.max_examples // 3)
@given(
    problems(min_T=1, min_N=1),
    st.sampled_from(["none", "mean", "sum"]),
    st.booleans(),
    st.booleans(),
    st.sets(st.sampled_from(NAMES)),
)
def test_equals_vectorised_wherever_the_arguments_are(problem, reduction, zero_infinity, from_logits, held):
    function = ctc_loss_from_logits if from_logits else ctc_loss
    x = (problem.logits if from_logits else problem.log_probs).float()
    options = {"blank": problem.blank, "reduction": reduction, "zero_infinity": zero_infinity}
    expected, dexpected = gradient(function, x.double(), *problem.arguments[:3], **options)
    upstream = resident(normal(*expected.shape, dtype=torch.float32))
    loss, dx = gradient(function, resident(x), *on_cuda(problem, held), upstream=upstream, **options)
    torch.testing.assert_close(on_host(loss), expected.float(), **CLOSE)
    torch.testing.assert_close(on_host(dx), dexpected.float(), atol=1e-4, rtol=0, equal_nan=True)
    without_gradient = function(resident(x), *on_cuda(problem, held), **options)
    torch.testing.assert_close(on_host(without_gradient), on_host(loss), atol=0, rtol=0)


@few
@given(problems(min_T=1, min_N=1, feasible=True), st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_types_are_computed_in_float32(problem, dtype):
    x = problem.logits.to(dtype)
    arguments = (*on_cuda(problem), problem.blank)
    upstream = resident(normal(len(problem.texts), dtype=torch.float32))
    loss, dx = gradient(ctc_loss_from_logits, resident(x), *arguments, upstream=upstream, reduction="none")
    wide, dwide = gradient(ctc_loss_from_logits, resident(x.float()), *arguments, upstream=upstream, reduction="none")
    assert (loss.dtype, dx.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(on_host(loss), on_host(wide), atol=0, rtol=0)
    torch.testing.assert_close(on_host(dx), on_host(dwide).to(dtype), atol=0, rtol=0)


@few
@given(problems(min_T=1, min_N=1, feasible=True))
def test_posteriors(problem):
    x = problem.log_probs.float()
    arguments = (*on_cuda(problem), problem.blank)
    by_class, by_label = cuda_posteriors(x, arguments, False), cuda_posteriors(x, arguments, True)
    expected = posteriors(x.double(), *problem.arguments)
    torch.testing.assert_close(by_class, expected.float(), atol=1e-4, rtol=0)
    for n, text in enumerate(problem.texts):
        for k in set(text):
            columns = [j for j, label in enumerate(text) if label == k]
            summed = by_label[:, n, columns].sum(1)
            torch.testing.assert_close(summed, by_class[:, n, k], atol=1e-6, rtol=0)
        assert not by_label[:, n, len(text) :].any()


def cuda_posteriors(x, arguments, per_label):
    """Without the look at whether every target fits, for which the host may wait; the stand-ins would not let it."""
    scores, targets = CUDA.prepare(resident(x), *arguments)
    losses, saved = CUDA.forward(scores, targets, Options(from_logits=False), need_gradient=True)
    if per_label:
        return on_host(CUDA.label_occupancy(saved))
    return on_host(CUDA.backward(-torch.ones_like(losses), saved))


class TestAutograd:
    arguments = (torch.tensor([[1, 2], [1, 0]]), torch.tensor([5, 4]), torch.tensor([2, 1]))

    def losses(self):
        self.x = resident(normal(5, 2, 3, dtype=torch.float32)).requires_grad_()
        return ctc_loss_from_logits(self.x, *hold(self.arguments, NAMES), reduction="none")

    def gradient(self, losses, upstream):
        return on_host(torch.autograd.grad(losses, self.x, upstream, retain_graph=True)[0])

    def test_backward_twice_with_the_same_bits(self):
        losses, upstream = self.losses(), resident(normal(2, dtype=torch.float32))
        first = self.gradient(losses, upstream).clone()
        self.gradient(losses, upstream).zero_()
        assert torch.equal(self.gradient(losses, upstream), first)

    def test_expanded_and_strided_upstream(self):
        losses = self.losses()
        expected = self.gradient(losses, resident(torch.full((2,), 0.7)))
        for upstream in (torch.tensor(0.7).expand(2), torch.full((2, 3), 0.7)[:, 1]):
            assert torch.equal(self.gradient(losses, resident(upstream)), expected)

    def test_inputs_are_not_written_to(self):
        losses = self.losses()
        losses.sum().backward()
        assert torch.equal(on_host(self.x.detach()), normal(5, 2, 3, dtype=torch.float32))

    @pytest.mark.parametrize("layout", ["classes first", "strided", "expanded", "frames last"])
    def test_any_layout(self, layout):
        x = normal(5, 2, 3, dtype=torch.float32)
        views = {
            "classes first": x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
            "strided": torch.stack((x, x), 3)[..., 0],
            "expanded": x[:, :1].expand(5, 2, 3),
            "frames last": x.transpose(0, 1).contiguous().transpose(0, 1),
        }
        view = views[layout]
        arguments = (*hold(self.arguments, NAMES), 0)
        upstream = resident(normal(2, dtype=torch.float32))
        results = [
            gradient(ctc_loss_from_logits, scores, *arguments, upstream=upstream, reduction="none")
            for scores in (resident(view), resident(view.contiguous()))
        ]
        for ours, expected in zip(*results, strict=True):
            assert torch.equal(on_host(ours), on_host(expected))


@pytest.mark.parametrize("sizes", [(0, 2, 3, 0), (0, 2, 3, 2), (4, 2, 3, 0), (4, 2, 1, 0), (4, 0, 3, 0), (0, 0, 1, 0)])
def test_nothing_of_something(sizes):
    T, N, K, L = sizes
    x = normal(T, N, K, dtype=torch.float32).log_softmax(2)
    targets = torch.ones(N, L, dtype=torch.int64)
    for form in (targets, targets.flatten()):
        for held in (NAMES, ()):
            arguments = hold((form, torch.full((N,), T), torch.full((N,), L)), held)
            upstream = resident(torch.ones(N))
            loss, dx = gradient(ctc_loss, resident(x), *arguments, upstream=upstream, reduction="none")
            on_cpu = (form, [T] * N, [L] * N)
            expected, dexpected = gradient(ctc_loss, x, *on_cpu, upstream=torch.ones(N), reduction="none")
            torch.testing.assert_close(on_host(loss), expected, **CLOSE)
            torch.testing.assert_close(on_host(dx), dexpected, atol=1e-5, rtol=0, equal_nan=True)
    raise_pending_errors()


def test_one_sample_needs_no_batch_dimension():
    x = resident(normal(5, 3, dtype=torch.float32)).requires_grad_()
    loss = CTCLoss(reduction="none", from_logits=True)(x, resident(torch.tensor([1, 2])), 5, resident(torch.tensor(2)))
    assert loss.shape == ()
    assert torch.autograd.grad(loss, x, resident(torch.tensor(1.0)))[0].shape == (5, 3)
