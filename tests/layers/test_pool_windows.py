"""Which windows of a pool are apart from one another, and which cover the image."""

import torch
from hypothesis import example, given

from minicrnn.layers.pool_windows import pool_windows
from tests.layers.pools import pools


def known(k, s, p, n, ceil_mode=False):
    options = {"kernel_size": (1, k), "stride": (1, s), "padding": (0, p), "dilation": (1, 1)}
    return {**options, "ceil_mode": ceil_mode}, (1, n)


@given(pools())
@example(known(k=3, s=3, p=1, n=3))  # as many places as pixels, yet the last pixel is in no window
@example(known(k=2, s=3, p=1, n=4))
@example(known(k=2, s=3, p=0, n=4, ceil_mode=True))
def test_disjoint_and_tiling_windows(pool):
    options, size = pool
    windows = pool_windows(torch.zeros(1, 1, *size), **options)
    visits = torch.zeros(1, 1, *size)
    for _, _, pixels in windows.places():
        visits[pixels] += 1
    if windows.disjoint:
        assert visits.max() <= 1
    if windows.tiling:
        assert visits.min() == visits.max() == 1


def test_windows_of_the_crnn_tile_the_image():
    for kernel in (2, (2, 1)):
        assert pool_windows(torch.zeros(1, 4, 6), kernel, None, 0, 1, False).tiling
