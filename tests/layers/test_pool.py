"""MaxPool2d and AvgPool2d: the layers, at each level that they have, against the naive ones and torch.nn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minicrnn import layers, use_backend
from minicrnn.checks import check_gradients, compare_with
from minicrnn.layers import max_pool, max_pool_kernels
from minicrnn.layers import pool_windows as windows_module
from minicrnn.layers.avg_pool import avg_pool2d_backward, avg_pool2d_forward
from minicrnn.layers.max_pool import flat_indices
from minicrnn.layers.pool_windows import pool_windows
from minicrnn.naive import pool as naive
from tests.layers.pools import images, pools
from tests.strategies import dtypes, seeds

NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=["torch", "numba"], autouse=True)
def level(request):
    """Each test runs at both levels; what a level does not take says so with ``use_backend("auto")``."""
    with use_backend(request.param):
        yield


# Small integers make ties common; with NaN and infinities they show who wins.
AWKWARD = ([-1.0, 0.0, 1.0], [0.0, 1.0, NAN], [-INF, -INF, -INF, 0.0], [-INF, 0.0, INF, NAN])


@pytest.mark.parametrize("functions", [max_pool, max_pool_kernels])
@given(st.data(), pools(), st.integers(0, 2), st.integers(1, 3), st.sampled_from([None, *AWKWARD]))
def test_max_equals_naive(functions, data, pool, N, C, values):
    options, size = pool
    x = data.draw(images(N, C, *size, values=values))
    windows = pool_windows(x, **options)
    y, saved = functions.max_pool2d_forward(x, windows)
    expected, argmax = naive.max_pool2d_forward(x.numpy(), *map(options.get, ORDER), options["ceil_mode"])
    np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(flat_indices(saved).numpy(), argmax)
    np.testing.assert_array_equal(functions.max_pool2d_values(x, windows).numpy(), expected)

    dy = data.draw(images(*y.shape))
    dx = functions.max_pool2d_backward(dy, saved)
    np.testing.assert_allclose(dx.numpy(), naive.max_pool2d_backward(dy.numpy(), argmax, size), atol=1e-12)


ORDER = ("kernel_size", "stride", "padding", "dilation")


@given(st.data(), pools(), st.integers(0, 3), st.sampled_from([None, *AWKWARD]), dtypes, st.booleans())
def test_max_equals_torch(data, pool, N, values, dtype, return_indices):
    options, size = pool
    batch = () if N == 3 else (N,)
    x = data.draw(images(*batch, 2, *size, values=values, dtype=dtype))
    ours = layers.MaxPool2d(**options, return_indices=return_indices)
    theirs = nn.MaxPool2d(**options, return_indices=return_indices)
    # Values and indices are copies, equal exactly; a gradient sums at most 9 upstream values of order 1, in
    # an order that differs from torch's: 1e-5 is a hundred roundings of float32.
    compare_with(ours, theirs, [x], atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0.0)
    expected = theirs(x)
    for a, b in zip(*((t if return_indices else (t,)) for t in (ours(x), expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("window", "winner"),
    [
        ([1, 3, 3, 2], 1),
        ([0, 0, 0, 0], 0),
        ([1, NAN, 2, 3], 1),
        ([NAN, 2, NAN, 3], 2),
        ([NAN, NAN, NAN, NAN], 3),
        ([INF, NAN, INF, 0], 1),
        ([NAN, INF, INF, 0], 0),
        ([-INF, -INF, -INF, -INF], 0),
        ([-INF, NAN, -INF, -INF], 1),
        ([0, INF, 2, INF], 1),
        ([-0.0, 0.0, 0, 0], 0),
    ],
)
def test_ties_and_nan_are_decided_as_torch_does(window, winner, layout):
    x = torch.tensor(window, dtype=torch.float32).view(1, 1, 2, 2).repeat(1, 2, 1, 1)
    x = x.contiguous(memory_format=layout).requires_grad_()
    for pool in (layers.MaxPool2d(2, return_indices=True), nn.MaxPool2d(2, return_indices=True)):
        y, indices = pool(x)
        assert indices.tolist() == [[[[winner]], [[winner]]]]
        assert torch.equal(y.flatten().isnan(), x.detach()[0, :, winner // 2, winner % 2].isnan())
        (dx,) = torch.autograd.grad(y, x, torch.tensor([2.0, 5.0]).view(1, 2, 1, 1))
        assert dx[0, 0].flatten().tolist() == [2.0 if k == winner else 0.0 for k in range(4)]


def test_padding_is_never_chosen():
    x = torch.full((1, 1, 2, 3), -INF)
    y, indices = layers.MaxPool2d(2, 1, 1, return_indices=True)(x)
    expected, expected_indices = nn.MaxPool2d(2, 1, 1, return_indices=True)(x)
    assert torch.equal(y, expected)
    assert torch.equal(indices, expected_indices)
    assert indices[0, 0].tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5]]


def test_infinite_upstream_gradient_reaches_the_winner_alone():
    x = torch.tensor([[[1.0, 2.0], [4.0, 3.0]]], requires_grad=True)
    for stride in (1, 2):
        y = layers.MaxPool2d(2, stride)(x)
        for value in (INF, NAN):
            (dx,) = torch.autograd.grad(y, x, torch.full_like(y, value), retain_graph=True)
            torch.testing.assert_close(dx, torch.tensor([[[0, 0], [value, 0]]]), equal_nan=True)


@given(st.data(), pools(dilated=False), st.booleans(), st.sampled_from([None, None, -2, 1, 5]))
def test_mean_equals_naive(data, pool, count_include_pad, divisor):
    options, size = pool
    x = data.draw(images(2, 2, *size))
    y, saved = avg_pool2d_forward(x, pool_windows(x, **options), count_include_pad, divisor)
    kernel, stride, padding = (options[name] for name in ORDER[:3])
    expected, m = naive.avg_pool2d_forward(
        x.numpy(), kernel, stride, padding, options["ceil_mode"], count_include_pad, divisor
    )
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    dy = data.draw(images(*y.shape))
    expected = naive.avg_pool2d_backward(dy.numpy(), m, size, kernel, stride, padding)
    np.testing.assert_allclose(avg_pool2d_backward(dy, saved).numpy(), expected, atol=1e-12)


@given(st.data(), pools(dilated=False), st.integers(0, 3), st.booleans(), st.sampled_from([None, None, -2, 5]), dtypes)
def test_mean_equals_torch(data, pool, N, count_include_pad, divisor, dtype):
    options, size = pool
    del options["dilation"]
    options.update(count_include_pad=count_include_pad, divisor_override=divisor)
    batch = () if N == 3 else (N,)
    x = data.draw(images(*batch, 2, *size, dtype=dtype))
    # A sum of at most 9 values of order 1, in another order than torch's: a hundred roundings of float32.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    compare_with(layers.AvgPool2d(**options), nn.AvgPool2d(**options), [x], atol=tolerance, rtol=0.0)


@given(st.data(), pools(), st.booleans())
def test_gradients(data, pool, mean):
    options, size = pool
    C, (H, W) = 2, size
    # Distinct values, far apart beside the step of the differences: the maximum is differentiable there.
    x = torch.randperm(C * H * W, generator=torch.Generator().manual_seed(data.draw(seeds))).double()
    if mean:
        del options["dilation"]
        H, W = (max(n, k) for n, k in zip((H, W), options["kernel_size"], strict=True))
        x = torch.randn(C * H * W, dtype=torch.float64)
    layer = layers.AvgPool2d(**options) if mean else layers.MaxPool2d(**options)
    check_gradients(layer, [x.view(1, C, H, W)])


@pytest.mark.parametrize("pool", [layers.MaxPool2d(2), layers.MaxPool2d(3, 1), layers.AvgPool2d(2)])
def test_backward_works_twice_and_with_any_upstream_layout(pool):
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    y = pool(x)
    expanded = torch.randn(3, 1, 1, dtype=torch.float64).expand_as(y)
    transposed = torch.randn(*y.shape[::-1], dtype=torch.float64).permute(3, 2, 1, 0)
    for dy in (expanded, transposed):
        first, second, dense = (
            torch.autograd.grad(y, x, upstream, retain_graph=True)[0] for upstream in (dy, dy, dy.contiguous())
        )
        assert torch.equal(first, second)
        assert torch.equal(first, dense)


@given(st.integers(1, 3), st.integers(2, 3), st.sampled_from(["contiguous", "channels_last", "sliced"]))
def test_memory_format_is_that_of_torch(N, C, layout):
    x = torch.randn(N, C + 2, 4, 6)
    if layout != "contiguous":
        x = x.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        x = x[:, :C]  # as a branch of a channels-last network would be
    x.requires_grad_()
    for ours, theirs in (
        (layers.MaxPool2d(2), nn.MaxPool2d(2)),
        (layers.MaxPool2d((4, 6)), nn.MaxPool2d((4, 6))),
        (layers.MaxPool2d(3, 1, 1), nn.MaxPool2d(3, 1, 1)),
        (layers.AvgPool2d(2), nn.AvgPool2d(2)),
    ):
        y, expected = ours(x), theirs(x)
        assert y.stride() == expected.stride()
        assert ours(x.detach()).stride() == expected.stride()
        (dx,) = torch.autograd.grad(y.square().sum(), x)
        assert dx.stride() == torch.autograd.grad(expected.square().sum(), x)[0].stride()


def test_blocks_of_samples_cover_the_batch(monkeypatch):
    x = torch.randn(5, 2, 4, 6, dtype=torch.float64)
    for values in (1, 24, 30, 10_000):  # one sample has 12 outputs
        monkeypatch.setattr(windows_module, "CACHED_VALUES", values)
        compare_with(layers.MaxPool2d(2), nn.MaxPool2d(2), [x])
        compare_with(layers.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1), [x])


def test_kernel_with_more_places_than_a_byte_counts():
    x = torch.randn(1, 2, 17, 33, dtype=torch.float64)
    for kernel in ((8, 16), (8, 17), (16, 20)):
        for dtype in (torch.float64, torch.float32):
            ours, theirs = (module(kernel, (1, 20), return_indices=True) for module in (layers.MaxPool2d, nn.MaxPool2d))
            # A pixel can win in all 10 rows of windows; see the other tolerances.
            compare_with(ours, theirs, [x.to(dtype)], atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@use_backend("auto")
def test_half_precision(dtype):
    x = torch.randn(2, 3, 6, 7).to(dtype)
    for stride in (1, 3):
        # Gradients of overlapping windows are summed in float32 here, torch may round each sum to half.
        loose = {"atol": 0.05, "rtol": 0.02} if stride == 1 else {"atol": 0.0, "rtol": 0.0}
        compare_with(layers.MaxPool2d(3, stride, 1), nn.MaxPool2d(3, stride, 1), [x], **loose)
    ones = torch.ones(1, 1, 64, 64, dtype=dtype)  # their sum, 4096, is out of reach by ones in either type
    assert layers.AvgPool2d(64)(ones).item() == 1
    y = layers.AvgPool2d(3, 1)(x)
    assert y.dtype == dtype
    exact = nn.AvgPool2d(3, 1)(x.double())
    # One rounding of the result: half a unit in the last place, relative.
    torch.testing.assert_close(y.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_autocast_leaves_pools_in_the_type_of_their_input():
    with torch.autocast("cpu", torch.bfloat16), use_backend("auto"):
        for pool in (layers.MaxPool2d(2), layers.AvgPool2d(2)):
            assert pool(torch.randn(1, 2, 4, 4)).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "at least 1"),
        ({"kernel_size": 2, "stride": 0}, "at least 1"),
        ({"kernel_size": 2, "stride": -1}, "at least 1"),
        ({"kernel_size": 2, "padding": -1}, "padding"),
        ({"kernel_size": 2, "padding": 2}, "half"),
        ({"kernel_size": (3, 2), "padding": (1, 2)}, "half"),
        ({"kernel_size": 9}, "smaller kernel"),
        ({"kernel_size": (1, 6)}, "smaller kernel"),
        ({"kernel_size": (2, 2, 2)}, "one integer or two"),
        ({"kernel_size": 2, "stride": (2, 2, 2)}, "one integer or two"),
    ],
)
def test_bad_sizes_are_refused_as_torch_refuses_them(options, message):
    x = torch.randn(2, 3, 4, 5)
    for ours, theirs in ((layers.MaxPool2d, nn.MaxPool2d), (layers.AvgPool2d, nn.AvgPool2d)):
        with pytest.raises(RuntimeError):
            theirs(**options)(x)
        with pytest.raises(RuntimeError, match=message):
            ours(**options)(x)


@pytest.mark.parametrize("shape", [(2, 0, 4, 5), (0, 4, 5), (2, 3, 0, 5), (3, 4, 0), (1, 2, 3, 4, 5)])
def test_empty_images_are_refused_as_torch_refuses_them(shape):
    for module in (layers.MaxPool2d(1), layers.AvgPool2d(1), nn.MaxPool2d(1), nn.AvgPool2d(1)):
        with pytest.raises(RuntimeError):
            module(torch.zeros(shape))


def test_other_errors():
    with pytest.raises(RuntimeError, match="at least 1"):
        layers.MaxPool2d(2, dilation=0)(torch.zeros(1, 4, 4))
    # Rows −1 and 2 of two rows: torch answers −inf and an index outside the image.
    with pytest.raises(RuntimeError, match="dilation 3 makes a window skip the image of size 2"):
        layers.MaxPool2d((2, 1), 1, (1, 0), (3, 1))(torch.zeros(1, 2, 4))
    with pytest.raises(RuntimeError, match="must not be 0"):
        layers.AvgPool2d(2, divisor_override=0)(torch.zeros(1, 4, 4))
    with pytest.raises(NotImplementedError, match=r"torch\.int32"):
        pool_windows(torch.zeros(1, 4, 4, dtype=torch.int32), 2, None, 0, 1, False)


@pytest.mark.parametrize("arguments", [(2,), ((2, 1), (2, 1)), ((2, 2), (2, 1), (0, 1))])
def test_description_attributes_and_state_are_those_of_torch(arguments):
    for ours, theirs in (
        (layers.MaxPool2d(*arguments), nn.MaxPool2d(*arguments)),
        (layers.AvgPool2d(*arguments), nn.AvgPool2d(*arguments)),
    ):
        assert repr(ours) == repr(theirs)
        public = {name: value for name, value in vars(theirs).items() if not name.startswith("_")}
        assert {name: value for name, value in vars(ours).items() if not name.startswith("_")} == public
        assert ours.state_dict() == theirs.state_dict() == {}
