"""What CTC losses are known to get wrong, a test for each, at each level.

Elsewhere: bad input in ``test_bad_input.py``; ∞ and NaN, empty sizes, retained graphs, and
upstream gradients of any strides in ``test_loss_edges.py``; concatenated targets and lengths of every type are drawn in
``problems.py``.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from minicrnn.ctc import CTCLoss, ctc_loss, ctc_loss_from_logits, posteriors
from tests.ctc.problems import INTEGERS, gradient, normal, same_bits
from tests.ctc.trap_inputs import FRAMES, LAYOUTS, LENGTHS, TARGETS, K, N, T, dtypes, functions, same, scores

# As torch's own forward mode does.
imports_torch_jit = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


@functions
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_in_any_memory_layout(function, layout, threads, level):
    """The kernels give the same bits; torch's sums have another order where strides differ, 1e-6 apart in float32."""
    x = scores()
    for arguments in ((TARGETS, FRAMES, LENGTHS), (TARGETS[:1], FRAMES[:1], LENGTHS[:1])):
        mine = x[:, : len(arguments[1])].contiguous()
        expected = gradient(function, mine, *arguments, reduction="none")
        laid_out = LAYOUTS[layout](mine).requires_grad_()
        assert torch.equal(laid_out, mine)
        losses = function(laid_out, *arguments, reduction="none")
        (dx,) = torch.autograd.grad(losses, laid_out, normal(*losses.shape, dtype=losses.dtype))
        same((losses.detach(), dx), expected, level)


@functions
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expanded_scores(function, axis):
    """Frames, samples or classes that share memory; their gradients add up."""
    shape = [T, N, K]
    shape[axis] = 1
    x = scores(*shape, dtype=torch.float64).requires_grad_()
    losses = function(x.expand(T, N, K), TARGETS, FRAMES, LENGTHS, reduction="none")
    (dx,) = torch.autograd.grad(losses, x, normal(N))
    expected, dwhole = gradient(function, x.expand(T, N, K).clone(), TARGETS, FRAMES, LENGTHS, reduction="none")
    assert torch.equal(losses.detach(), expected)
    torch.testing.assert_close(dx, dwhole.sum(axis, keepdim=True), atol=1e-12, rtol=0)


@given(st.lists(st.sampled_from([*INTEGERS, "list", "tuple"]), min_size=3, max_size=3), st.booleans())
def test_every_integer_type_on_every_side(types, flat):
    targets = torch.cat([TARGETS[n, :length] for n, length in enumerate(LENGTHS)]) if flat else TARGETS
    forms = [torch.tensor(FRAMES), torch.tensor(LENGTHS)]
    lengths = [
        form.to(kind) if isinstance(kind, torch.dtype) else (list if kind == "list" else tuple)(form.tolist())
        for form, kind in zip(forms, types, strict=False)
    ]
    targets = targets.to(types[2]) if isinstance(types[2], torch.dtype) else targets
    expected = gradient(ctc_loss_from_logits, scores(), TARGETS, FRAMES, LENGTHS, reduction="none")
    same_bits(gradient(ctc_loss_from_logits, scores(), targets, *lengths, reduction="none"), expected)


