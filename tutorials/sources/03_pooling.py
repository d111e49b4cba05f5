# %% [markdown]
# # 3 · Pooling
#
# **A pool keeps one number of four. Which one, who gets the gradient, and why do text recognisers pool the height but
# spare the width?**
#
# 20 minutes. You should know what a convolution does to sizes (chapter 1).

# %%
MY_FOLDER = None  # or a folder of your own: images and labels.tsv (path, tab, text)

import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_pooling import check_max_pool_backward, check_winners
from minicrnn.naive.pool import max_pool2d_backward, max_pool2d_forward
from minicrnn.shapes import Window, frames_for_width, frames_needed, receptive_field
from minicrnn.tutorials import pooling_pictures, samples, style

style.use()
digit, name = samples.digit(3)  # 8×8 pixels, 0 to 16, written by hand
x = digit[2:6, 0:8]
y, argmax = max_pool2d_forward(x[None, None], (2, 2), (2, 2))
dy = np.arange(1.0, 1 + y.size).reshape(y.shape)
dx = max_pool2d_backward(dy, argmax, x.shape)
pooling_pictures.forward_and_back(x, y[0, 0], argmax[0, 0], dy[0, 0], dx[0, 0])

# %% [markdown]
# Four rows of a handwritten digit. Going up, each 2×2 window sends its largest pixel (in the ring) into `y`. On the way
# back, `dy` says how much the loss grows with each number of `y`. The winner gets all of it. The other three get
# nothing: had one of them been a little larger, `y` would have been the same.
#
# ## The rule
#
# $$y[n, c, o, q] = \max_{i, j}\; x[n, c,\; o s - p + i d,\; q s - p + j d]$$
#
# with stride $s$, padding $p$ and dilation $d$ of the axis. The forward pass also writes down where it found the
# maximum, `argmax` = row · W + column, and the backward pass needs nothing else:
#
# $$dx[n, c, \mathrm{argmax}[n, c, o, q]] \mathrel{+}= dy[n, c, o, q]$$
#
# That is the whole derivation. Near this $x$, $y$ is a *copy* of the winner, so $\partial y/\partial x$ is 1 there and
# 0 elsewhere. Look at the positions: they count through the whole image, not through the window.

# %%
print(argmax[0, 0])
print("the last one, row and column:", divmod(int(argmax[0, 0, -1, -1]), x.shape[1]))

# %% [markdown]
# ## Ties
#
# Three of the windows above have a tie: two hold nothing but zeros, and one holds 12 twice. Somebody has to win. Our
# rule is torch's: **the first of equal pixels in reading order**. It sounds like a detail. After a ReLU it is not: half
# of all values are exactly 0, and a background is all ties. Count them over real digits:

