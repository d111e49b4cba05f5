# %% [markdown]
# # 6 · The LSTM cell
#
# **How does a network remember what it saw twenty columns ago, and how does a gradient find its way back there?**
#
# 25 minutes. You should know matrix products, and the chain rule.

# %%
MY_FOLDER = None  # or a folder of your own: images and labels.tsv (path, tab, text)

import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_lstm import check_cell_backward, check_cell_forward
from minicrnn.naive.lstm import LSTMWeights, lstm_forward
from minicrnn.tutorials import lstm_pictures, samples, style

style.use()
lstm_pictures.cell_diagram()

# %% [markdown]
# The upper line is the memory $c$. It runs from frame to frame, and only two things happen to it: it is multiplied by a
# gate, and something is added. A gate is a number between 0 (closed) and 1 (open).
#
# ## A memory built by hand
#
# Before formulas, let us build one. The task: walk over the columns of a word from left to right and **count its
# letters**. At each frame the cell sees one number only: how much ink the column has.
#
# That takes two units. Unit 0 remembers whether the *last* column had ink. Unit 1 is the counter: it adds 1 when there
# was ink and there is none now, that is, at the end of each letter. All weights are set by hand. ±10 at a gate is as
# good as closed or open, since σ(−10) = 0.00005 and σ(10) = 0.99995.

# %%
image, text = samples.word("counter", MY_FOLDER)
x = lstm_pictures.ink_of_columns(image)[:, None]  # [T, 1]

# rows: units 0 and 1 of gate i, then of f, of g and of o
x_weight = np.array([[0.0], [-40.0], [0.0], [0.0], [40.0], [0.0], [0.0], [0.0]])
h_weight = np.zeros((8, 2))
h_weight[1, 0] = 26.0  # the counter's input gate listens to unit 0
bias = np.array([10.0, -8.0, -10.0, 10.0, -12.0, 10.0, 10.0, 10.0])
counter = LSTMWeights(x_weight, h_weight, bias, np.zeros(8))
h, _, _, cells = lstm_forward(x, np.zeros(2), np.zeros(2), counter)


def trace(gate, unit):
    return np.array([getattr(cell, gate)[unit] for cell in cells])


traces = {
    "x: ink": x[:, 0],
    "h of unit 0:\nink just before": trace("h", 0),
    "i: write?": trace("i", 1),
    "f: keep?": trace("f", 1),
    "g: what": trace("g", 1),
    "c: letters so far": trace("c", 1),
}
lstm_pictures.gate_traces(
    image,
    traces,
    "c: letters so far",
    f"a cell that counts letters: {trace('c', 1)[-1]:.2f} here",
)

# %% [markdown]
# Follow one letter. While there is ink, `i` is closed and `c` stays as it is. In the first column without ink, unit 0
# still says "ink just before", so `i` opens for one frame, and $i \cdot g = 1$ is added. `f` is open all the time: what
# was counted is kept. (Letters that touch each other are one to this cell: it looks for columns without ink.)
#
# Nothing here was learnt, and yet it is the same cell that reads text: with 96 units instead of 2, weights found by
# gradient descent, and features of a convolution instead of ink.
#
# ## The equations
#
# With $h'$ and $c'$ the states one frame before:
#
# $$a = W_{ih}\, x + b_{ih} + W_{hh}\, h' + b_{hh}$$
# $$i = \sigma(a_i)\qquad f = \sigma(a_f)\qquad g = \tanh(a_g)\qquad o = \sigma(a_o)$$
# $$c = f \odot c' + i \odot g\qquad\qquad h = o \odot \tanh(c)$$
#
# $a$ holds the pre-activations of the four gates **one below the other, in the order i, f, g, o**: $H$ rows for each.
# That order is a convention. Ours is torch's; others exist, and weights moved between two conventions load without an
# error and compute nonsense.
#
# ## Exercise 1: one step forward
#
# From the pre-activations and the memory before, compute the gates, the new memory and the output.


# %%
def cell_forward(a, c_previous):
    """a: [4H], c_previous: [H] -> i, f, g, o, c, h, each [H]."""
    # BEGIN SOLUTION
    a_i, a_f, a_g, a_o = np.split(a, 4)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (a_i, a_f, a_o))
    g = np.tanh(a_g)
    c = f * c_previous + i * g
    return i, f, g, o, c, o * np.tanh(c)
    # END SOLUTION


# %%
check_cell_forward(cell_forward)

# %% [markdown]
# ## How long is a memory?
#
# Nothing is written: $c$ is multiplied by $f$ in each frame. After $n$ frames $f^n$ of it is left. With $f = 0.5$, half
# is gone after one frame. To keep half over 20 frames it takes $f = 0.5^{1/20} = 0.966$. Here is the counter again,
# with weaker forget gates:

# %%
curves = {}
for forget in (10.0, 4.0, 1.0):
    changed = bias.copy()
    changed[3] = forget  # row 3: gate f of unit 1
    _, _, _, cells = lstm_forward(
        x, np.zeros(2), np.zeros(2), LSTMWeights(x_weight, h_weight, changed, np.zeros(8))
    )
    f = 1 / (1 + np.exp(-forget))
    half_life = np.log(0.5) / np.log(f)  # in frames
    after = f"{half_life:,.0f}" if half_life > 100 else f"{half_life:.1f}"
    name = f"bias of f {forget:g}: f = {f:.5f}, half is left after {after} frames"
    curves[name] = trace("c", 1)
