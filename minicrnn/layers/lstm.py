"""Long short-term memory: layers, directions and sequences of different lengths around the recursion.

    i, f, o = σ(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)      g = tanh(the same, with its own rows)
    c_t = f ⊙ c_{t−1} + i ⊙ g                               h_t = o ⊙ tanh(c_t)

    x: [T, N, I], h0 and c0: [layers · D, N, H]   ->   y: [T, N, D·H], h_n and c_n as h0 and c0

The equations of a step are in :mod:`minicrnn.layers.lstm_cell`, the loop over frames and its backward pass in
:mod:`minicrnn.layers.lstm_sequence`; the same by compiled kernels, for the CPU, in :mod:`minicrnn.layers.lstm_kernels`.
Layer l + 1 reads the outputs of layer l, both directions side by side.

Source: Hochreiter and Schmidhuber (1997), *Long Short-Term Memory*; stacked and in both directions: Graves,
Mohamed and Hinton (2013), *Speech Recognition with Deep Recurrent Neural Networks*, section 2.
"""

import functools
import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from minicrnn.backend import choose
from minicrnn.layers.autocast import autocast_is_on, match_autocast
from minicrnn.layers.dropout import Dropout
from minicrnn.layers.lstm_kernels import run_lstm_kernel
from minicrnn.layers.lstm_sequence import Rows, Weights, run_lstm_sequence


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
        return [[w for w in weights if w is not None] for weights in Weights.by_direction(flat)]

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
            hx = self._states(x.data, hx, int(x.batch_sizes[0]))
            if x.sorted_indices is not None:
                hx = hx[0].index_select(1, x.sorted_indices), hx[1].index_select(1, x.sorted_indices)
            y, h_n, c_n = self._run_layers(x.data, *hx, x.batch_sizes.tolist())
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
        hx = self._states(x, hx, sequences)
        y, h_n, c_n = self._run_layers(x.flatten(0, 1), *hx, [sequences] * frames)
        y = y.unflatten(0, (frames, sequences))
        if one_sequence:
            return y.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        return y.transpose(0, 1) if self.batch_first else y, (h_n, c_n)

    def _run_layers(self, x: Tensor, h0: Tensor, c0: Tensor, batch_sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """All layers over rows [M, I] -> y [M, D·P], h_n and c_n."""
        run, cast, dtype = _level(x, batch_sizes)
        last_states = []
        states = zip(h0.split(self._directions), c0.split(self._directions), strict=True)
        for layer, (h, c) in enumerate(states):
            if layer > 0:
                x = Dropout(self.dropout).train(self.training)(x)
            x, *state = run(*cast(x, h, c), *cast(*self._layer_weights(layer)))
            last_states.append(state)
        h_n, c_n = last_states[0] if self.num_layers == 1 else (torch.cat(s) for s in zip(*last_states, strict=True))
        return x.to(dtype), h_n.to(dtype), c_n.to(dtype)

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


def _level(x: Tensor, batch_sizes: list[int]) -> tuple[Callable[..., Any], Callable[..., Any], torch.dtype]:
    """What runs a layer, what casts the tensors that go in, and the dtype of what the LSTM returns.

    Where autocast asks for half precision the kernels compute in float32 all the same, which is closer, and faster on
    processors without instructions for half precision; the results are rounded at the end.
    """
    wide = x.float() if autocast_is_on(x.device) and x.dtype != torch.float64 else x
    (rounded,) = match_autocast(x)
    assert rounded is not None  # for the type checker: what is None stays None
    if choose("lstm", wide) == "numba":
        cast = _at_least_float32 if autocast_is_on(x.device) else _as_they_are
        return functools.partial(run_lstm_kernel, batch_sizes), cast, rounded.dtype
    rows = Rows.of_batch_sizes(torch.tensor(batch_sizes), x.device)
    return functools.partial(run_lstm_sequence, rows), match_autocast, rounded.dtype


def _as_they_are(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tensors


def _at_least_float32(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(t if t is None or t.dtype == torch.float64 else t.float() for t in tensors)


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
