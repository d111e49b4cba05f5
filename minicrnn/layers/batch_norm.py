"""Batch normalisation: each channel gets mean 0 and variance 1, then a learned scale and shift.

    μ[c] = mean of x[:, c],   σ²[c] = variance of x[:, c],   ρ = 1 / √(σ² + ε)
    x̂[n, c, h, w] = (x[n, c, h, w] − μ[c]) ρ[c]
    y[n, c, h, w] = γ[c] x̂[n, c, h, w] + β[c]          x, y: [N, C, H, W]   γ, β, μ, σ²: [C]

Training takes μ and σ² from the batch (σ² divides by m = N·H·W) and keeps a running average of them (there σ²
divides by m − 1, the unbiased estimate). Evaluation takes the running averages.

Source: Ioffe and Szegedy, *Batch Normalization*, 2015 (arXiv 1502.03167), algorithms 1 and 2, section 3.1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minicrnn.autograd import once_differentiable
from minicrnn.backend import choose
from minicrnn.layers.channel_statistics import PIXELS, channel_statistics, per_channel, pieces


class BatchNormSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor
    weight: Tensor | None
    mean: Tensor
    rstd: Tensor
    from_batch: bool


def batch_norm_forward(
    x: Float[Tensor, "N C H W"],
    weight: Float[Tensor, " C"] | None,
    bias: Float[Tensor, " C"] | None,
    mean: Float[Tensor, " C"],
    var: Float[Tensor, " C"],
    eps: float,
    from_batch: bool,
) -> tuple[Float[Tensor, "N C H W"], BatchNormSaved]:
    """y = γ (x − μ) ρ + β, as one multiply-add per element: y = (γρ) x + (β − γρμ).

    ``from_batch`` says whether ``mean`` and ``var`` are those of x itself (:func:`channel_statistics`) or
    constants: the backward pass differs.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    mean, rstd = mean.to(dtype), (var.to(dtype) + eps).rsqrt()
    scale = rstd if weight is None else weight * rstd
    shift = -mean * scale if bias is None else bias - mean * scale
    y = torch.empty_like(x)
    for x_piece, y_piece in pieces(x, y):
        _multiply_add(y_piece, per_channel(shift), (x_piece, per_channel(scale)))
    return y, BatchNormSaved(x, weight, mean, rstd, from_batch)


def batch_norm_backward(
    dy: Float[Tensor, "N C H W"], saved: BatchNormSaved, need_dx: bool = True, need_sums: bool = True
) -> tuple[Float[Tensor, "N C H W"] | None, Float[Tensor, " C"] | None, Float[Tensor, " C"] | None]:
    """Gradients of :func:`batch_norm_forward` with respect to x, γ and β.

    Sums run over the m = N·H·W values of a channel. From y = γ x̂ + β:

        dβ = Σ dy,   dγ = Σ dy x̂ = ρ S   with   S = Σ dy (x − μ)

    Evaluation: μ and ρ are constants, so dx = γ ρ dy.

    Training: x also acts through μ and ρ. With dx̂ = γ dy, and because ∂μ/∂x = 1/m,
    ∂σ²/∂x = 2 (x − μ)/m and ∂ρ/∂σ² = −ρ³/2,

        dx = ρ dx̂                                the direct path
           − ρ (1/m) Σ dx̂                        through μ (σ² does not move: Σ (x − μ) = 0)
           − ρ³ (x − μ) (1/m) Σ dx̂ (x − μ)       through ρ
           = γ ρ (dy − dβ/m − (x − μ) ρ² S/m)

    Grouped by what varies within a channel, dx = a dy + b x + c with

        a = γ ρ,   b = −a ρ² S/m,   c = −a dβ/m − b μ

    so two passes over dy and x are enough: one for the sums, one for dx.
    """
    x, weight, mean, rstd, from_batch = saved
    dbias, products = torch.zeros_like(mean), torch.zeros_like(mean)
    if need_sums or from_batch:
        for dy_piece, x_piece in pieces(dy, x):
            dy_piece = dy_piece.to(mean.dtype)
            dbias += dy_piece.sum(PIXELS)
            products += (x_piece - per_channel(mean)).mul_(dy_piece).sum(PIXELS)
    dx = None
    if need_dx:
        a = rstd if weight is None else weight * rstd
        b, c = torch.zeros_like(a), torch.zeros_like(a)
        if from_batch:
            m = max(1, x.numel() // max(1, len(mean)))
            b = -a * rstd.square() * products / m
            c = -a * dbias / m - b * mean
        dx = torch.empty_like(x)
        for dy_piece, x_piece, dx_piece in pieces(dy, x, dx):
            terms = [(dy_piece, per_channel(a))]
            if from_batch:
                terms.append((x_piece, per_channel(b)))
            _multiply_add(dx_piece, per_channel(c), *terms)
    return dx, products * rstd, dbias


def _multiply_add(out: Tensor, start: Tensor, *terms: tuple[Tensor, Tensor]) -> None:
    """out = start + Σ value · factor, computed in the type of ``start`` and stored in the type of ``out``."""
    total = out if out.dtype == start.dtype else torch.empty_like(out, dtype=start.dtype)
    (value, factor), *more = terms
    torch.addcmul(start, value.to(start.dtype), factor, out=total)
    for value, factor in more:
        total.addcmul_(value.to(start.dtype), factor)
    if total is not out:
        out.copy_(total)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        eps: float,
        from_batch: bool,
    ) -> Tensor:
        y, saved = batch_norm_forward(x, weight, bias, mean, var, eps, from_batch)
        ctx.save_for_backward(*saved[:4])
        ctx.from_batch = from_batch
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        x, weight, mean, rstd = ctx.saved_tensors
        saved = BatchNormSaved(x, weight, mean, rstd, ctx.from_batch)
        dx, dweight, dbias = batch_norm_backward(dy, saved, need_x, need_weight or need_bias)
        return dx, dweight if need_weight else None, dbias if need_bias else None, None, None, None, None


