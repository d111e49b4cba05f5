"""What CTC losses are known to get wrong, a test for each, at each level.

Elsewhere: wrong arguments at every entry point in ``test_targets.py``; ∞ and NaN, empty sizes, retained graphs, and
upstream gradients of any strides in ``test_loss_edges.py``; concatenated targets and lengths of every type are drawn in
``problems.py``.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from minicrnn.ctc import CTCLoss, ctc_loss, ctc_loss_from_logits, posteriors
from tests.ctc.problems import INTEGERS, gradient, normal, same_bits

functions = pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])

# Seven samples are two groups of a kernel that takes four at once; 20 frames are more than it takes at a time.
T, N, K = 20, 7, 11
TARGETS = torch.tensor([[1, 2, 3], [4, 4, 4], [5, 0, 0], [0, 0, 0], [6, 7, 6], [8, 9, 0], [10, 10, 9]])
FRAMES = (20, 19, 17, 16, 9, 8, 5)
LENGTHS = (3, 3, 1, 0, 3, 2, 3)


def scores(*shape, dtype=torch.float32):
    return normal(*(shape or (T, N, K)), dtype=dtype)


def same(results, expected, level):
    if level == "numba":
        same_bits(results, expected)
    else:
        torch.testing.assert_close(tuple(results), tuple(expected), atol=1e-6, rtol=1e-6)


class TestBadInput:
    """Each kind in the second group, where a sample before it is good; with and without a gradient, on all paths."""

    WRONG = 5

    def call(self, function, x=None, targets=TARGETS, frames=FRAMES, lengths=LENGTHS):
        return function(scores() if x is None else x, targets, frames, lengths)

    def refused(self, function, match, error=ValueError, **changes):
        with pytest.raises(error, match=match):
            self.call(function, **changes)

    def changed(self, values, at, value):
        values = torch.as_tensor(values).clone()
        values[at] = value
        return values

    @functions
    def test_label_beyond_the_classes(self, function):
        self.refused(function, "sample 5: label 11 at position 1", targets=self.changed(TARGETS, (5, 1), 11))
        self.refused(function, "sample 5: label 2147483648", targets=self.changed(TARGETS, (5, 1), 1 << 31))

    @functions
    def test_negative_label(self, function):
        self.refused(function, "sample 5: label -1 at position 0", targets=self.changed(TARGETS, (5, 0), -1))

    @functions
    def test_label_that_is_the_blank(self, function):
        self.refused(function, "sample 5: label 0 at position 1 is the blank", targets=self.changed(TARGETS, (5, 1), 0))

    @functions
    def test_more_frames_than_there_are(self, function):
        self.refused(function, "sample 5: input_lengths is 21", frames=self.changed(FRAMES, 5, T + 1))

    @functions
    def test_negative_input_length(self, function):
        self.refused(function, "sample 5: input_lengths is -3", frames=self.changed(FRAMES, 5, -3))

    @functions
    def test_more_labels_than_there_are(self, function):
        self.refused(function, "sample 5: target_lengths is 4", lengths=self.changed(LENGTHS, 5, 4))

    @functions
    def test_negative_target_length(self, function):
        self.refused(function, "sample 5: target_lengths is -1", lengths=self.changed(LENGTHS, 5, -1))

    @functions
    @dtypes
    @pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf])
    @pytest.mark.parametrize("k", [0, 4, K - 1])
    def test_scores_without_meaning(self, function, dtype, value, k, threads):
        """In the blank, in a class of no target, in the last class; in the last frame that counts."""
        for x in (scores(dtype=dtype), scores(dtype=dtype).requires_grad_()):
            with torch.no_grad():
                x[FRAMES[5] - 1, 5, k] = value
            self.refused(function, r"sample 5: the scores of frame 7 hold NaN or \+inf", x=x)
            with torch.no_grad():
                x[FRAMES[5] - 1, 5] = 0
                x[FRAMES[5] :, 5] = value  # beyond: not read
            assert self.call(function, x=x).isfinite()

    @functions
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("length", [0, 3])
    def test_scores_without_meaning_where_no_path_fits_or_no_label_is(self, function, value, length, threads):
        """One sample, whose frames all threads share; a target that cannot fit hides nothing."""
        x = scores(40, 1, 3)
        x[33] = -1000.0
        x[34, 0, 2] = value
        for frames in (40, 35):
            with pytest.raises(ValueError, match="sample 0: the scores of frame 34"):
                function(x, torch.ones(1, 36, dtype=torch.int64), [frames], [12 * length])
        assert function(x, torch.ones(1, 36, dtype=torch.int64), [34], [length]).isfinite()

    def test_a_frame_of_logits_that_are_all_minus_infinity(self, threads):
        x = scores()
        x[6, 5] = -math.inf
        self.refused(ctc_loss_from_logits, "sample 5: the scores of frame 6 hold −inf in every class", x=x)
        losses, dx = gradient(ctc_loss, x, TARGETS, FRAMES, LENGTHS, reduction="none", zero_infinity=True)
        assert losses[5] == 0  # as a log-probability it is a probability of zero
        assert not dx[:, 5].any()

    @functions
    def test_sizes_that_do_not_match(self, function):
        self.refused(function, "input_lengths holds 6 lengths for a batch of 7", frames=FRAMES[:6])
        self.refused(function, "target_lengths holds 8 lengths for a batch of 7", lengths=(*LENGTHS, 1))
        self.refused(function, "targets hold 6 rows for a batch of 7", targets=TARGETS[:6])
        as_tensors = {"frames": torch.tensor(FRAMES), "lengths": torch.tensor(LENGTHS)}  # what a kernel reads in place
        self.refused(function, "targets hold 6 rows for a batch of 7", targets=TARGETS[:6], **as_tensors)
        self.refused(function, "sample 6: targets hold 14 labels, target_len", targets=torch.ones(14, dtype=torch.long))

    @functions
    def test_integers_that_are_none(self, function):
        self.refused(function, "targets must be integers", error=TypeError, targets=TARGETS.float())
        self.refused(function, "input_lengths must be integers", error=TypeError, frames=torch.ones(N))
        self.refused(function, "target_lengths must be integers", error=TypeError, lengths=torch.ones(N) == 1)

    def test_after_an_error_the_next_call_is_right(self):
        x = scores()
        expected = self.call(ctc_loss_from_logits)
        x[0, 0, 0] = math.nan
        for _ in range(3):
            self.refused(ctc_loss_from_logits, "sample 0", x=x)
        assert torch.equal(self.call(ctc_loss_from_logits), expected)


LAYOUTS = {
    "batch first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "classes first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "strided classes": lambda x: torch.stack((x, -x), 3)[..., 0],
    "strided frames and samples": lambda x: x.repeat_interleave(2, 0).repeat_interleave(3, 1)[::2, 1::3],
    "inside a larger tensor": lambda x: torch.nn.functional.pad(x, (3, 2, 1, 4, 2, 0), value=math.nan)[
        2:, 1 : 1 + x.shape[1], 3 : 3 + x.shape[2]
    ],
    "at the end of its storage": lambda x: torch.cat((torch.full((5,), math.nan), x.flatten()))[5:].view(x.shape),
}


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
        if level == "torch":
            pytest.skip("torch's own indexing checks")
        targets, x = TARGETS.clone(), scores().requires_grad_()
        loss = function(x, targets, torch.tensor(FRAMES), torch.tensor(LENGTHS))
        targets.numpy()[:] = 10**9
        with pytest.raises(RuntimeError, match="targets or lengths were changed"):
            loss.backward()


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
