# %% [markdown]
# # 7 · Through time, in both directions
#
# **Why does a gradient survive a hundred frames in an LSTM and not in a plain recurrent network; and what does it take
# to read a padded batch from right to left?**
#
# 25 minutes. You should know the LSTM cell (chapter 6).

# %%
import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_lstm import check_reverse_padded, check_through_time
from minicrnn.naive.lstm import LSTMWeights, lstm_cell_backward
from minicrnn.tutorials import lstm_pictures, style

style.use()
torch.manual_seed(0)
T, inputs, H = 60, 16, 32


def gradient_norms(layer):
    """How strongly the last output reacts to each frame's input: ‖∂ y[T−1] / ∂ x[t]‖ for t = 0 … T−1."""
    x = torch.randn(T, 1, inputs, dtype=torch.float64, requires_grad=True)
    with mc.use_backend("torch"):
        y, _ = layer(x)
    y[-1].backward(torch.randn(1, H, dtype=torch.float64))
    return x.grad.norm(dim=(1, 2)).numpy()


def lstm(forget_bias):
    layer = mc.layers.LSTM(inputs, H, dtype=torch.float64)
    layer.bias_ih_l0.data[H : 2 * H] = forget_bias  # gates i, f, g, o: the second
    return layer


def plain(scale):
    layer = torch.nn.RNN(inputs, H, dtype=torch.float64)  # h = tanh(W_ih x + W_hh h′ + b)
    torch.nn.init.orthogonal_(layer.weight_hh_l0, gain=scale)
    return layer


layers = {
    "plain, W = 0.5 × orthogonal": plain(0.5),
    "plain, W = 3 × orthogonal": plain(3.0),
    "LSTM, forget bias 0": lstm(0.0),
    "LSTM, forget bias 1": lstm(1.0),
    "LSTM, forget bias 4": lstm(4.0),
}
lstm_pictures.gradient_over_time({name: gradient_norms(layer) for name, layer in layers.items()})

# %% [markdown]
# Read it from right to left, as the gradient travels. A straight line on this axis means: multiplied by the same factor
# in each frame. Below some 10⁻⁷ a float32 sum no longer notices the contribution at all.
#
# ## Why: a product of T factors
#
# A plain network computes $h_t = \tanh(W_{hh} h_{t-1} + \dots)$ for $t = 0 \dots T - 1$. The chain rule multiplies one
# matrix per frame, the last frame's on the left,
#
# $$\frac{\partial h_{T-1}}{\partial h_t} = \prod_{k=T-1}^{t+1} \mathrm{diag}(1 - h_k^2)\, W_{hh}$$
#
# and a product of many similar factors is hardly ever near 1: with 0.5 per frame, 60 frames leave $10^{-18}$; with a
# factor of 1.5, they make $10^{10}$. The first is called vanishing, the second exploding.
#
# In an LSTM the memory's own path has no matrix and no tanh on it: $c_t = f_t \odot c_{t-1} + \dots$, so
#
# $$\frac{\partial c_{T-1}}{\partial c_t} = \prod_{k=t+1}^{T-1} f_k \quad\text{(along this path)}$$
#
# That is still a product. But its factors are gates, and the network can open them: the forget bias sets where they
# start. With bias 4, $f = 0.982$ and $0.982^{60} = 0.34$. A gate is never above 1, so this path cannot explode. (The
# paths through $h$ and $W_{hh}$ can. That is what clipping the gradient's norm is for: `clip=5.0` in our training.)
#
# ## Backpropagation through time
#
# The loss sees every output, so `dy[t]` comes in at each frame. Going back from the last frame to the first, two
# gradients are carried along:
#
# $$dh_t \leftarrow dh_t + dy_t \qquad\qquad (dx_t,\; dh_{t-1},\; dc_{t-1}) = \text{cell backward}(dh_t, dc_t)$$
#
# The weights are the same in each frame. What is used $T$ times gets a sum of $T$ gradients:
# $dW_{hh} = \sum_t da_t\, h_{t-1}^T$. (A frame is a column here. In `minicrnn/layers/lstm_sequence.py` it is a row of a
# matrix, and the same sum reads $\sum_t da_t^T\, h_{t-1}$.)
#
# ## Exercise 1: the loop
#
# `lstm_cell_backward(dh, dc, cell, weights, dweights)` returns `dx, dh_previous, dc_previous` of one frame and **adds**
# that frame's weight gradients to `dweights`. `cells[t]` holds what frame t computed. Return `dx` of all frames, `dh0`
# and `dc0` of the states before the first one, and the gradient of `weights.hh`.


# %%
def through_time(dy, dh_n, dc_n, cells, weights):
    """dy: [T, H], dh_n, dc_n: [H] (of the last states) -> dx: [T, I], dh0: [H], dc0: [H], dW_hh: [4H, H]."""
    dweights = LSTMWeights(*(None if w is None else np.zeros(w.shape) for w in weights))
    dx = np.zeros((len(dy), weights.ih.shape[1]))
    # BEGIN SOLUTION
    dh, dc = dh_n, dc_n
    for t in reversed(range(len(dy))):
        dx[t], dh, dc = lstm_cell_backward(dh + dy[t], dc, cells[t], weights, dweights)
    return dx, dh, dc, dweights.hh
    # END SOLUTION


# %%
check_through_time(through_time)

