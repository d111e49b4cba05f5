"""The windows of images with few channels: against the vectorised matrix of windows."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.layers.window_matrix import ConvOptions, window_matrix_forward
from minicrnn.threads import kernel_threads, run_kernel
from minicrnn_kernels import conv_few_channels
from tests.strategies import seeds

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
kernels = st.tuples(st.integers(1, 5), st.integers(1, 5))
pads = st.tuples(*[st.integers(0, 6)] * 4)  # wider than a kernel, too: windows wholly in the padding


@given(st.data(), seeds, kernels, pairs, pairs, pads, st.integers(1, 3), st.sampled_from([np.float32, np.float64]))
def test_equals_the_vectorised_matrix(data, seed, kernel, stride, dilation, pads, C_in, dtype):
    options = ConvOptions(kernel, stride, pads, dilation)
    H, W = (
        max(1, d * (k - 1) + 1 - sum(p)) + data.draw(st.integers(0, 9))
        for k, d, p in zip(kernel, dilation, (pads[:2], pads[2:]), strict=True)
    )
    x = np.random.default_rng(seed).standard_normal((2, H, W, C_in)).astype(dtype)
    Ho, Wo = options.output_size(H, W)
    expected = window_matrix_forward(torch.from_numpy(x), options)[0].mT.numpy()
    first = data.draw(st.integers(0, 2 * Ho - 1))
    count = data.draw(st.integers(1, 2 * Ho - first))
    X = np.full((expected.shape[0], count * Wo), np.nan, dtype)
    geometry = (C_in, *kernel, *stride, *dilation, pads[0], pads[2])
    run_kernel(
        conv_few_channels.windows, kernel_threads(), dtype, x.reshape(2, H, W * C_in), geometry, Ho, Wo, first, X
    )
    np.testing.assert_array_equal(X, expected[:, first * Wo : (first + count) * Wo])