class BatchNorm2d(nn.Module):
    """Batch normalisation with the signature, parameters and buffers of ``torch.nn.BatchNorm2d``.

        y = γ (x − μ) / √(σ² + ε) + β

    In training μ and σ² are the batch's, and the running averages move by ``momentum`` towards them
    (``momentum=None``: they become the mean over all batches seen). In evaluation μ and σ² are the running
    averages; without ``track_running_stats`` they are the batch's there, too.

    Shapes: input and output [N, num_features, H, W]; ``weight`` (γ), ``bias`` (β), ``running_mean`` and
    ``running_var`` [num_features]; ``num_batches_tracked`` a count. The output keeps the type and the memory
    layout of the input; half and bfloat16 are summed in float32.

    Raises:
        ValueError: the input is not 4-dimensional; batch statistics are asked of one value per channel;
            ``eps`` is negative, or 0 with batch statistics.
        RuntimeError: the input has another number of channels, or another type than the parameters (half
            and bfloat16 inputs may come with float32 parameters).

    Source: Ioffe and Szegedy, 2015 (arXiv 1502.03167).

    >>> layer = BatchNorm2d(2)
    >>> y = layer(torch.tensor([1.0, 3.0, 5.0, 7.0]).reshape(2, 2, 1, 1))
    >>> y.flatten().round(decimals=3).tolist()
    [-1.0, -1.0, 1.0, 1.0]
    >>> layer.running_mean.tolist()  # a tenth of the way to 3 and 5
    [0.30..., 0.5]
    """

    _version = 2  # of the state_dict, as torch counts: 2 has num_batches_tracked
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            values = torch.empty(num_features, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if values is None else nn.Parameter(values))
        for name in ("running_mean", "running_var"):
            tracked = torch.empty(num_features, device=device, dtype=dtype) if track_running_stats else None
            self.register_buffer(name, tracked)
        count = torch.tensor(0, dtype=torch.long, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count of batches to 0."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Forget the statistics, and set the scale to 1 and the shift to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        x = input
        if choose("batch_norm", x) == "numba":
            from minicrnn.layers.norm_relu_pool import norm_relu_pool  # imports Numba

            return norm_relu_pool(x, self, (False, (1, 1)))
        mean, var, from_batch = self.statistics(x)
        return _BatchNorm.apply(x, self.weight, self.bias, mean, var, self.eps, from_batch)

    def statistics(
        self, x: Tensor, of_channels: Callable[[Tensor], tuple[Tensor, Tensor]] = channel_statistics
    ) -> tuple[Tensor, Tensor, bool]:
        """Mean and variance to normalise x with, and whether they are those of x; running averages move if they do.

        Raises:
            ValueError, RuntimeError: as the layer.
        """
        mean, var = self.running_mean, self.running_var
        from_batch = self.training or mean is None or var is None
        self._check(x, from_batch)
        if mean is None or var is None or self.training:
            with torch.no_grad():
                mean, var = of_channels(x)
                if self.training and self.track_running_stats:
                    self._track(mean, var, x.numel() // max(1, self.num_features))
        # The backward pass needs the mean, and the running average may have moved until then.
        return mean if from_batch else mean.clone(), var, from_batch

    def _check(self, x: Tensor, from_batch: bool) -> None:
        if x.dim() != 4:
            raise ValueError(f"expected 4D input [N, C, H, W] (got {x.dim()}D input {list(x.shape)})")
        if x.shape[1] != self.num_features:
            raise RuntimeError(f"BatchNorm2d expects {self.num_features} channels, got input {list(x.shape)}")
        if from_batch and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(x.shape)}; "
                "use a larger batch, or eval()"
            )
        if self.eps < 0 or (from_batch and self.eps == 0):
            raise ValueError(f"BatchNorm2d divides by √(variance + eps): eps must be positive, but got {self.eps}")
        own = self.weight if self.weight is not None else self.running_mean
        narrow = x.dtype in (torch.float16, torch.bfloat16)
        if own is not None and own.dtype != x.dtype and not (narrow and own.dtype == torch.float32):
            raise RuntimeError(
                f"BatchNorm2d with {own.dtype} parameters got an input of mixed dtype {x.dtype}; "
                "convert one of the two with .to()"
            )

    def _track(self, mean: Tensor, var: Tensor, m: int) -> None:
        """Move the running averages, in place, towards this batch's mean and unbiased variance."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        if m == 0:
            return
        share = 1 / self.num_batches_tracked.to(mean.dtype) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, var * (m / (m - 1)))):
            running.copy_(torch.lerp(running.to(new.dtype), new, share))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        """Accept, as torch does, weights saved before ``num_batches_tracked`` existed."""
        if (local_metadata.get("version") or 1) < 2 and self.track_running_stats:
            state_dict.setdefault(prefix + "num_batches_tracked", self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
