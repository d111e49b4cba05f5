"""Long short-term memory: layers, directions and sequences of different lengths around the recursion.

    i, f, o = σ(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)      g = tanh(the same, with its own rows)
    c_t = f ⊙ c_{t−1} + i ⊙ g                               h_t = o ⊙ tanh(c_t)

    x: [T, N, I], h0 and c0: [layers · D, N, H]   ->   y: [T, N, D·H], h_n and c_n as h0 and c0

The equations of a step are in :mod:`minicrnn.layers.lstm_cell`, the loop over frames and its backward pass in
:mod:`minicrnn.layers.lstm_sequence`. Layer l + 1 reads the outputs of layer l, both directions side by side.

Source: Hochreiter and Schmidhuber (1997), *Long Short-Term Memory*; stacked and in both directions: Graves,
Mohamed and Hinton (2013), *Speech Recognition with Deep Recurrent Neural Networks*, section 2.
"""

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from minicrnn.autograd import once_differentiable
from minicrnn.layers.autocast import autocast_is_on, match_autocast
from minicrnn.layers.dropout import Dropout
from minicrnn.layers.lstm_sequence import LSTMSaved, Rows, Weights, lstm_backward, lstm_forward

_PER_DIRECTION = len(Weights._fields)


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, rows: Rows, *flat: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        weights = [Weights._make(flat[k : k + _PER_DIRECTION]) for k in range(0, len(flat), _PER_DIRECTION)]
        y, h_n, c_n, saved = lstm_forward(x, h0, c0, weights, rows)
        ctx.save_for_backward(*saved[:-1], *saved.weight_ih)  # the last field is a list of tensors
        ctx.rows = rows
        return y, h_n, c_n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Tensor | None, ...]:
        count = len(LSTMSaved._fields) - 1
        saved = LSTMSaved._make([*ctx.saved_tensors[:count], list(ctx.saved_tensors[count:])])
        needs = ctx.needs_input_grad
        dx, dh0, dc0, dweights = lstm_backward(dy, dh_n, dc_n, saved, ctx.rows, needs[0], any(needs[4:]))
        flat = [None] * len(needs[4:]) if dweights is None else [g for w in dweights for g in w]
        return dx, dh0, dc0, None, *(g if need else None for g, need in zip(flat, needs[4:], strict=True))


