"""The checks accept right gradients and reject wrong ones, by name."""

import pytest
import torch
from torch import nn

from minicrnn.checks import check_gradients, compare_with


class WrongSquare(torch.autograd.Function):
    """x², whose backward forgets the 2 at one element."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        dx = 2 * x * dy
        dx[1] /= 2
        return dx


class SumAsOne(torch.autograd.Function):
    """A softmax's derivative that an all-ones upstream gradient cannot tell from the right one: zero."""

    @staticmethod
    def forward(ctx, x):
        return x.softmax(0)

    @staticmethod
    def backward(ctx, dy):
        return torch.zeros_like(dy)


X = torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64)


def test_a_right_gradient_passes():
    report = check_gradients(lambda x, y: (x * y).sin(), [X, X.flip(0)])
    assert report.elements == 6
    assert report.max_error < 1e-8


def test_a_wrong_element_is_named():
    with pytest.raises(AssertionError, match=r"input 0 at \[1\]"):
        check_gradients(WrongSquare.apply, [X])


def test_the_upstream_gradient_is_not_all_ones():
    with pytest.raises(AssertionError, match="input 0"):
        check_gradients(SumAsOne.apply, [X])


def test_an_input_that_is_not_used_has_gradient_zero():
    assert check_gradients(lambda x, y: 2 * x, [X, X]).max_error < 1e-8


def test_numbers_and_integers_are_handled():
    count = torch.tensor(3)
    report = check_gradients(lambda x, n: (x**n, n), [torch.tensor(2.0, dtype=torch.float64), count])
    assert report.elements == 1


class NaNAt(torch.autograd.Function):
    """x, whose backward gives NaN at one element."""

    @staticmethod
    def forward(ctx, x, index):
        ctx.index = index
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        dx = dy.clone()
        dx[ctx.index] = torch.nan
        return dx, None


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_nan_is_worst_of_all_wherever_it_stands(index):
    with pytest.raises(AssertionError, match=rf"input 0 at \[{index}\].*backward says nan"):
        check_gradients(lambda x: NaNAt.apply(x, index), [X])


def test_a_nan_in_the_differences_is_no_better():
    with pytest.raises(AssertionError, match="central differences say nan"):
        check_gradients(lambda x: x + x.detach().sqrt(), [X[1:]])


def test_a_detached_output_is_named():
    with pytest.raises(AssertionError, match="output 1 carries no gradient: it was detached or made anew"):
        check_gradients(lambda x: (2 * x, x.detach()), [X])


def test_float32_is_refused():
    with pytest.raises(ValueError, match="float64"):
        check_gradients(torch.sin, [X.float()])


def test_equal_functions_compare():
    compare_with(torch.sigmoid, lambda x: 1 / (1 + (-x).exp()), [X])


def test_a_wrong_output_is_named():
    with pytest.raises(AssertionError, match="output 1"):
        compare_with(lambda x: (x, x + 1), lambda x: (x, x + 2), [X])


def test_a_wrong_gradient_of_an_input_is_named():
    with pytest.raises(AssertionError, match="gradient of input 0"):
        compare_with(WrongSquare.apply, lambda x: x * x, [X])


def test_a_wrong_gradient_of_a_parameter_is_named():
    class Detached(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T + 0.0 * self.bias + self.bias.detach()

    theirs = nn.Linear(3, 2, dtype=torch.float64)
    ours = Detached(3, 2, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    with pytest.raises(AssertionError, match="gradient of bias"):
        compare_with(ours, theirs, [X])


@pytest.mark.parametrize("theirs", [torch.sin, nn.Identity()])
def test_a_detached_output_is_a_difference(theirs):
    for pair in ((lambda x: theirs(x).detach(), theirs), (theirs, lambda x: theirs(x).detach())):
        with pytest.raises(AssertionError, match="output 0 carries a gradient in only one of the two"):
            compare_with(*pair, [X])


def test_outputs_that_need_no_gradient_compare():
    compare_with(lambda x: x.argmax(), lambda x: x.max(0).indices, [X])
    with pytest.raises(AssertionError, match="output 0"):
        compare_with(lambda x: x.argmax(), lambda x: x.argmin(), [X])


def test_a_frozen_parameter_is_a_difference():
    ours, theirs = nn.Linear(3, 2, dtype=torch.float64), nn.Linear(3, 2, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    ours.bias.requires_grad_(False)
    with pytest.raises(AssertionError, match="parameters differ"):
        compare_with(ours, theirs, [X])


def overwritten_square(x):
    y = x * x
    x.data.add_(1)
    return y


def test_an_overwritten_input_is_named_and_the_callers_is_untouched():
    x = X.clone()
    with pytest.raises(AssertionError, match="input 0 was overwritten by ours"):
        compare_with(overwritten_square, torch.square, [x])
    with pytest.raises(AssertionError, match="input 0 was overwritten by theirs"):
        compare_with(torch.square, overwritten_square, [x])
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(3, 1, dtype=torch.float64).expand(3, 4),
        torch.randn(6, dtype=torch.float64).as_strided((3, 3), (1, 1), 1),
        torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last),
        torch.randn(4, 6, dtype=torch.float64)[1:, ::2].T,
        torch.randn(0, 3, dtype=torch.float64),
        torch.tensor(2.0, dtype=torch.float64),
    ],
    ids=["expanded", "overlapping", "channels last", "strided", "empty", "number"],
)
def test_both_implementations_get_a_copy_in_the_same_layout(x):
    seen = []

    def double(t):
        seen.append((t.stride(), t.storage_offset(), t.data_ptr()))
        return 2 * t

    compare_with(double, double, [x])
    assert [s[:2] for s in seen] == [(x.stride(), x.storage_offset())] * 2
    if x.numel():
        assert len({x.data_ptr(), *(s[2] for s in seen)}) == 3


def test_other_dtypes_and_shapes_are_differences():
    with pytest.raises(AssertionError, match="output 0"):
        compare_with(lambda x: x, lambda x: x.float(), [X])
    with pytest.raises(AssertionError, match="output 0"):
        compare_with(lambda x: x, lambda x: x[:2], [X])
    with pytest.raises(AssertionError, match="2 outputs, not 1"):
        compare_with(lambda x: (x, x), lambda x: x, [X])


class WrongWeight(nn.Module):
    """A linear layer whose weight's gradient is doubled."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))

    def forward(self, x):
        w = self.weight
        return x @ (2 * w - w.detach()).T


def test_the_parameters_of_a_module_are_checked():
    assert check_gradients(nn.Linear(3, 2, dtype=torch.float64), [X]).elements == 3 + 6 + 2
    with pytest.raises(AssertionError, match="parameter weight"):
        check_gradients(WrongWeight(), [X])
    with pytest.raises(ValueError, match=r"weight is torch.float32: call \.double\(\)"):
        check_gradients(nn.Linear(3, 2), [X])
