"""Map to sequence: the columns of a feature map become the frames of a sequence, from left to right.

    y[t, n, c] = x[n, c, 0, t]          x: [N, C, 1, W]   y: [W, N, C]

Nothing is copied: y is a view of x. When the channels of x lie last in memory, so do those of y, which is
what the matrix products after it want.

Source: Shi, Bai and Yao, 2015 (arXiv 1507.05717), section 2.1.
"""

from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable


def map_to_sequence_forward(x: Shaped[Tensor, "*N C 1 W"]) -> Shaped[Tensor, "W *N C"]:
    """y[t, n, c] = x[n, c, 0, t], as a view; with or without n."""
    return x.squeeze(-2).movedim(-1, 0)


def map_to_sequence_backward(dy: Shaped[Tensor, "W *N C"]) -> Shaped[Tensor, "*N C 1 W"]:
    """Gradient of :func:`map_to_sequence_forward`.

    Each value has moved to one place, so its gradient moves back: dx[n, c, 0, t] = dy[t, n, c].
    """
    return dy.movedim(0, -1).unsqueeze(-2)


class _MapToSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return map_to_sequence_forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return map_to_sequence_backward(dy)


class MapToSequence(nn.Module):
    """Turn a feature map of height 1 into a sequence, one frame per column.

        y[t, n, c] = x[n, c, 0, t]

    Shapes: input [N, C, 1, W], output [W, N, C], frames first; without a batch [C, 1, W] and [W, C]. The
    output is a view of the input: change it in place only after a ``clone()``.

    Raises:
        ValueError: the height is not 1; the input has neither 3 nor 4 dimensions.

    Source: Shi, Bai and Yao, 2015, section 2.1.

    >>> MapToSequence()(torch.zeros(8, 512, 1, 24)).shape
    torch.Size([24, 8, 512])
    """

    def forward(self, input: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*sequence"]:
        if input.dim() not in (3, 4):
            raise ValueError(
                f"MapToSequence expects [N, C, 1, W] or, without a batch, [C, 1, W]; got {list(input.shape)}"
            )
        if input.shape[-2] != 1:
            raise ValueError(
                f"MapToSequence needs a feature map of height 1, got height {input.shape[-2]}, {list(input.shape)}: "
                "scale the images to the height that the feature stack reduces to 1 "
                "(minicrnn.shapes computes the height after each layer), or pool the rest away"
            )
        return _MapToSequence.apply(input)