class LSTM(nn.Module):
    """Long short-term memory with the signature, initialisation and parameter names of ``torch.nn.LSTM``.

        c_t = f ⊙ c_{t−1} + i ⊙ g,   h_t = o ⊙ tanh(c_t),   gates i, f, g, o from x_t and h_{t−1}

    Shapes, with D = 2 if ``bidirectional`` and else 1, P = ``proj_size`` or else ``hidden_size`` H:

    - input [T, N, I], or [N, T, I] with ``batch_first``, or [T, I] for one sequence, or a ``PackedSequence``;
      output the same with D·P features in place of I;
    - ``hx`` = (h0, c0), zeros by default, and the returned (h_n, c_n): [num_layers · D, N, P] and
      [num_layers · D, N, H], without N for one sequence. In a packed sequence, sequence n starts from
      h0[:, n] and h_n[:, n] is its state after its own last frame, also where packing sorted the sequences;
    - ``weight_ih_l0`` [4H, I], ``weight_hh_l0`` [4H, P], ``bias_ih_l0`` and ``bias_hh_l0`` [4H], with a
      projection ``weight_hr_l0`` [P, H]; the names of the reverse direction end in ``_reverse``.

    ``dropout`` acts between layers, not after the last.

    Raises:
        ValueError, TypeError: an option has an impossible value or type; the input is neither 2-D nor 3-D or
            is not of the parameters' dtype.
        RuntimeError: the features are not ``input_size``, there are no frames, or h0 or c0 do not fit.

    >>> layer = LSTM(3, 4, bidirectional=True)
    >>> y, (h_n, c_n) = layer(torch.zeros(7, 2, 3))
    >>> y.shape, h_n.shape
    (torch.Size([7, 2, 8]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_options(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        features = input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                shapes = {
                    "weight_ih": (4 * hidden_size, features),
                    "weight_hh": (4 * hidden_size, self._output_size),
                    "bias_ih": (4 * hidden_size,) if bias else None,
                    "bias_hh": (4 * hidden_size,) if bias else None,
                    "weight_hr": (proj_size, hidden_size) if proj_size else None,
                }
                for name, shape in shapes.items():
                    if shape is not None:
                        parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                        self.register_parameter(name + suffix, parameter)
            features = self._output_size * self._directions
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def _layer_weights(self, layer: int) -> list[Tensor | None]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [getattr(self, name + suffix, None) for suffix in self._suffixes(layer) for name in names]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters, one list for each layer and direction, in torch's order."""
        flat = [w for layer in range(self.num_layers) for w in self._layer_weights(layer)]
        directions = [flat[k : k + _PER_DIRECTION] for k in range(0, len(flat), _PER_DIRECTION)]
        return [[w for w in weights if w is not None] for weights in directions]

    def reset_parameters(self) -> None:
        """Draw all parameters uniformly from ±1/√hidden_size, as torch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: torch moves the parameters into one block for cuDNN here, which is not used."""

    def forward(
        self, input: Float[Tensor, "*batch I"] | PackedSequence, hx: Sequence[Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        x = input
        if hx is not None and len(hx) != 2:
            raise RuntimeError(f"LSTM expects two states, (h0, c0), got {len(hx)}")
        if isinstance(x, PackedSequence):
            self._check_input(x.data)
            rows = Rows.of_batch_sizes(x.batch_sizes, x.data.device)
            hx = self._states(x.data, hx, int(x.batch_sizes[0]))
            if x.sorted_indices is not None:
                hx = hx[0].index_select(1, x.sorted_indices), hx[1].index_select(1, x.sorted_indices)
            y, h_n, c_n = self._run_layers(x.data, *hx, rows)
            if x.unsorted_indices is not None:
                h_n, c_n = (s.index_select(1, x.unsorted_indices) for s in (h_n, c_n))
            return PackedSequence(y, x.batch_sizes, x.sorted_indices, x.unsorted_indices), (h_n, c_n)

        if x.dim() not in (2, 3):
            raise ValueError(f"LSTM expects an input of 2 or 3 dimensions, got {list(x.shape)}")
        self._check_input(x)
        one_sequence = x.dim() == 2
        if one_sequence:
            x = x.unsqueeze(1)
            hx = None if hx is None else _add_batch(hx)
        elif self.batch_first:
            x = x.transpose(0, 1)
        frames, sequences = x.shape[:2]
        if frames == 0:
            raise RuntimeError("LSTM needs at least one frame, got an input of length 0")
        rows = Rows.of_equal_lengths(frames, sequences, x.device)
        hx = self._states(x, hx, sequences)
        y, h_n, c_n = self._run_layers(x.flatten(0, 1), *hx, rows)
        y = y.unflatten(0, (frames, sequences))
        if one_sequence:
            return y.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        return y.transpose(0, 1) if self.batch_first else y, (h_n, c_n)

    def _run_layers(self, x: Tensor, h0: Tensor, c0: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """All layers over rows [M, I] -> y [M, D·P], h_n and c_n."""
        last_states = []
        states = zip(h0.split(self._directions), c0.split(self._directions), strict=True)
        for layer, (h, c) in enumerate(states):
            if layer > 0:
                x = Dropout(self.dropout).train(self.training)(x)
            weights = match_autocast(*self._layer_weights(layer))
            x, *state = _LSTM.apply(*match_autocast(x, h, c), rows, *weights)
            last_states.append(state)
        h_n, c_n = (torch.cat(s) for s in zip(*last_states, strict=True))
        return x, h_n, c_n

    def _check_input(self, x: Tensor) -> None:
        dtype = self.weight_ih_l0.dtype
        if x.dtype != dtype and not autocast_is_on(x.device):
            raise ValueError(
                f"LSTM has parameters of {dtype} and got an input of {x.dtype}: convert the input with "
                f".to({dtype}) or the layer with .to({x.dtype})"
            )
        if x.shape[-1] != self.input_size:
            raise RuntimeError(f"LSTM expects input_size={self.input_size} features, got input {list(x.shape)}")

    def _states(self, x: Tensor, hx: Sequence[Tensor] | None, sequences: int) -> tuple[Tensor, Tensor]:
        """The initial states, checked, or zeros."""
        count = self.num_layers * self._directions
        wanted = [(count, sequences, self._output_size), (count, sequences, self.hidden_size)]
        if hx is None:
            h0, c0 = (x.new_zeros(shape) for shape in wanted)
            return h0, c0
        for name, state, shape in zip(("h0", "c0"), hx, wanted, strict=True):
            if state.shape != shape:
                raise RuntimeError(
                    f"LSTM expects {name} of shape {list(shape)} (num_layers · directions, sequences, "
                    f"features), got {list(state.shape)}"
                )
            if state.dtype != x.dtype and not autocast_is_on(x.device):
                raise RuntimeError(f"LSTM got {name} of {state.dtype} beside an input of {x.dtype}")
        h0, c0 = hx
        return h0, c0

    def extra_repr(self) -> str:
        parts = [str(self.input_size), str(self.hidden_size)]
        for name, default in (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)


def _add_batch(hx: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    for name, state in zip(("h0", "c0"), hx, strict=True):
        if state.dim() != 2:
            raise RuntimeError(
                f"LSTM expects {name} of 2 dimensions beside one sequence [T, I], got {list(state.shape)}"
            )
    return hx[0].unsqueeze(1), hx[1].unsqueeze(1)


def _check_options(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    dropout: float,
    proj_size: int,
) -> None:
    if not isinstance(dropout, numbers.Real) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be a probability in [0, 1], got {dropout!r}")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout={dropout} acts between layers, and num_layers=1 has nothing between: it does nothing",
            stacklevel=3,
        )
    for name, value, kind in (
        ("bias", bias, bool),
        ("batch_first", batch_first, bool),
        ("input_size", input_size, int),
        ("hidden_size", hidden_size, int),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ValueError(f"{name} must be greater than 0, got {value}")
    if not 0 <= proj_size < hidden_size:
        raise ValueError(
            f"proj_size must be 0 (no projection) or smaller than hidden_size={hidden_size}, got {proj_size}"
        )