# %%
digits = np.stack([samples.digit(i)[0] for i in range(200)])
blocks = digits.reshape(200, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(200, 16, 4)
tied = (blocks == blocks.max(-1, keepdims=True)).sum(-1) > 1
print(f"{tied.mean():.0%} of the windows have a tie for the largest pixel")

# %% [markdown]
# What would be a fair gradient at a tie? Nudge one of two pixels that are both 7, and watch the maximum:

# %%
window = np.array([7.0, 7.0, 3.0, 1.0])
steps = np.linspace(-2, 2, 41)
one = np.array([np.max(window + np.array([step, 0, 0, 0])) for step in steps])
both = np.array([np.max(window + np.array([step, step, 0, 0])) for step in steps])
pooling_pictures.nudge(steps, {"one pixel is nudged": one, "both are nudged": both})

# %% [markdown]
# Up, the slope is 1; down, the other 7 takes over and the slope is 0. There is a kink, so there is no derivative. Any
# share between the two that **adds up to 1** is a fair answer (a subgradient): all to the first, or half each. Giving
# the whole of `dy` to *both* is not: nudging both raises the maximum by ε, not by 2ε. Taking the first is simplest and
# costs one comparison. Our layer and torch agree to the bit:

# %%
image = torch.tensor(x[None, None], requires_grad=True)
with mc.use_backend("torch"):  # the readable level: nothing to compile
    mc.layers.MaxPool2d(2)(image).backward(torch.tensor(dy))
theirs = torch.tensor(x[None, None], requires_grad=True)
torch.nn.MaxPool2d(2)(theirs).backward(torch.tensor(dy))
torch.equal(image.grad, theirs.grad)

# %% [markdown]
# ## Exercise 1: who wins?
#
# Write down the winner of each window as a position in the whole image, row · W + column. Of equal pixels the first in
# reading order wins. No padding.


# %%
def winners(x, kernel, stride):
    """x: [H, W]; kernel and stride: (height, width) -> integers [Ho, Wo]."""
    # BEGIN SOLUTION
    (H, W), (kh, kw), (sh, sw) = x.shape, kernel, stride
    argmax = np.zeros(((H - kh) // sh + 1, (W - kw) // sw + 1), int)
    for o, q in np.ndindex(argmax.shape):
        top, left = o * sh, q * sw
        i, j = divmod(
            int(x[top : top + kh, left : left + kw].argmax()), kw
        )  # NumPy, too, takes the first
        argmax[o, q] = (top + i) * W + left + j
    return argmax
    # END SOLUTION


# %%
check_winners(winners)

# %% [markdown]
# ## Windows that overlap
#
# With 3×3 windows and stride 2, neighbours share a column. One pixel can win twice, and then it is used twice: its
# gradient is the sum. This is the one trap of the backward pass.

# %%
x = np.array([[1.0, 2, 0, 4, 2], [0, 3, 9, 1, 5], [2, 2, 1, 0, 3]])
y, argmax = max_pool2d_forward(x[None, None], (3, 3), (2, 2))
dy = np.array([[[[10.0, 1.0]]]])
dx = max_pool2d_backward(dy, argmax, x.shape)
pooling_pictures.overlapping(x, argmax[0, 0], dy[0, 0], dx[0, 0])

# %% [markdown]
# ## Exercise 2: where the gradient goes
#
# You get `dy` and the positions of the winners, for a batch of images with channels. Return `dx`. Each image and each
# channel has winners of its own.


# %%
def max_pool_backward(dy, argmax, image):
    """dy, argmax: [N, C, Ho, Wo]; image: (H, W) -> dx: [N, C, H, W]."""
    # BEGIN SOLUTION
    H, W = image
    dx = np.zeros((*dy.shape[:2], H, W))
    for n, c, o, q in np.ndindex(dy.shape):
        row, column = divmod(argmax[n, c, o, q], W)
        dx[n, c, row, column] += dy[n, c, o, q]
    return dx
    # END SOLUTION


# %%
check_max_pool_backward(max_pool_backward)

# %% [markdown]
# ## Why the width is kept
#
# For a photograph of a cat, halving height and width four times is fine: the answer is one word. A recogniser answers
# from left to right, **one letter at most per frame**, and each column of the last feature map is one frame. Halve the
# width once too often and there are more letters than frames. Then no alignment exists, whatever the weights are.
#
# The height is different. It has to become 1, because a frame is a column without a height. So from the third pool on,
# CRNNs use windows of (2, 1): two rows, one column. Here is the same word under both plans:

# %%
image, text = samples.word("illiteracy", MY_FOLDER)
conv, last = Window(3, padding=1), Window(2)
plans = {
    "2×2, 2×2, 2×2, 2×2": [conv, Window(2, 2)] * 4,
    "2×2, 2×2, then (2,1), (2,1)": [
        conv,
        Window(2, 2),
        conv,
        Window(2, 2),
        conv,
        Window(1, 1),
        conv,
        Window(1, 1),
    ],
}
stacks = [
    (name, receptive_field(w), frames_for_width(w, image.shape[1]), frames_needed(text))
    for name, w in plans.items()
]
pooling_pictures.frames_over_word(image, text, stacks)

# %% [markdown]
# Above, a frame is 16 pixels wide and swallows two or three thin letters. Below, it is 4 pixels wide and there are
# several frames for each letter, with room for the blanks that CTC needs between equal neighbours (the "ll").
# `frames_needed` counts them: L + the number of adjacent equal labels (chapter 8).
#
# The price: four times as many frames for the LSTMs to walk. The preset `vgg` makes the same choice, and you can read
# it off its table: two pools of 2×2, two of (2,1), and a jump of 16 × 4 at the end.

# %%
mc.describe(mc.CRNN.from_preset("tiny", num_classes=37), height=32, width=image.shape[1])

# %% [markdown]
# ## What padding is, to a maximum
#
# To a convolution, padding is 0. To a max pool it must be −∞: a 0 would beat any negative pixel and invent a value that
# the image does not have. And it must never be in `argmax`: there is no pixel there to receive a gradient.

# %%
negative = torch.full((1, 1, 2, 4), -5.0)
with mc.use_backend("torch"):
    y = mc.layers.MaxPool2d(2, padding=1)(negative)
y

# %% [markdown]
# ## What people get wrong
#
# - **`dx[position] = dy`** instead of `+=`. With windows that tile the image nothing shows; with overlap, gradients are
#   lost. NumPy's `dx[positions] += dy` has the same fault in disguise: repeated positions are added once.
# - **The position in the window** stored as if it were the position in the image, or row · H + column.
# - **Every tied pixel gets the whole gradient** (`dx = dy * (x == y)`), the shortest code there is. On a background of
#   zeros it multiplies gradients by four.
# - **Padding with zeros**, see above.
# - **Counting frames with the wrong pools.** The authors' released code for the paper pads its (2,1) pools along the
#   width, so that 100 pixels give 26 frames; the paper says 25; its own table gives 24.
#
# ## Where to read on
#
# - Goodfellow, Bengio and Courville, *Deep Learning*, section 9.3; Shi, Bai and Yao (arXiv 1507.05717), table 1, for
#   the rectangular windows and why they suit letters such as "i" and "l".
# - `minicrnn/naive/pool.py`: max and average pooling in loops, padding, dilation and `ceil_mode` included.
#   `minicrnn/layers/max_pool.py`: the same for whole tensors, a place of the window at a time; it stores one byte per
#   output, which place won, and not the image.
