"""One LSTM step after its matrix products: four gates, a memory cell that is kept, written and read.

    a = W_ih x + b_ih + W_hh h′ + b_hh             pre-activations, h′ and c′ are the states one frame before
    i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   o = σ(a_o)
    c = f ⊙ c′ + i ⊙ g                             keep a part f of the memory, write a part i of g
    m = o ⊙ tanh(c)                                show a part o of it
    h = m,  or  h = W_hr m                         with a projection

Shapes: D directions, n sequences, H hidden units; i, f, g, o, c and m are [D, n, H]; a and ``gates`` hold the
four gates side by side in this order, [D, n, G] with G = 4H. Everything here is elementwise.

Source: Hochreiter and Schmidhuber (1997), *Long Short-Term Memory*; the forget gate is Gers, Schmidhuber and
Cummins (2000), *Learning to Forget*; the projection is Sak, Senior and Beaufays (2014), arXiv 1402.1128.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cell_forward_(
    i: Float[Tensor, "D n H"],
    f: Float[Tensor, "D n H"],
    g: Float[Tensor, "D n H"],
    o: Float[Tensor, "D n H"],
    c_previous: Float[Tensor, "D n H"],
    c: Float[Tensor, "D n H"],
    tanh_c: Float[Tensor, "D n H"],
    m: Float[Tensor, "D n H"],
) -> None:
    """Turn the pre-activations in i, f, g, o into activations, and fill ``c``, ``tanh_c`` and ``m``."""
    i.sigmoid_()
    f.sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, c_previous, out=c)
    c.addcmul_(i, g)
    torch.tanh(c, out=tanh_c)
    torch.mul(o, tanh_c, out=m)


def cell_slopes(
    gates: Float[Tensor, "D n G"], c_previous: Float[Tensor, "D n H"], tanh_c: Float[Tensor, "D n H"]
) -> tuple[Float[Tensor, "D n G"], Float[Tensor, "D n H"]]:
    """The factors of the backward pass that no gradient enters, so that all frames are done in one go: n is M here.

    With σ' = σ (1 − σ) and tanh' = 1 − tanh²:

        ∂c/∂a_i = g · i (1 − i)    ∂c/∂a_f = c′ · f (1 − f)    ∂c/∂a_g = i · (1 − g²)
        ∂m/∂a_o = tanh(c) · o (1 − o)                          ∂m/∂c = o · (1 − tanh²(c))

    Returns the four derivatives by a, side by side [D, n, 4H], and ∂m/∂c [D, n, H].
    """
    i, _, g, o = gates.chunk(4, -1)
    one = gates.new_ones(())
    slopes = torch.addcmul(gates, gates, gates, value=-1)  # s (1 − s), right for i, f and o
    slope_i, slope_f, slope_g, slope_o = slopes.chunk(4, -1)
    slope_i *= g
    slope_f *= c_previous
    torch.addcmul(one, g, g, value=-1, out=slope_g)
    slope_g *= i
    slope_o *= tanh_c
    m_by_c = torch.addcmul(one.to(tanh_c.dtype), tanh_c, tanh_c, value=-1)
    m_by_c *= o
    return slopes, m_by_c


def cell_backward_(
    dm: Float[Tensor, "D n H"],
    dc: Float[Tensor, "D n H"],
    f: Float[Tensor, "D n H"],
    da_ifg: Float[Tensor, "D n 3 H"],
    da_o: Float[Tensor, "D n H"],
    m_by_c: Float[Tensor, "D n H"],
) -> None:
    """Turn the slopes in ``da_ifg`` and ``da_o`` into gradients at a, and ``dc`` into the gradient at c′.

    ``dc`` comes in as what the next frame says about c; m is the other way by which c reaches the loss:

        dc ← dc + dm ⊙ ∂m/∂c
        da_k = dc ⊙ ∂c/∂a_k  for k = i, f, g;    da_o = dm ⊙ ∂m/∂a_o
        dc′ = dc ⊙ f
    """
    dc.addcmul_(dm, m_by_c)
    da_ifg.mul_(dc.unsqueeze(-2))
    da_o.mul_(dm)
    dc.mul_(f)
