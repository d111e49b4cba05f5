"""The CTC loss where it is easily got wrong: impossible targets, extremes, empty sizes, autograd's rules."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from minicrnn.ctc import CTCLoss, ctc_loss, ctc_loss_from_logits
from minicrnn.ctc import loss as loss_module
from minicrnn.ctc.levels import level_for
from minicrnn.naive import ctc as naive
from tests.ctc.problems import gradient, normal, padded, problems


@pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
def test_impossible_targets(function):
    """Too short by one for the repeat; the other sample is not touched; padding stays zero. As torch."""
    x = normal(4, 2, 3).log_softmax(2)
    arguments = torch.tensor([[1, 1], [1, 2]]), (2, 3), (2, 2)
    losses, dx = gradient(function, x, *arguments, reduction="none")
    assert losses[0] == torch.inf
    assert losses[1].isfinite()
    assert dx[:2, 0].isnan().all()
    assert not dx[2:, 0].any()
    assert dx[:, 1].isfinite().all()
    zeroed, dzeroed = gradient(function, x, *arguments, reduction="none", zero_infinity=True)
    assert zeroed[0] == 0
    assert zeroed[1] == losses[1]
    assert not dzeroed[:, 0].any()
    assert torch.equal(dzeroed[:, 1], dx[:, 1])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_zero_infinity_keeps_a_batch_usable(reduction):
    x = normal(2, 2, 3)
    arguments = torch.tensor([[1, 1], [1, 2]]), (2, 2), (2, 2)
    loss, dx = gradient(ctc_loss_from_logits, x, *arguments, reduction=reduction, zero_infinity=True)
    assert loss.isfinite()
    assert dx.isfinite().all()


def test_log_probs_of_minus_infinity_mean_probability_zero():
    half, quarter = math.log(0.5), math.log(0.25)
    log_probs = torch.tensor([[half, half, -math.inf], [half, quarter, quarter]], dtype=torch.float64)
    loss, dx = gradient(ctc_loss, log_probs, torch.tensor([2]), 2, 1, upstream=torch.tensor(1.0).double())
    assert loss.item() == pytest.approx(-math.log(0.125))
    assert dx.neg().tolist() == [[1, 0, 0], [0, 0, 1]]
    log_probs[1] = -torch.inf
    assert ctc_loss(log_probs, torch.tensor([2]), 2, 1) == torch.inf
    assert ctc_loss(log_probs, torch.tensor([2]), 2, 1, zero_infinity=True) == 0


def test_a_masked_logit_is_a_class_that_is_not_there():
    logits = normal(5, 1, 4)
    arguments = torch.tensor([[1, 2]]), [5], [2]
    loss, dx = gradient(ctc_loss_from_logits, logits[:, :, :3], *arguments)
    logits[:, :, 3] = -torch.inf
    masked_loss, dmasked = gradient(ctc_loss_from_logits, logits, *arguments)
    torch.testing.assert_close(masked_loss, loss)
    torch.testing.assert_close(dmasked[:, :, :3], dx)
    assert not dmasked[:, :, 3].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
def test_cold_logits(function, dtype):
    """±200 over 200 frames. The reference is naive, in float64, on the same float32 values.

    float32: log p reaches 1e4, of which 24 bits hold 1e-3; γ is float64 until it is returned, the softmax
    has 24 bits.
    """
    torch.manual_seed(0)
    logits = torch.where(torch.rand(200, 2, 5) < 0.5, -200.0, 200.0) + torch.randn(200, 2, 5)
    x = logits if function is ctc_loss_from_logits else logits.log_softmax(2)
    texts = [torch.randint(1, 5, (12,)).tolist(), [1, 1, 1, 1]]
    loss, dx = gradient(
        function,
        x.to(dtype),
        padded(texts, 0),
        (200, 180),
        (12, 4),
        reduction="none",
        upstream=torch.ones(2, dtype=dtype),
    )
    forward = naive.ctc_from_logits_forward if x is logits else naive.ctc_forward
    backward = naive.ctc_from_logits_backward if x is logits else naive.ctc_backward
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-6, "atol": 1e-6}
    for n, frames in enumerate((200, 180)):
        sample = x[:frames, n].double().numpy()
        np.testing.assert_allclose(loss[n].item(), forward(sample, texts[n]), **tolerance)
        np.testing.assert_allclose(dx[:frames, n].numpy(), backward(1.0, sample, texts[n]), **tolerance)


@given(problems(min_T=1, min_N=1, feasible=True), st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_types_are_computed_in_float32(problem, dtype):
    """The loss equals that of the same values in float32; the gradient is rounded once, to its own type."""
    for function, x in ((ctc_loss, problem.log_probs), (ctc_loss_from_logits, problem.logits)):
        narrow = x.to(dtype)
        loss, dx = gradient(function, narrow, *problem.arguments, reduction="none")
        wide_loss, wide_dx = gradient(function, narrow.float(), *problem.arguments, reduction="none")
        assert loss.dtype == torch.float32
        assert torch.equal(loss, wide_loss)
        assert dx.dtype == dtype
        assert torch.equal(dx, wide_dx.to(dtype))


@pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
@pytest.mark.parametrize("sizes", [(0, 2, 3, 0), (0, 2, 3, 2), (4, 2, 3, 0), (4, 2, 1, 0), (4, 0, 3, 0), (0, 0, 1, 0)])
def test_nothing_of_something(function, sizes):
    T, N, K, L = sizes
    x = normal(T, N, K).log_softmax(2)
    targets = torch.ones(N, L, dtype=torch.int64)
    for form in (targets, targets.flatten()):
        loss, dx = gradient(function, x, form, [T] * N, [L] * N, reduction="none")
        assert dx.shape == x.shape
        expected = -x[:, :, 0].sum(0) if L == 0 else torch.full((N,), torch.inf)
        torch.testing.assert_close(loss, expected.to(loss), atol=1e-12, rtol=0)
        total = function(x, form, [T] * N, [L] * N, reduction="sum")
        torch.testing.assert_close(total, expected.sum().to(loss), atol=1e-12, rtol=0)


def test_the_mean_of_an_empty_batch_is_nan_as_for_torchs_losses():
    empty = torch.zeros(4, 0, 3), torch.zeros(0, 0, dtype=torch.int64), [], []
    assert ctc_loss(*empty).isnan()
    assert functional.cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).isnan()


@given(problems(min_T=1, min_N=1))
def test_one_sample_needs_no_batch_dimension(problem):
    x, text, frames = (
        problem.logits[:, 0],
        torch.tensor(problem.texts[0], dtype=torch.int64),
        problem.frames[0],
    )
    losses, dx = gradient(
        ctc_loss_from_logits,
        x[:, None],
        text,
        [frames],
        [len(text)],
        problem.blank,
        upstream=torch.ones(1).double(),
        reduction="none",
    )
    for lengths in (
        (frames, len(text)),
        ((frames,), (len(text),)),
        (torch.tensor(frames), torch.tensor(len(text))),
    ):
        loss, dsample = gradient(
            ctc_loss_from_logits,
            x,
            text,
            *lengths,
            problem.blank,
            reduction="none",
            upstream=torch.tensor(1.0).double(),
        )
        assert loss.shape == ()
        assert torch.equal(loss, losses[0])
        torch.testing.assert_close(dsample, dx[:, 0], atol=0, rtol=0, equal_nan=True)


class TestAutograd:
    """What a well-behaved autograd.Function promises."""

    arguments = (torch.tensor([[1, 2], [1, 0]]), (5, 4), (2, 1))

    def losses(self, function=ctc_loss):
        self.x = normal(5, 2, 3).log_softmax(2).requires_grad_()
        return function(self.x, *self.arguments, reduction="none")

    @pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
    @pytest.mark.parametrize("upstream", [normal(2), torch.ones(2).double(), torch.tensor([1.0, 0.3]).double()])
    def test_backward_twice(self, function, upstream):
        """The kernel makes the first gradient along with the loss, for an upstream gradient of 1."""
        losses = self.losses(function)
        first = torch.autograd.grad(losses, self.x, upstream, retain_graph=True)[0].clone()
        second = torch.autograd.grad(losses, self.x, upstream, retain_graph=True)[0]
        assert torch.equal(first, second)
        of_ones = torch.autograd.grad(losses, self.x, torch.ones(2).double())[0]
        torch.testing.assert_close(first, of_ones * upstream[:, None], atol=1e-15, rtol=1e-12)

    def test_an_infinite_upstream_gradient_leaves_what_does_not_count_at_zero(self):
        """As a scaled loss has that overflows."""
        for upstream in (torch.inf, torch.nan):
            dx = torch.autograd.grad(self.losses(ctc_loss_from_logits), self.x, torch.full((2,), upstream).double())[0]
            assert not dx[:4].isfinite().any()
            assert not dx[4, 1].any()

    def test_saved_tensors_are_not_returned(self):
        """A caller that scales the gradient in place must not spoil the next backward."""
        losses = self.losses()
        first = torch.autograd.grad(losses, self.x, torch.ones(2).double(), retain_graph=True)[0]
        kept = first.clone()
        first.mul_(100)
        assert torch.equal(torch.autograd.grad(losses, self.x, torch.ones(2).double())[0], kept)

    def test_expanded_and_strided_upstream(self):
        losses = self.losses()
        expected = torch.autograd.grad(losses, self.x, torch.full((2,), 0.7).double(), retain_graph=True)[0]
        for upstream in (torch.tensor(0.7).double().expand(2), torch.full((2, 3), 0.7).double()[:, 1]):
            assert torch.equal(torch.autograd.grad(losses, self.x, upstream, retain_graph=True)[0], expected)

    @pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
    @pytest.mark.parametrize("variable", [True, False])
    def test_a_second_derivative_is_refused(self, function, variable):
        """Also where the gradient of the loss is a constant, as in a penalty on the gradient."""
        losses = self.losses(function)
        upstream = torch.ones(2, dtype=torch.float64, requires_grad=variable)
        (dx,) = torch.autograd.grad(losses, self.x, upstream, create_graph=True)
        assert dx.requires_grad
        with pytest.raises(RuntimeError, match="once differentiable"):
            (losses.sum() + dx.pow(2).sum()).backward()

    def test_inputs_are_not_written_to(self):
        x, targets = normal(5, 2, 3), self.arguments[0].clone()
        ctc_loss_from_logits(x.requires_grad_(), targets, *self.arguments[1:]).backward()
        assert torch.equal(x.detach(), normal(5, 2, 3))
        assert torch.equal(targets, self.arguments[0])

    def test_beta_is_run_only_for_a_gradient(self, monkeypatch):
        needs = []

        def watched(scores):
            level = level_for(scores)

            def forward(*args, need_gradient, **options):
                needs.append(need_gradient)
                return level.forward(*args, need_gradient=need_gradient, **options)

            return level._replace(forward=forward)

        monkeypatch.setattr(loss_module, "level_for", watched)
        with_beta = self.losses()
        with torch.no_grad():
            without = self.losses()
        detached = ctc_loss(self.x.detach(), *self.arguments, reduction="none")
        assert needs == [True, False, False]
        assert torch.equal(with_beta.detach(), without)
        assert torch.equal(without, detached)

    def test_nothing_to_differentiate(self):
        assert not ctc_loss(normal(5, 2, 3), *self.arguments).requires_grad


def test_module_hands_its_options_on():
    x = normal(2, 2, 3)
    arguments = torch.tensor([[0, 0], [0, 1]]), (2, 2), (2, 2)
    for from_logits, function in ((False, ctc_loss), (True, ctc_loss_from_logits)):
        module = CTCLoss(blank=2, reduction="none", zero_infinity=True, from_logits=from_logits)
        assert torch.equal(module(x, *arguments), function(x, *arguments, 2, "none", True))
        assert module(x, *arguments)[0] == 0
    assert repr(module) == "CTCLoss(blank=2, reduction='none', zero_infinity=True, from_logits=True)"
    assert not CTCLoss().state_dict()


def test_under_autocast():
    x = normal(5, 2, 3, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ctc_loss_from_logits(x, torch.tensor([[1], [2]]), (5, 5), (1, 1))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, ctc_loss_from_logits(x, torch.tensor([[1], [2]]), (5, 5), (1, 1)))
