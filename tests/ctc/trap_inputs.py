"""One batch for the tests of what CTC losses are known to get wrong, in every memory layout."""

import math

import pytest
import torch

from minicrnn.ctc import ctc_loss, ctc_loss_from_logits
from tests.ctc.problems import normal, same_bits

functions = pytest.mark.parametrize("function", [ctc_loss, ctc_loss_from_logits])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])

# Seven samples are two groups of a kernel that takes four at once; 20 frames are more than it takes at a time.
T, N, K = 20, 7, 11
TARGETS = torch.tensor([[1, 2, 3], [4, 4, 4], [5, 0, 0], [0, 0, 0], [6, 7, 6], [8, 9, 0], [10, 10, 9]])
FRAMES = (20, 19, 17, 16, 9, 8, 5)
LENGTHS = (3, 3, 1, 0, 3, 2, 3)

LAYOUTS = {
    "batch first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "classes first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "strided classes": lambda x: torch.stack((x, -x), 3)[..., 0],
    "strided frames and samples": lambda x: x.repeat_interleave(2, 0).repeat_interleave(3, 1)[::2, 1::3],
    "inside a larger tensor": lambda x: torch.nn.functional.pad(x, (3, 2, 1, 4, 2, 0), value=math.nan)[
        2:, 1 : 1 + x.shape[1], 3 : 3 + x.shape[2]
    ],
    "at the end of its storage": lambda x: torch.cat((torch.full((5,), math.nan), x.flatten()))[5:].view(x.shape),
}


def scores(*shape, dtype=torch.float32):
    return normal(*(shape or (T, N, K)), dtype=dtype)


def same(results, expected, level):
    if level == "numba":
        same_bits(results, expected)
    else:
        torch.testing.assert_close(tuple(results), tuple(expected), atol=1e-6, rtol=1e-6)
