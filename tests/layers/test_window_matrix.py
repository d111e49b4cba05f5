"""The matrix of windows: against its equation, entry by entry, and its backward pass as the adjoint."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.layers.padding import PADDING_MODES, pad_forward
from minicrnn.layers.window_matrix import ConvOptions, window_matrix_backward, window_matrix_forward
from tests.strategies import tensors

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
places = st.integers(0, 2)


@st.composite
def problems(draw):
    """Options and the shape [N, H, W, C] of images on which they are valid; C / groups on both sides of 4."""
    options = ConvOptions(
        kernel_size=draw(pairs),
        stride=draw(pairs),
        pads=draw(st.tuples(places, places, places, places)),
        dilation=draw(pairs),
        groups=draw(st.integers(1, 2)),
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
    )
    size = [
        draw(st.integers(max(d * (k - 1) + 1, 3), 7 + d))
        for k, d in zip(options.kernel_size, options.dilation, strict=True)
    ]
    return options, (draw(st.integers(1, 2)), *size, options.groups * draw(st.integers(1, 5)))


def by_the_equation(x, options):
    """X[g, m, k] = xp[n, s_h·h + d_h·u, s_w·w + d_w·v, g·I + i]."""
    N, H, W, C = x.shape
    (kh, kw), (s_h, s_w), (d_h, d_w), G = options.kernel_size, options.stride, options.dilation, options.groups
    H_out, W_out = options.output_size(H, W)
    xp, I = pad_forward(x, options.pads, options.padding_mode), C // G  # noqa: E741
    X = x.new_zeros(G, N * H_out * W_out, kh * kw * I)
    windows = list(itertools.product(range(N), range(H_out), range(W_out)))
    taps = list(itertools.product(range(kh), range(kw), range(I)))
    for g in range(G):
        for m, (n, h, w) in enumerate(windows):
            for k, (u, v, i) in enumerate(taps):
                X[g, m, k] = xp[n, s_h * h + d_h * u, s_w * w + d_w * v, g * I + i]
    return X


@given(st.data(), problems(), st.booleans())
def test_equals_the_equation(data, problem, in_memory):
    options, shape = problem
    x = data.draw(tensors(*shape))
    expected = by_the_equation(x, options)
    memory = x.new_full((expected.numel() + 3,), torch.nan) if in_memory else None
    assert torch.equal(window_matrix_forward(x, options, memory), expected)


@given(st.data(), problems())
def test_backward_is_the_adjoint(data, problem):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for the linear map A from images to windows."""
    options, shape = problem
    x = data.draw(tensors(*shape))
    matrix = window_matrix_forward(x, options)
    y = torch.randn(matrix.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    behind = (x * window_matrix_backward(y, shape, options)).sum()
    torch.testing.assert_close(behind, (matrix * y).sum(), atol=1e-10, rtol=1e-10)


def test_a_1x1_kernel_reads_the_image_itself():
    x = torch.randn(2, 4, 5, 6)
    assert window_matrix_forward(x, ConvOptions((1, 1))).data_ptr() == x.data_ptr()


def test_an_image_smaller_than_the_window_is_named():
    with pytest.raises(RuntimeError, match="an image of 2x5: a window of extent 3 does not fit"):
        ConvOptions((3, 3)).output_size(2, 5)
