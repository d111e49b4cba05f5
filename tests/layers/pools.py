"""Pools and images to try them on."""

import torch
from hypothesis import strategies as st

from tests.strategies import LAYOUTS, in_layout, seeds

# Pools of the CRNN, and one with every option at an unusual value.
KNOWN = [
    {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)},
    {"kernel_size": (2, 1), "stride": (2, 1), "padding": (0, 0), "dilation": (1, 1)},
    {"kernel_size": (2, 2), "stride": (2, 1), "padding": (0, 1), "dilation": (1, 1)},
    {"kernel_size": (3, 2), "stride": (1, 4), "padding": (1, 1), "dilation": (3, 2)},
]


@st.composite
def pools(draw, dilated=True):
    """Arguments of a pool, and the size of an image on which it is valid."""
    if draw(st.booleans()):
        options = dict(draw(st.sampled_from(KNOWN)))
    else:
        pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
        options = {"kernel_size": draw(pairs), "stride": draw(pairs), "dilation": draw(pairs)}
        options["padding"] = tuple(draw(st.integers(0, k // 2)) for k in options["kernel_size"])
    if not dilated:
        options["dilation"] = (1, 1)
    # At least one window fits, and no window steps over the image from padding to padding.
    size = tuple(
        max(d, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
        for k, p, d in zip(*(options[name] for name in ("kernel_size", "padding", "dilation")), strict=True)
    )
    return {**options, "ceil_mode": draw(st.booleans())}, size


@st.composite
def images(draw, *shape, values=None, dtype=torch.float64):
    """Normal or given values, in a drawn layout."""
    generator = torch.Generator().manual_seed(draw(seeds))
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    if values is not None:
        x = torch.tensor(values, dtype=dtype)[torch.randint(len(values), shape, generator=generator)]
    layout = draw(st.sampled_from([*LAYOUTS, "channels_last"]))
    if layout == "channels_last" and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return in_layout(x, layout)
