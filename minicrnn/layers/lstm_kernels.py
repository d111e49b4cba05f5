"""One LSTM layer on CPU tensors: the host side of the kernels in ``minicrnn_kernels.lstm``.

The same functions as in :mod:`minicrnn.layers.lstm_sequence`, in the same letters, with the same rows:

    x: [M, I], M = Σ_t n_t rows    h0: [D, N, P]    c0: [D, N, H]    ->    y: [M, D·P]    h_n, c_n as h0, c0

The products that need no recursion are torch's (for few rows, with weights that are kept, those of
``minicrnn.layers.few_rows``): a = W_ih x before the kernel; dx and the weights' gradients after it,
each over all frames at once. The reverse direction reads the rows as they lie, so nothing is mirrored.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.autograd import once_differentiable
from minicrnn.layers import few_rows
from minicrnn.layers.lstm_sequence import Weights
from minicrnn.layers.prepared_weights import are_kept, prepared_weight
from minicrnn.layers.scratch import scratch
from minicrnn.threads import kernel_threads, run_kernel

_DTYPES: dict[torch.dtype, Any] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class LSTMKernelSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor  # [M, I]
    gates: Tensor  # [M, D, 4H] i, f, g, o of each row
    h_previous: Tensor  # [D, M, P] the state that each row began with
    c_previous: Tensor  # [D, M, H]
    weights: list[Weights]


def lstm_kernel_forward(
    x: Float[Tensor, "M I"],
    h0: Float[Tensor, "D N P"],
    c0: Float[Tensor, "D N H"],
    weights: list[Weights],
    batch_sizes: list[int],
    save: bool = True,
) -> tuple[Float[Tensor, "M DP"], Float[Tensor, "D N P"], Float[Tensor, "D N H"], LSTMKernelSaved]:
    """Run all directions over all frames: the outputs y, and the states after each sequence's last frame.

    Without ``save`` the gates and the states stay in memory that is used again, and the last result is of no use.
    """
    from minicrnn_kernels import lstm

    (D, N, H), M, P = c0.shape, len(x), h0.shape[2]
    dtype = _DTYPES[x.dtype]
    G = 4 * H
    gates = (_empty(x, M, D, G) if save else scratch(M * D * G, x.dtype)).view(M, D, G)
    for d, w in enumerate(weights):
        if not save and few_rows.suits(*x.shape) and are_kept(w.ih):
            packed = prepared_weight("few rows", lambda ih: few_rows.pack(ih.mT[None]), w.ih)
            few_rows.products(x.contiguous()[:, None], packed, gates[None, :, d])
        else:
            torch.mm(x, w.ih.mT, out=gates[:, d])
    biases = [bias for w in weights for bias in (w.bias_ih, w.bias_hh) if bias is not None]
    bias = prepared_weight("sums", _sums_of_pairs, *biases) if biases else x.new_zeros(D, G)
    rows = M if save else 0
    h_previous, c_previous = _empty(x, D, rows, P), _empty(x, D, rows, H)
    y, h_n, c_n = _empty(x, M, D * P), torch.empty(D, N, P, dtype=x.dtype), torch.empty(D, N, H, dtype=x.dtype)
    threads = kernel_threads()
    run_kernel(
        lstm.forward, threads, dtype,
        threads, np.array(batch_sizes, np.int64), _array(bias), *_recurrent(weights, H), _array(h0), _array(c0),
        gates.numpy(), (h_previous.numpy(), c_previous.numpy()), y.view(M, D, P).numpy(), h_n.numpy(), c_n.numpy(),
    )  # fmt: skip
    return y, h_n, c_n, LSTMKernelSaved(x, gates, h_previous, c_previous, weights)


def lstm_kernel_backward(
    dy: Float[Tensor, "M DP"],
    dh_n: Float[Tensor, "D N P"],
    dc_n: Float[Tensor, "D N H"],
    saved: LSTMKernelSaved,
    batch_sizes: list[int],
    needs_dx: bool = True,
    needs_dweights: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor, list[Weights] | None]:
    """Gradients of :func:`lstm_kernel_forward`, as of :func:`minicrnn.layers.lstm_sequence.lstm_backward`.

    The kernel goes through the frames in falling order and gives da of all rows, dh0 and dc0. What is left is

        dx_t = da_t W_ih, summed over directions
        dW_ih = Σ_t da_tᵀ x_t     dW_hh = Σ_t da_tᵀ h_{t−1}     db_ih = db_hh = Σ_t da_t     dW_hr = Σ_t dh_tᵀ m_t
    """
    from minicrnn_kernels import lstm

    x, gates, _, c_previous, weights = saved
    (M, D, G), (_, N, P), H = gates.shape, dh_n.shape, dc_n.shape[2]
    projects = weights[0].hr is not None
    da = scratch(M * D * G, x.dtype).view(M, D, G)
    dh, dc = dh_n.clone(memory_format=torch.contiguous_format), dc_n.clone(memory_format=torch.contiguous_format)
    dbias = _empty(x, lstm.tasks(D, N), G)
    dh_rows, m_rows = (_empty(x, D, M if projects else 0, width) for width in (P, H))
    threads = kernel_threads()
    run_kernel(
        lstm.backward, threads, _DTYPES[x.dtype],
        threads, np.array(batch_sizes, np.int64), *_recurrent(weights, H, backward=True, turned=N > 1), gates.numpy(),
        c_previous.numpy(), _array(dy).reshape(M, D, P), dh.numpy(), dc.numpy(), da.numpy(), dbias.numpy(),
        (dh_rows.numpy(), m_rows.numpy()),
    )  # fmt: skip
    dx = None
    if needs_dx:
        dx = _product(da[:, 0], weights[0].ih)
        for d in range(1, D):
            dx.addmm_(da[:, d], weights[d].ih)
    if not needs_dweights:
        return dx, dh, dc, None
    dweights = []
    for d in range(D):
        da_d, db = da[:, d], dbias[d::D].sum(0)
        dhr = _product(dh_rows[d].mT, m_rows[d]) if projects else None
        # The two biases have two tensors: a caller may change one of them in place.
        dweights.append(Weights(_product(da_d.mT, x), _product(da_d.mT, saved.h_previous[d]), db, db.clone(), dhr))
    return dx, dh, dc, dweights


def _recurrent(weights: list[Weights], hidden: int, backward: bool = False, turned: bool = False) -> list[Any]:
    """The arrays of W_hh and of W_hr, for the first direction and for the last; for the backward pass, turned around.

    Without a projection W_hr is of no rows. With a single direction the kernel does not read the second.
    """
    hh = [_array(w.hh.mT if turned else w.hh) for w in weights]
    hr = [w.hh.new_empty(0, hidden) if w.hr is None else w.hr for w in weights]
    hr = [_array(w.mT if backward else w) for w in hr]
    return [hh[0], hh[-1], hr[0], hr[-1]]


def _sums_of_pairs(*biases: Tensor) -> Tensor:
    """[D, 4H]: b_ih + b_hh of each direction."""
    return torch.stack([ih + hh for ih, hh in zip(biases[::2], biases[1::2], strict=True)])


def _empty(like: Tensor, *shape: int) -> Tensor:
    """Memory that NumPy asks for, in huge pages where the system has them: their first touch is cheaper."""
    return torch.from_numpy(np.empty(shape, _DTYPES[like.dtype]))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b, in the dtype of both also where autocast is on: it does not see ``out``."""
    return torch.mm(a, b, out=_empty(a, len(a), b.shape[1]))


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