# %% [markdown]
# ## Two directions
#
# A frame in the middle of "m" looks like one in the middle of "nn". What comes to its right helps as much as what comes
# to its left. A bidirectional LSTM is two LSTMs with weights of their own: one reads from left to right, the other from
# right to left, and their outputs stand side by side, $[T, N, 2H]$.
#
# Ask autograd which input frames an output frame hears (bright: strongly, on a logarithmic scale):

# %%
frames = 24


def sensitivity(layer):
    """‖∂ y[t] / ∂ x[s]‖ for all t (rows) and s (columns)."""
    x = torch.randn(frames, 1, inputs, dtype=torch.float64, requires_grad=True)
    with mc.use_backend("torch"):
        y, _ = layer(x)
    rows = [
        torch.autograd.grad(y[t].sum(), x, retain_graph=True)[0].norm(dim=(1, 2))
        for t in range(frames)
    ]
    return torch.stack(rows).numpy()


torch.manual_seed(1)
one, two = mc.layers.LSTM(inputs, H), mc.layers.LSTM(inputs, H, bidirectional=True)
for name, parameter in [*one.named_parameters(), *two.named_parameters()]:
    if name.startswith("bias_ih"):
        parameter.data[H : 2 * H] = 2.0
pictures = {
    "LSTM: itself and the past": sensitivity(one.double()),
    "BiLSTM: all frames": sensitivity(two.double()),
}
lstm_pictures.who_hears_whom(pictures)

# %% [markdown]
# Left, nothing above the diagonal: a forward LSTM does not know the future. Right, everything is heard, the near louder
# than the far. That is why the tables of chapter 5 say "all frames" from the first BiLSTM on.
#
# ## Padding
#
# Words have different widths, and a batch is one array. So short sequences are padded at their end. For the forward
# direction that is harmless: by the time the padding comes, everything has been read. The reverse direction *begins* at
# the end. Turn the whole array around, and it reads the padding first:

# %%
lstm_pictures.letters_in_batch(
    {
        "the batch": ["cat··", "hello", "to···"],
        "flipped as a whole": ["··tac", "olleh", "···ot"],
        "each within its length": ["tac··", "olleh", "ot···"],
    }
)

# %% [markdown]
# ## Exercise 2: reverse with padding
#
# Turn each sequence of a padded batch around within its own length. What lies beyond stays as it is.


# %%
def reverse_padded(x, lengths):
    """x: [T, N, I], lengths: N numbers of frames -> like x."""
    # BEGIN SOLUTION
    y = x.copy()
    for n, length in enumerate(lengths):
        y[:length, n] = x[:length, n][::-1]
    return y
    # END SOLUTION


# %%
check_reverse_padded(reverse_padded)

# %% [markdown]
# How bad is the naive flip? Read a short sequence alone, and beside a longer one. A reading must not depend on its
# neighbours in the batch.

# %%
torch.manual_seed(2)
layer = mc.layers.LSTM(inputs, H, bidirectional=True)
short, long = torch.randn(6, 1, inputs), torch.randn(15, 1, inputs)
batch = torch.zeros(15, 2, inputs)
batch[:6, :1], batch[:, 1:] = short, long
packed = torch.nn.utils.rnn.pack_padded_sequence(
    batch, torch.tensor([6, 15]), enforce_sorted=False
)
with torch.no_grad(), mc.use_backend("torch"):
    alone, _ = layer(short)
    padded, _ = layer(batch)
    out, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0])
print(f"padded batch:    differs by {(padded[:6, :1] - alone).abs().max():.1e}")
print(f"packed sequence: differs by {(out[:6, :1] - alone).abs().max():.1e}")

# %% [markdown]
# A `PackedSequence` is the batch without its padding: frame by frame, only the sequences that still have one, the
# longest first. `mc.CRNN` packs its frames before the LSTMs, so that an image gives the same logits in any batch.
#
# ## Speed: both directions in one loop
#
# Frames must be taken one after the other, but everything that does not depend on the frame before need not be. Our
# layer computes $W_{ih} x$ of all frames in one product before the loop, and the weight gradients of all frames in one
# product after it. And the reverse direction is the forward recursion on mirrored sequences. Turned around within their
# own lengths, both directions have the same lengths, so they run in one loop: each step is one batched product for the
# two of them. (That is the level of tensors, which a GPU runs. The CPU's kernel, `kernels/minicrnn_kernels/lstm.py`,
# mirrors nothing: each direction is a task of its own, and the reverse one begins at the last frame.)
#
# ## What people get wrong
#
# - **`dc` is not carried**, only `dh`. The gradients are right for $T = 1$ and a little wrong for the rest.
# - **`dy[t]` is added after the cell's backward** instead of before: it is part of what reaches $h_t$.
# - **The reverse output is left reversed.** Its frame $t$ must stand beside the forward frame $t$. Turn it back.
# - **Flipping the padding**, as above. It trains, and it reads well as long as all images have the same width.
# - **$h_n$ of the reverse direction** is its state after frame *0*, not after the last.
# - **All-ones upstream gradients in a test** do not show that two frames, or two gates, were exchanged.
#
# ## Where to read on
#
# - Bengio, Simard and Frasconi, *Learning long-term dependencies with gradient descent is difficult* (1994); Pascanu,
#   Mikolov and Bengio (2013), section 2, for vanishing, exploding and clipping; Graves and Schmidhuber (2005) for both
#   directions.
# - `minicrnn/naive/lstm.py` (`lstm_backward`), `minicrnn/layers/lstm_sequence.py`: the loop, `Rows` for sequences of
#   different lengths, and the sums after the loop.