lstm_pictures.memories(image, curves, "c: letters so far")

# %% [markdown]
# This is why the bias of the forget gate is set to 1 before training (Gers, Schmidhuber and Cummins 2000; and
# `minicrnn/initialisation.py`): $f$ starts at 0.73 and not at 0.5, memories live twice as long, and the gradient, which
# goes back along the same line, too.
#
# ## One step back
#
# The loss says how it reacts to $h$ (`dh`) and, through the next frame, to $c$ (`dc`). We go through the equations from
# the last to the first. Whatever is used twice gets a sum.
#
# **1. $h = o \odot \tanh(c)$** has two factors:
#
# $$do = dh \odot \tanh(c)\qquad\qquad dc \leftarrow dc + dh \odot o \odot (1 - \tanh^2(c))$$
#
# The arrow is the heart of it: $c$ reaches the loss in *two* ways, through the next frame's memory (the `dc` that came
# in) and through $h$.
#
# **2. $c = f \odot c' + i \odot g$** is a sum of products:
#
# $$di = dc \odot g\qquad df = dc \odot c'\qquad dg = dc \odot i\qquad dc' = dc \odot f$$
#
# **3. The four squashing functions.** $\sigma' = \sigma (1 - \sigma)$ and $\tanh' = 1 - \tanh^2$, written with the
# values that we already have:
#
# $$da_i = di \odot i (1 - i)\qquad da_f = df \odot f (1 - f)$$
# $$da_g = dg \odot (1 - g^2)\qquad da_o = do \odot o (1 - o)$$
#
# **4. $a$ is linear.** One step more gives what the layers below, the weights and the frame before want:
# $dx = W_{ih}^T da$, $dh' = W_{hh}^T da$, $dW_{ih} = da\, x^T$, $dW_{hh} = da\, h'^T$, $db = da$.
#
# Look at $dc' = dc \odot f$ once more. Along the memory there is no matrix and no squashing function, only the gate.
# Where $f = 1$ a gradient travels back as it is.
#
# ## Exercise 2: steps 1 to 3
#
# Return `da` (four gates, in the order i, f, g, o) and `dc_previous`.


# %%
def cell_backward(dh, dc, c_previous, i, f, g, o, c):
    """All arguments [H] -> da: [4H], dc_previous: [H]."""
    # BEGIN SOLUTION
    tanh_c = np.tanh(c)
    dc = dc + dh * o * (1 - tanh_c**2)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_previous * f * (1 - f)
    da_g = dc * i * (1 - g**2)
    da_o = dh * tanh_c * o * (1 - o)
    return np.concatenate([da_i, da_f, da_g, da_o]), dc * f
    # END SOLUTION


# %%
check_cell_backward(cell_backward)

# %% [markdown]
# ## Trust, but check
#
# However plausible a derivation looks, compare it with differences: move one number by ±10⁻⁶ and see what the loss
# does. `mc.check_gradients` does so for every input and parameter. Its upstream gradient is random. With all ones, a
# swap of two gates can go unseen.

# %%
torch.manual_seed(0)
layer = mc.layers.LSTM(input_size=3, hidden_size=4, dtype=torch.float64)
with mc.use_backend("torch"):
    print(mc.check_gradients(layer, [torch.randn(5, 2, 3, dtype=torch.float64)]))

# %% [markdown]
# And the counter in the library's layer, which takes the same four arrays under torch's names:

# %%
layer = mc.layers.LSTM(1, 2, dtype=torch.float64)
parameters = dict(
    zip(["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"], counter, strict=False)
)
layer.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
with torch.no_grad(), mc.use_backend("torch"):
    _, (_, c_n) = layer(torch.tensor(x)[:, None])
print(f"“{text}” has {len(text)} letters; the cell counts {c_n[0, 0, 1]:.2f}")

# %% [markdown]
# ## What people get wrong
#
# - **The order of the gates.** i, f, g, o here and in torch. A state dict does not know.
# - **The `dc` that comes in is dropped**, or the part through $h$ is. Each alone gives gradients of the right shape and
#   the right size, and a network that learns a little.
# - **`g` taken for a gate.** It is a sigmoid's neighbour but a tanh: what is written may be negative.
# - **$o$ in the wrong place**: $o$ decides what is shown, not what is kept. $c$ does not depend on it.
# - **Two biases.** $b_{ih}$ and $b_{hh}$ are added to each other, so one would do. They are kept because cuDNN has two;
#   both get the same gradient, and a forget bias of 1 belongs into one of them, not into both.
#
# ## Where to read on
#
# - Hochreiter and Schmidhuber, *Long Short-Term Memory* (1997), section 4, without a forget gate; Gers, Schmidhuber and
#   Cummins, *Learning to Forget* (2000), section 3, for that.
# - `minicrnn/naive/lstm.py`: the cell number by number, forward and back. `minicrnn/layers/lstm_cell.py`: the same for
#   whole tensors; there all factors that no gradient enters (the slopes) are computed for all frames at once.
# - Chapter 7 puts frames one behind the other.
