"""Products of a few rows with packed weights, against the definition; and the layers that read with them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.crnn import CRNN
from minicrnn.layers import few_rows
from minicrnn.layers.conv_block import After, conv_block
from minicrnn.layers.conv_engines import engine_for
from minicrnn.layers.lstm import LSTM
from minicrnn.layers.prepared_weights import PreparedWeights
from minicrnn.layers.window_matrix import ConvOptions

CLOSE = {"atol": 2e-4, "rtol": 1e-4}  # float32, sums of some thousand products in another order


@given(
    P=st.integers(1, 40),
    B=st.integers(1, 5),
    K=st.integers(1, 40),
    C=st.integers(1, 30),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    gap=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_definition(P, B, K, C, dtype, gap, seed):
    random = np.random.default_rng(seed)
    a = torch.from_numpy(random.standard_normal((P, B, K))).to(dtype)
    W = torch.from_numpy(random.standard_normal((B, K, C))).to(dtype)
    memory = torch.full((B, P, C + gap), 7.0, dtype=dtype)
    few_rows.products(a, few_rows.pack(W), memory[:, :, :C])
    expected = torch.stack([sum(torch.outer(a[:, b, k], W[b, k]) for k in range(K)) for b in range(B)])
    torch.testing.assert_close(memory[:, :, :C], expected)
    assert (memory[:, :, C:] == 7).all()  # what lies between rows is not touched


@pytest.mark.parametrize(
    ("a", "W", "out"),
    [
        ((3, 1, 4), (1, 4, 20), (1, 3, 2)),
        ((0, 1, 4), (1, 4, 2), (1, 0, 2)),
        ((3, 1, 0), (1, 0, 2), (1, 3, 2)),
    ],
)
def test_sizes_that_do_not_fit(a, W, out):
    with pytest.raises(ValueError, match="times weights packed as"):
        few_rows.products(torch.zeros(a), few_rows.pack(torch.zeros(W)), torch.zeros(out))


def test_other_rows_and_threads_change_nothing():
    torch.manual_seed(0)
    a, W = torch.randn(23, 2, 300), torch.randn(2, 300, 50)
    packed, usual = few_rows.pack(W), torch.get_num_threads()
    whole, first = torch.empty(2, 23, 50), torch.empty(2, 3, 50)
    try:
        few_rows.products(a, packed, whole)
        torch.set_num_threads(1)
        few_rows.products(a[:3].contiguous(), packed, first)
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(whole[:, :3], first)


@pytest.mark.parametrize(
    ("kernel", "pads", "name"), [(3, (1, 1, 1, 1), "winograd 2, few tiles"), (2, (0, 0, 0, 0), "few windows")]
)
@pytest.mark.parametrize("width", [5, 13])
def test_a_convolution_reads_as_it_trains(kernel, pads, name, width):
    torch.manual_seed(0)
    options = ConvOptions((kernel, kernel), pads=pads)
    x, weight = torch.randn(1, 128, 3, width), torch.randn(70, 128, kernel, kernel) / 34
    size = torch.Size((1, 3, width, 128))
    assert engine_for(size, weight.shape, options, kept=True).name == name
    assert engine_for(size, weight.shape, options).name != name
    expected = conv_block(x, weight, None, options, After(relu=True))
    with PreparedWeights().in_use(), torch.no_grad():
        torch.testing.assert_close(conv_block(x, weight, None, options, After(relu=True)), expected, **CLOSE)
        weight.mul_(2)  # the packed weights are made anew
        torch.testing.assert_close(conv_block(x, weight, None, options, After(relu=True)), 2 * expected, **CLOSE)


def test_an_lstm_reads_as_it_trains():
    torch.manual_seed(0)
    layer, x = LSTM(150, 20, bidirectional=True), torch.randn(9, 2, 150)
    expected = layer(x)[0].detach()
    with PreparedWeights().in_use(), torch.no_grad():
        torch.testing.assert_close(layer(x)[0], expected, **CLOSE)
        layer.weight_ih_l0_reverse.zero_()
        changed = layer(x)[0]
    torch.testing.assert_close(changed[..., :20], expected[..., :20], **CLOSE)
    assert not torch.allclose(changed[..., 20:], expected[..., 20:], **CLOSE)


def test_a_network_reads_one_image_as_it_reads_it_among_others():
    torch.manual_seed(0)
    model = CRNN.from_preset("vgg", 11, hidden_size=64).eval()
    images = torch.randn(12, 1, 32, 40)
    with PreparedWeights().in_use(), torch.no_grad():
        together = model(images)[0]
        for i in (0, 11):
            torch.testing.assert_close(model(images[i : i + 1])[0], together[:, i : i + 1], atol=2e-4, rtol=1e-3)
