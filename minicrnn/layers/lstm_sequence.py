"""An LSTM over time: one layer, in one direction or in both, over sequences of equal or of different lengths.

All frames of all sequences are the rows of one matrix, stacked frame by frame with the longest sequence
first, as in ``PackedSequence``. N sequences of T frames are the case where every frame has N rows:

    x: [M, I], M = Σ_t n_t rows    h0: [D, N, P]    c0: [D, N, H]    ->    y: [M, D·P]    h_n, c_n as h0, c0

I inputs, H hidden units, P outputs (P = H without a projection), D directions. The reverse direction is the
same recursion on mirrored sequences: each is turned around within its own length, so both directions have
the same n_t and run in the same loop, one ``bmm`` of D products a step. What does not depend on the recursion
is done for all frames at once: the products W_ih x before the loop, the weight gradients after it.

Source: the equations are in :mod:`minicrnn.layers.lstm_cell`; both directions: Graves and Schmidhuber (2005),
*Framewise Phoneme Classification with Bidirectional LSTM*.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from minicrnn.autograd import once_differentiable
from minicrnn.layers.lstm_cell import cell_backward_, cell_forward_, cell_slopes


class Rows(NamedTuple):
    """Which row belongs to which frame. States have N rows more: h0 comes first, then the M frames."""

    batch_sizes: list[int]  # [T] n_t, the number of sequences that have a frame t; it never grows
    mirror: Tensor  # [M] for each row, the row of the same sequence as far from its end as this is from 0
    previous: slice | Tensor  # [M] for each row, the state row of the frame before
    last: slice | Tensor  # [N] the state row of each sequence's last frame

    @classmethod
    def of_equal_lengths(cls, frames: int, sequences: int, device: torch.device) -> "Rows":
        """T · N rows; the rows before and the last ones are then blocks, which costs no copies."""
        count = frames * sequences
        mirror = torch.arange(count, device=device).view(frames, sequences).flip(0).view(-1)
        return cls([sequences] * frames, mirror, slice(0, count), slice(count, count + sequences))

    @classmethod
    def of_batch_sizes(cls, batch_sizes: Tensor, device: torch.device) -> "Rows":
        """The rows of a ``PackedSequence``, whose ``batch_sizes`` are always on the CPU."""
        sizes = batch_sizes.tolist()
        if sizes[0] == sizes[-1]:
            return cls.of_equal_lengths(len(sizes), sizes[0], device)
        starts = batch_sizes.cumsum(0) - batch_sizes  # [T] first row of each frame
        state_starts = torch.cat((starts.new_zeros(1), starts + sizes[0]))  # [T + 1] h0 before frame 0
        frame = torch.repeat_interleave(batch_sizes)  # [M]
        sequence = torch.arange(len(frame)) - starts[frame]  # [M]
        numbers = torch.arange(sizes[0])  # [N]
        lengths = (batch_sizes[:, None] > numbers).sum(0)  # [N]
        mirror = starts[lengths[sequence] - 1 - frame] + sequence
        previous = state_starts[frame] + sequence
        last = state_starts[lengths] + numbers
        return cls(sizes, mirror.to(device), previous.to(device), last.to(device))

    def frames(self, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
        """For each frame its rows of each tensor [D, M, ...]: T tuples of views [D, n_t, ...]."""
        return list(zip(*(x.split(self.batch_sizes, 1) for x in tensors), strict=True))

    def turn(self, x: Tensor, direction: int) -> Tensor:
        """Rows [M, ...] in the order in which this direction runs; doing it twice changes nothing."""
        return x if direction == 0 else x.index_select(0, self.mirror)

    def split(self, y: Tensor, directions: int) -> Tensor:
        """[M, D·P] -> [D, M, P], each direction in its own order, in memory of its own."""
        halves = y.unflatten(-1, (directions, -1)).unbind(1)
        return torch.stack([self.turn(half, d) for d, half in enumerate(halves)])

    def join(self, h: Tensor) -> Tensor:
        """[D, M, P] -> [M, D·P], undoing :meth:`split`."""
        return torch.cat([self.turn(h_d, d) for d, h_d in enumerate(h)], -1)


class Weights(NamedTuple):
    """The parameters of one direction; gates are stacked in the order i, f, g, o."""

    ih: Tensor  # [4H, I]
    hh: Tensor  # [4H, P]
    bias_ih: Tensor | None  # [4H]
    bias_hh: Tensor | None  # [4H]
    hr: Tensor | None  # [P, H]

    @classmethod
    def by_direction(cls, flat: Sequence[Tensor | None]) -> "list[Weights]":
        """The parameters of all directions, one after the other, as autograd wants them -> one ``Weights`` for each."""
        count = len(cls._fields)
        return [cls._make(flat[k : k + count]) for k in range(0, len(flat), count)]


class LSTMSaved(NamedTuple):
    """What the backward pass needs from the forward pass."""

    x: Tensor  # [M, I]
    h: Tensor  # [D, N + M, P] h0, then all frames
    c: Tensor  # [D, N + M, H]
    tanh_c: Tensor  # [D, M, H]
    gates: Tensor  # [D, M, 4H]
    weight_hh: Tensor  # [D, 4H, P]
    weight_hr: Tensor | None  # [D, P, H]
    weight_ih: list[Tensor]  # D of [4H, I]


def lstm_forward(
    x: Float[Tensor, "M I"],
    h0: Float[Tensor, "D N P"],
    c0: Float[Tensor, "D N H"],
    weights: list[Weights],
    rows: Rows,
) -> tuple[Float[Tensor, "M DP"], Float[Tensor, "D N P"], Float[Tensor, "D N H"], LSTMSaved]:
    """Run all directions over all frames: the outputs y, and the states after each sequence's last frame.

    The memory c adds up over frames: it is kept in float32 where the rest is half or bfloat16.
    """
    (directions, sequences, hidden), count = c0.shape, len(x)
    gates = x.new_empty(directions, count, 4 * hidden)
    for d, w in enumerate(weights):
        gates[d] = 0 if w.bias_ih is None or w.bias_hh is None else w.bias_ih + w.bias_hh
        gates[d].addmm_(rows.turn(x, d), w.ih.mT)
    weight_hh = _stack([w.hh for w in weights])
    weight_hr = None if weights[0].hr is None else _stack([w.hr for w in weights if w.hr is not None])

    h = x.new_empty(directions, sequences + count, h0.shape[2])
    c = c0.new_empty(directions, sequences + count, hidden, dtype=torch.promote_types(x.dtype, torch.float32))
    c[:, :sequences], h[:, :sequences] = c0, h0
    tanh_c = torch.empty_like(c[:, sequences:])
    m = h[:, sequences:] if weight_hr is None else x.new_empty(directions, count, hidden)

    state_sizes = [sequences, *rows.batch_sizes]
    h_frames, c_frames = h.split(state_sizes, 1), c.split(state_sizes, 1)
    frames = rows.frames(gates, *gates.chunk(4, -1), tanh_c, m)
    for t, (a_t, i, f, g, o, tanh_c_t, m_t) in enumerate(frames):
        n = rows.batch_sizes[t]
        a_t += torch.bmm(h_frames[t][:, :n], weight_hh.mT)
        cell_forward_(i, f, g, o, c_frames[t][:, :n], c_frames[t + 1], tanh_c_t, m_t)
        if weight_hr is not None:
            torch.bmm(m_t, weight_hr.mT, out=h_frames[t + 1])

    y, h_n, c_n = rows.join(h[:, sequences:]), h[:, rows.last].clone(), c[:, rows.last].to(x.dtype, copy=True)
    return y, h_n, c_n, LSTMSaved(x, h, c, tanh_c, gates, weight_hh, weight_hr, [w.ih for w in weights])


def lstm_backward(
    dy: Float[Tensor, "M DP"],
    dh_n: Float[Tensor, "D N P"],
    dc_n: Float[Tensor, "D N H"],
    saved: LSTMSaved,
    rows: Rows,
    needs_dx: bool = True,
    needs_dweights: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor, list[Weights] | None]:
    """Gradients of :func:`lstm_forward`: dx, dh0, dc0 and those of the weights, one ``Weights`` a direction.

    Backpropagation through time: frames in falling order, so that when frame t is reached, dh and dc hold
    all that later frames say about its states. A sequence whose last frame is t meets its rows of dh_n and
    dc_n there, untouched, because frames after t have fewer rows. With a the pre-activations,

        dh_t ← dh_t + dy_t        h_t is also an output
        dm_t = dh_t W_hr          (dm_t = dh_t without a projection)
        da_t, dc_{t−1}            elementwise, see ``cell_backward_``
        dh_{t−1} = da_t W_hh      since a_t = … + h_{t−1} W_hhᵀ

    What is left at the end is dh0 and dc0. A weight is used at every frame, so its gradient is a sum over
    frames, which is one product over all rows once da and dh are known:

        dW_ih = Σ_t da_tᵀ x_t     dW_hh = Σ_t da_tᵀ h_{t−1}     db_ih = db_hh = Σ_t da_t
        dW_hr = Σ_t dh_tᵀ m_t     dx_t = da_t W_ih, summed over directions
    """
    _, _, c, tanh_c, gates, weight_hh, weight_hr, weight_ih = saved
    directions, _, hidden = dc_n.shape
    da, m_by_c = cell_slopes(gates, c[:, rows.previous], tanh_c)  # the loop turns slopes into da
    dh = rows.split(dy, directions)
    dh_state, dc_state = dh_n.clone(), dc_n.to(c.dtype, copy=True)

    f = gates[..., hidden : 2 * hidden]
    da_ifg, da_o = da[..., : 3 * hidden].unflatten(-1, (3, hidden)), da[..., 3 * hidden :]
    frames = rows.frames(dh, da, da_ifg, da_o, m_by_c, f)
    for dh_t, da_t, da_ifg_t, da_o_t, m_by_c_t, f_t in reversed(frames):
        n = dh_t.shape[1]
        dh_t += dh_state[:, :n]
        dm_t = dh_t if weight_hr is None else torch.bmm(dh_t, weight_hr)
        cell_backward_(dm_t, dc_state[:, :n], f_t, da_ifg_t, da_o_t, m_by_c_t)
        torch.bmm(da_t, weight_hh, out=dh_state[:, :n])

    dx = None
    if needs_dx:
        dx = da[0] @ weight_ih[0]
        for d in range(1, directions):
            dx += rows.turn(da[d] @ weight_ih[d], d)
    dweights = _weight_gradients(dh, da, saved, rows) if needs_dweights else None
    return dx, dh_state, dc_state.to(dy.dtype), dweights


def _weight_gradients(dh: Tensor, da: Tensor, saved: LSTMSaved, rows: Rows) -> list[Weights]:
    """The sums over frames of :func:`lstm_backward`, from dh [D, M, P] and da [D, M, 4H] of all frames."""
    dweight_hh = da.mT @ saved.h[:, rows.previous]
    dbias = da.sum(1)
    dweight_hr = None
    if saved.weight_hr is not None:
        o = saved.gates.chunk(4, -1)[3]
        dweight_hr = dh.mT @ (o * saved.tanh_c).to(dh.dtype)
    return [
        Weights(
            da[d].mT @ rows.turn(saved.x, d),
            dweight_hh[d],
            dbias[d],
            dbias[d].clone(),  # two gradients, two tensors: a caller may change one of them in place
            None if dweight_hr is None else dweight_hr[d],
        )
        for d in range(len(da))
    ]


def _stack(per_direction: list[Tensor]) -> Tensor:
    """[D, ...]; a single direction is not copied."""
    return per_direction[0].unsqueeze(0) if len(per_direction) == 1 else torch.stack(per_direction)


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Rows, x: Tensor, h0: Tensor, c0: Tensor, *flat: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, h_n, c_n, saved = lstm_forward(x, h0, c0, Weights.by_direction(flat), rows)
        ctx.save_for_backward(*saved[:-1], *saved.weight_ih)  # the last field is a list of tensors
        ctx.rows = rows
        return y, h_n, c_n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Tensor | None, ...]:
        count = len(LSTMSaved._fields) - 1
        saved = LSTMSaved._make([*ctx.saved_tensors[:count], list(ctx.saved_tensors[count:])])
        _, needs_dx, _, _, *needs = ctx.needs_input_grad
        dx, dh0, dc0, dweights = lstm_backward(dy, dh_n, dc_n, saved, ctx.rows, needs_dx, any(needs))
        flat = [None] * len(needs) if dweights is None else [g for w in dweights for g in w]
        return None, dx, dh0, dc0, *(g if need else None for g, need in zip(flat, needs, strict=True))


def run_lstm_sequence(
    rows: Rows, x: Tensor, h0: Tensor, c0: Tensor, *flat: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """y, h_n and c_n of :func:`lstm_forward`, differentiable. ``flat``: see ``Weights.by_direction``."""
    return _LSTM.apply(rows, x, h0, c0, *flat)
