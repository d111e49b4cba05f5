"""Sizes for both axes: one integer or two, of any kind."""

import numpy as np
import pytest
import torch

from minicrnn.layers.sizes import pair, size_pair


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, (3, 3)),
        ((1, 2), (1, 2)),
        ([1, 2], (1, 2)),
        ((3,), (3, 3)),
        (torch.Size([4, 5]), (4, 5)),
        ("same", ("same",) * 2),
    ],
)
def test_pairs(value, expected):
    assert pair(value) == expected


def test_integers_of_numpy_become_pythons():
    height, width = size_pair("stride", (np.int64(2), np.uint8(3)), at_least=1)
    assert (height, width) == (2, 3)
    assert {type(height), type(width)} == {int}


@pytest.mark.parametrize("value", [0, (1, 0), (1, 2, 3), (), 1.5, (1, 1.5), "same", None])
def test_what_is_not_a_size_is_named(value):
    with pytest.raises(ValueError, match=r"stride must be one integer or two .*, at least 1, got "):
        size_pair("stride", value, at_least=1)