class TestMemory:
    """Who may write where."""

    def gradient_is_refused_or(self, expected, losses, x):
        try:
            (dx,) = torch.autograd.grad(losses, x, normal(N, dtype=losses.dtype))
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
        else:
            torch.testing.assert_close(dx, expected, atol=1e-6, rtol=0)  # torch's sums differ by layout, in float32

    @functions
    @dtypes
    def test_nothing_is_written_into_inputs_or_saved_tensors(self, function, dtype):
        x = scores(dtype=dtype).requires_grad_()
        inputs = [x, TARGETS.clone(), torch.tensor(FRAMES), torch.tensor(LENGTHS)]
        losses = function(*inputs, reduction="none")
        upstream = normal(N, dtype=losses.dtype)
        held = [*inputs, *losses.grad_fn.saved_tensors, upstream]
        before = [tensor.detach().clone() for tensor in held]
        versions = [tensor._version for tensor in held]
        for _ in range(2):
            torch.autograd.grad(losses, x, upstream, retain_graph=True)
        for tensor, old in zip(held, before, strict=True):
            torch.testing.assert_close(tensor.detach(), old, atol=0, rtol=0, equal_nan=True)
        assert [tensor._version for tensor in held] == versions

    @functions
    def test_scores_changed_before_the_backward_pass_are_an_error(self, function):
        x = scores().requires_grad_()
        losses = function(x, TARGETS, FRAMES, LENGTHS, reduction="none")
        with torch.no_grad():
            x.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            losses.sum().backward()

    @functions
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_scores_in_another_layout_changed_before_the_backward_pass(self, function, layout):
        """Where the loss works on a copy, the gradient is that of the copy; it is never a mixture."""
        expected = gradient(function, scores(), TARGETS, FRAMES, LENGTHS, reduction="none")[1]
        x = LAYOUTS[layout](scores()).requires_grad_()
        losses = function(x, TARGETS, FRAMES, LENGTHS, reduction="none")
        with torch.no_grad():
            x.fill_(7)
        self.gradient_is_refused_or(expected, losses, x)

    @functions
    @pytest.mark.parametrize("which", [0, 1, 2])
    @pytest.mark.parametrize("integers", [torch.int64, torch.int32])
    def test_targets_and_lengths_changed_before_the_backward_pass(self, function, which, integers):
        """As above: an error or no effect, though they need no gradient."""
        expected = gradient(function, scores(), TARGETS, FRAMES, LENGTHS, reduction="none")[1]
        x = scores().requires_grad_()
        arguments = [TARGETS.to(integers), torch.tensor(FRAMES, dtype=integers), torch.tensor(LENGTHS, dtype=integers)]
        arguments[which] = arguments[which].clone()
        losses = function(x, *arguments, reduction="none")
        arguments[which].fill_(1)
        self.gradient_is_refused_or(expected, losses, x)

    @functions
    def test_losses_and_gradients_of_one_call_are_not_those_of_the_next(self, function):
        """Workspace that is kept from call to call must not be what is handed out."""
        first = gradient(function, scores(), TARGETS, FRAMES, LENGTHS, reduction="none")
        kept = [tensor.clone() for tensor in first]
        gradient(function, -scores(), TARGETS, FRAMES, LENGTHS, reduction="none")
        same_bits(first, kept)

    def test_two_graphs_at_once(self):
        """The backward passes run in another order than the forward passes."""
        problems = [(scores(), TARGETS, FRAMES, LENGTHS), (scores(9, 2, 5), TARGETS[:2], [9, 9], [3, 1])]
        upstream = torch.tensor(0.7)
        expected = [gradient(ctc_loss_from_logits, *problem, upstream=upstream) for problem in problems]
        leaves = [problem[0].clone().requires_grad_() for problem in problems]
        losses = [ctc_loss_from_logits(x, *problem[1:]) for x, problem in zip(leaves, problems, strict=True)]
        for i in (1, 0):
            dx = torch.autograd.grad(losses[i], leaves[i], upstream)[0]
            same_bits((losses[i].detach(), dx), expected[i])