class _LSTMKernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, batch_sizes: list[int], x: Tensor, h0: Tensor, c0: Tensor, *flat: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, h_n, c_n, saved = lstm_kernel_forward(x, h0, c0, Weights.by_direction(flat), batch_sizes)
        ctx.save_for_backward(*saved[:-1], *flat)  # the last field is made of the tensors in flat
        ctx.batch_sizes = batch_sizes
        return y, h_n, c_n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Tensor | None, ...]:
        count = len(LSTMKernelSaved._fields) - 1
        saved = LSTMKernelSaved._make([*ctx.saved_tensors[:count], Weights.by_direction(ctx.saved_tensors[count:])])
        _, needs_dx, _, _, *needs = ctx.needs_input_grad
        dx, dh0, dc0, dweights = lstm_kernel_backward(dy, dh_n, dc_n, saved, ctx.batch_sizes, needs_dx, any(needs))
        flat = [None] * len(needs) if dweights is None else [g for w in dweights for g in w]
        return None, dx, dh0, dc0, *(g if need else None for g, need in zip(flat, needs, strict=True))


def run_lstm_kernel(
    batch_sizes: list[int], x: Tensor, h0: Tensor, c0: Tensor, *flat: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """y, h_n and c_n of :func:`lstm_kernel_forward`, differentiable; if nobody can ask for gradients, nothing is saved.

    ``flat``: see ``Weights.by_direction``.
    """
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, h0, c0, *flat)):
        return _LSTMKernel.apply(batch_sizes, x, h0, c0, *flat)
    return lstm_kernel_forward(x, h0, c0, Weights.by_direction(flat), batch_sizes, save=False)[:3]
