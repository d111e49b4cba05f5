"""Windows read from modules: ours and torch's alike, checked against what torch computes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn.layers.geometry import kind_of, walk, window_of, windows_of
from minicrnn.shapes import Window, frames_for_width
from tests.strategies import feature_stacks


@given(feature_stacks(2), st.integers(12, 30), st.integers(12, 30))
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_windows_give_the_sizes_torch_computes(stack, height, width):
    try:
        expected = stack.eval()(torch.zeros(1, 2, height, width)).shape[2:]
    except RuntimeError:
        return  # too small for the drawn stack
    assert frames_for_width(windows_of(stack, 0), height) == expected[0]
    assert frames_for_width(windows_of(stack, 1), width) == expected[1]


def test_every_option_is_read_along_its_own_axis():
    conv = nn.Conv2d(1, 1, (2, 3), stride=(4, 5), padding=(6, 7), dilation=(8, 9))
    assert window_of(conv, 0) == Window(2, 4, 6, 8)
    assert window_of(conv, 1) == Window(3, 5, 7, 9)
    pool = nn.MaxPool2d((4, 6), stride=(1, 3), padding=(2, 1), dilation=(5, 7), ceil_mode=True)
    assert window_of(pool, 0) == Window(4, 1, 2, 5, ceil_mode=True)
    assert window_of(pool, 1) == Window(6, 3, 1, 7, ceil_mode=True)
    assert window_of(nn.AvgPool2d(3), 1) == Window(3, 3)
    assert window_of(nn.Conv2d(1, 1, 4, padding="same"), 1).pads == (1, 2)
    assert window_of(nn.Conv2d(1, 1, 4, padding="valid"), 1).pads == (0, 0)
    assert window_of(nn.BatchNorm2d(3), 1) is None


def test_walk_follows_nested_containers_and_repeats_a_shared_layer():
    pool = nn.MaxPool2d(2)
    stack = nn.Sequential(pool, nn.ModuleList([nn.ReLU(), nn.Sequential(pool)]))
    assert [path for path, _ in walk(stack, "features")] == ["features.0", "features.1.0", "features.1.1.0"]
    assert frames_for_width(windows_of(stack, 1), 100) == 25


def test_a_derived_class_is_known_by_its_base():
    class MyConv(nn.Conv2d):
        pass

    assert kind_of(MyConv(1, 1, 1)) == "Conv2d"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: windows_of(nn.Sequential(nn.Upsample(2)), 0), TypeError, "0: Upsample is not a layer"),
        (lambda: windows_of(nn.Sequential(nn.Linear(1, 1)), 0), TypeError, "0: Linear reads a sequence"),
        (lambda: windows_of(nn.Sequential(nn.ReLU()), -1), ValueError, "axis is 0 .* got -1"),
        (lambda: windows_of(nn.MaxPool2d(2), 2), ValueError, "axis is 0 .* got 2"),
        (lambda: windows_of(nn.MaxPool2d(2, padding=2), 0), ValueError, "half its kernel"),
        (lambda: kind_of(nn.Conv1d(1, 1, 1)), TypeError, "^Conv1d is not a layer known here"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