class TestSurroundings:
    """Checkpoints, hooks on saved tensors, inference mode."""

    @functions
    @pytest.mark.parametrize("use_reentrant", [True, False])
    def test_in_a_checkpoint(self, function, use_reentrant):
        expected = gradient(function, scores(), TARGETS, FRAMES, LENGTHS, upstream=torch.tensor(1.0))
        x = scores().requires_grad_()
        loss = checkpoint(function, x, TARGETS, FRAMES, LENGTHS, use_reentrant=use_reentrant)
        loss.backward()
        same_bits((loss.detach(), x.grad), expected)

    @functions
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_with_saved_tensors_kept_elsewhere(self, function, layout, level):
        """They may come back with other strides."""
        expected = gradient(function, scores(), TARGETS, FRAMES, LENGTHS, reduction="none")
        x = LAYOUTS[layout](scores()).requires_grad_()
        with torch.autograd.graph.save_on_cpu():
            losses = function(x, TARGETS, FRAMES, LENGTHS, reduction="none")
        dx = torch.autograd.grad(losses, x, normal(N, dtype=losses.dtype))[0]
        same((losses.detach(), dx), expected, level)

    def test_in_inference_mode(self):
        expected = ctc_loss(scores(), TARGETS, FRAMES, LENGTHS)
        with torch.inference_mode():
            assert torch.equal(ctc_loss(scores(), TARGETS, FRAMES, LENGTHS), expected)

    def test_behind_a_module_that_is_trained(self):
        """A step down the gradient lowers the loss."""
        torch.manual_seed(0)
        linear, loss = torch.nn.Linear(K, K), CTCLoss(from_logits=True, zero_infinity=True)
        before = loss(linear(scores()), TARGETS, FRAMES, LENGTHS)
        before.backward()
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter -= 0.1 * parameter.grad
        assert loss(linear(scores()), TARGETS, FRAMES, LENGTHS) < before.detach()

    @functions
    def test_hooks_that_save_tensors_in_other_strides(self, function):
        x, upstream = scores().requires_grad_(), normal(N, dtype=torch.float32)
        expected = torch.autograd.grad(function(x, TARGETS, FRAMES, LENGTHS, reduction="none"), x, upstream)

        def turned(tensor):
            return tensor.transpose(0, -1).contiguous() if tensor.dim() else tensor

        with torch.autograd.graph.saved_tensors_hooks(turned, lambda t: t.transpose(0, -1) if t.dim() else t):
            losses = function(x, TARGETS, FRAMES, LENGTHS, reduction="none")
        same_bits(torch.autograd.grad(losses, x, upstream), expected)

    @functions
    def test_labels_changed_behind_autograd_do_not_crash(self, function, level):
        """The gradient is made along with the loss; a second backward pass makes it again, and looks first."""
        if level == "torch":
            pytest.skip("torch's own indexing checks")
        targets, x = TARGETS.clone(), scores().requires_grad_()
        loss = function(x, targets, torch.tensor(FRAMES), torch.tensor(LENGTHS))
        targets.numpy()[:] = 10**9
        (dx,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert torch.equal(dx, gradient(function, scores(), TARGETS, FRAMES, LENGTHS, upstream=torch.tensor(1.0))[1])
        with pytest.raises(RuntimeError, match="targets or lengths were changed"):
            loss.backward()

    @functions
    @imports_torch_jit
    def test_transforms_are_refused(self, function):
        def loss(x):
            return function(x, TARGETS[0], FRAMES[0], LENGTHS[0])

        x = scores(T, K)
        for transformed in (
            lambda: torch.func.vmap(loss)(scores(2, T, K)),
            lambda: torch.func.grad(loss)(x),
            lambda: torch.func.jvp(loss, (x,), (x,)),
        ):
            with pytest.raises(NotImplementedError, match=r"does not run inside torch.func's transforms"):
                transformed()

    @functions
    @imports_torch_jit
    def test_forward_mode_is_refused(self, function):
        with forward_ad.dual_level():
            x = forward_ad.make_dual(scores(), scores())
            with pytest.raises(NotImplementedError, match="no forward-mode derivative"):
                function(x, TARGETS, FRAMES, LENGTHS)
            assert function(scores(), TARGETS, FRAMES, LENGTHS).isfinite()


def test_the_terms_of_a_softmax_add_up_beside_a_peak(level):
    """20,000 terms of 1e-8 beside a 1: float32 adds none of them. The vectorised level adds in torch's order."""
    x = torch.full((1, 1, 20001), math.log(1e-8))
    x[0, 0, 7] = 0
    loss = ctc_loss_from_logits(x, torch.tensor([[7]]), [1], [1])
    assert loss.item() == pytest.approx(math.log1p(2e-4), abs=1e-8 if level == "numba" else 2e-6)


def test_occupancy_is_zero_beyond_the_lengths():
    """Two sizes in turn, so that fresh memory holds numbers of before."""
    for frames, lengths in (((9, 9), (3, 3)), ((9, 4), (3, 1)), ((5, 2), (1, 0))):
        x = normal(9, 2, 5).log_softmax(2)
        gamma = posteriors(x, torch.tensor([[1, 2, 3], [4, 1, 2]]), frames, lengths, per_label=True)
        for n in range(2):
            assert not gamma[frames[n] :, n].any()
            assert not gamma[:, n, lengths[n] :].any()
            assert (gamma[: frames[n], n].sum(1) <= 1 + 1e-12).all()
