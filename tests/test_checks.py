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


def test_a_nan_is_worst_of_all():
    with pytest.raises(AssertionError, match=r"input 0 at \[2\]"):
        check_gradients(lambda x: torch.where(x > 1, x.neg().sqrt(), x), [X])


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


def test_other_dtypes_and_shapes_are_differences():
    with pytest.raises(AssertionError, match="output 0"):
        compare_with(lambda x: x, lambda x: x.float(), [X])
    with pytest.raises(AssertionError, match="output 0"):
        compare_with(lambda x: x, lambda x: x[:2], [X])
    with pytest.raises(AssertionError, match="2 outputs, not 1"):
        compare_with(lambda x: (x, x), lambda x: x, [X])
