# %% [markdown]
# # 13 · Making it fast: Numba on the CPU, Winograd
#
# **One sum, written four times: why is the fastest a hundred thousand times faster than the slowest?**
#
# 25 minutes. You should know what a convolution computes (chapter 2). Times are those of the machine that runs this.

# %%
import numpy as np
import torch
from numba import njit, prange

import minicrnn as mc
from minicrnn.checks.exercises_speed import check_column_sums, check_f23
from minicrnn.naive.conv import conv2d_forward
from minicrnn.naive.winograd import winograd_matrices
from minicrnn.tutorials import speed_pictures, style

style.use()
torch.manual_seed(0)
layer, theirs = mc.layers.Conv2d(256, 256, 3, padding=1), torch.nn.Conv2d(256, 256, 3, padding=1)
x = torch.randn(16, 256, 8, 25)


def run(level):
    with torch.no_grad(), mc.use_backend(level):
        return layer(x)


times = speed_pictures.seconds(
    {
        "tensor operations": lambda: run("torch"),
        "compiled kernels": lambda: run("numba"),
        "torch.nn": lambda: theirs(x).detach(),
    },
    budget=2.0,
)
small, weight = (
    np.random.default_rng(0).normal(size=(1, 2, 8, 8)),
    layer.weight.detach().double().numpy()[:2, :2],
)
loops = speed_pictures.seconds(
    {"loops": lambda: conv2d_forward(small, weight, None, pads=(1, 1, 1, 1))}, budget=0.2
)
share = (16 * 256 * 256 * 8 * 25) / (1 * 2 * 2 * 8 * 8)  # so many times the work
speed_pictures.time_bars(
    {"loops in Python, extrapolated": loops["loops"] * share, **times},
    "3×3 convolution, 256 → 256 channels, 16 images of 8×25",
)

# %% [markdown]
# All four compute the same sum, with the padded image $xp$ (the loops with $b = 0$):
#
# $$y[n, j, h, w] = b[j] + \sum_{i, u, v} xp[n, i, h + u, w + v]\; W[j, i, u, v]$$
#
# The first pays for the interpreter at each of 1.9 billion products. The second hands whole arrays to a matrix product
# (the matrix of windows, chapter 2). The third *does less*.
#
# ## Two limits
#
# A processor can be held up by two things: arithmetic, or memory. Which one it is depends on the **arithmetic
# intensity**, the operations per byte that must be moved. By hand: a ReLU over float32 reads 4 bytes, writes 4 bytes,
# and does one comparison: 1/8. A matrix product of 512×512 does $2 \cdot 512^3$ operations on 3 MB: 85.
#
# Measure both limits, and put some layers under the roof that they make:

# %%
a = torch.randn(1024, 1024)
large, copy = torch.randn(16_000_000), torch.empty(16_000_000)
limits = speed_pictures.seconds({"product": lambda: a @ a, "copy": lambda: copy.copy_(large)})
peak, bandwidth = 2 * 1024**3 / limits["product"], 2 * 4 * large.numel() / limits["copy"]

maps = torch.randn(32, 64, 16, 50)
relu, pool, conv, lstm = (
    mc.layers.ReLU(),
    mc.layers.MaxPool2d(2),
    mc.layers.Conv2d(64, 128, 3, padding=1),
    mc.layers.LSTM(256, 128),
)
frames = torch.randn(24, 32, 256)
works = []
with torch.no_grad(), mc.use_backend("torch"):
    size, out = 4 * maps.numel(), maps.numel() * 2
    cases = {
        "ReLU": (lambda: relu(maps), maps.numel(), 2 * size),
        "max-pool 2×2": (lambda: pool(maps), maps.numel(), 1.25 * size),
        "conv 64→128, 3×3": (lambda: conv(maps), 2 * 9 * 64 * out, size + 4 * out),
        "LSTM 256→128": (
            lambda: lstm(frames),
            2 * 24 * 32 * 512 * (256 + 128),
            4 * (24 * (32 * 384 + 512 * 128)),
        ),
    }
    measured = speed_pictures.seconds(
        {name: function for name, (function, _, _) in cases.items()}, budget=2.0
    )
for name, (_, operations, moved) in cases.items():
    works.append(speed_pictures.Work(name, operations, moved, measured[name]))
speed_pictures.roofline(works, peak, bandwidth)

# %% [markdown]
# Under the slope (left), no cleverness with arithmetic helps: move less. That is what **fusing** is for. ReLU and pool
# after a convolution read and write each number again; done while it is still in the cache, they are nearly free. Under
# the flat part (right), only *doing less arithmetic* helps. That is what Winograd is for.
#
# ## Parallel, safely
#
# `@njit(parallel=True)` compiles a function, and `prange` says that the rounds of a loop may run **at the same time, in
# any order**. It is a promise that you make; Numba does not check it. Here is the bias's gradient,
# $db[c] = \sum_n dy[n, c]$, with a loop over samples:
#
# ```python
# for n in prange(N):
#     for c in range(C):
#         db[c] += dy[n, c]      # read, add, write: two rounds may read the same old value, and one sum is lost
# ```
#
# Two threads read 5, one adds 1, one adds 2, and the result is 6 or 7 instead of 8. It may be right a thousand times.
# The rule is simple: **what a round writes, no other round may touch.**
#
# ## Exercise 1: parallelise safely
#
# Fill `db` (whatever is in it before) with the sums over the rows of `dy`. At least one loop must be a `prange`. Use
# single elements, `dy[n, c]`.


# %%
@njit(parallel=True)
def column_sums(dy, db):
    """dy: [N, C] -> fills db: [C]."""
    N, C = dy.shape
    # BEGIN SOLUTION
    for c in prange(C):
        total = 0.0
        for n in range(N):
            total += dy[n, c]
        db[c] = total
    # END SOLUTION


# %%
check_column_sums(column_sums)

# %% [markdown]
# (The check plays the rounds and watches what each reads and writes, so a race is found for certain.) In our kernels
# the rounds are images, tiles or blocks of channels. Where a sum over them is needed, each thread sums into an array of
# its own, and these few are added at the end, always in the same order: the result has the same bits in every run.
#
# ## Doing less: Winograd
#
# A window of 3 weights slides over 4 pixels and gives 2 outputs, F(2, 3):
#
# $$y_0 = g_0 d_0 + g_1 d_1 + g_2 d_2 \qquad\qquad y_1 = g_0 d_1 + g_1 d_2 + g_2 d_3$$
#
# Six products. The two sums share $d_1$ and $d_2$; can products be shared, too? Look at two sums of the weights,
# $s = (g_0 + g_1 + g_2)/2$ and $r = (g_0 - g_1 + g_2)/2$. Then $s - r = g_1$ and $s + r = g_0 + g_2$, so the products
#
# $$m_1 = (d_1 + d_2)\, s \qquad m_2 = (d_2 - d_1)\, r$$
#
# have the sum and the difference
#
# $$m_1 + m_2 = d_1 (s - r) + d_2 (s + r) = g_1 d_1 + g_0 d_2 + g_2 d_2$$
# $$m_1 - m_2 = d_1 (s + r) + d_2 (s - r) = g_0 d_1 + g_2 d_1 + g_1 d_2$$
#
# Compare with $y_0$ and $y_1$. The first has all of $y_0$ but $g_0 d_0$, and $g_0 d_2$ too much. The second lacks
# $g_2 d_3$, and has $g_2 d_1$ too much. One product each mends it. That is four.
#
# ## Exercise 2: F(2, 3)
#
# Write it with four products of a number made of pixels by a number made of weights. Products by constants and
# divisions by 2 are free: on the weights' side they are made once for all images. The check counts.


# %%
def f23(d, g):
    """d: 4 pixels, g: 3 weights -> [y0, y1] with y[j] = Σ g[i] · d[j + i]."""
    # BEGIN SOLUTION
    s, r = (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2
    m0 = (d[0] - d[2]) * g[0]
    m1 = (d[1] + d[2]) * s
    m2 = (d[2] - d[1]) * r
    m3 = (d[3] - d[1]) * g[2]
    return [m0 + m1 + m2, m1 - m2 + m3]
    # END SOLUTION


# %%
check_f23(f23)

# %% [markdown]
# ## As matrices
#
# Sums of pixels, sums of weights, products place by place, sums of products:
#
# $$y = A^T \big[(G\, g) \odot (B^T d)\big]$$

# %%
A, B, G = winograd_matrices(2)
speed_pictures.transforms(A, B, G)
d, g = np.array([1.0, 2, 3, 4]), np.array([1.0, 0, -1])
print(
    "Winograd:",
    A.T @ ((G @ g) * (B.T @ d)),
    "  definition:",
    np.array([g @ d[j : j + 3] for j in range(2)]),
)

# %% [markdown]
# (The literature has the signs of the first and last row the other way round; the products agree.) In two dimensions,
# rows first, then columns: $Y = A^T [(G g G^T) \odot (B^T d B)] A$. A tile of 2×2 outputs takes $4 \cdot 4 = 16$
# products where the definition takes $4 \cdot 9 = 36$; a tile of 4×4 takes 36 where it takes 144, a quarter.
#
# | outputs a tile | products | by definition | saved |
# |---|---|---|---|
# | 2×2 | 16 | 36 | 2.25 × |
# | 4×4 | 36 | 144 | 4 × |
#
# The sum over input channels comes *before* $A^T \dots A$ (it is linear), so all of them share one transform, and the
# products become 16 or 36 matrix products. Nothing is free: the transforms cost time, and rounding errors grow with the
# size of the matrices' entries. In float32 they are a few times those of the direct sum:

# %%
exact = torch.nn.functional.conv2d(
    x.double(), layer.weight.double(), layer.bias.double(), padding=1
)
scale = exact.pow(2).mean().sqrt()
for level in ("torch", "numba"):
    error = (run(level).double() - exact).pow(2).mean().sqrt() / scale
    print(f"{ {'torch': 'matrix of windows', 'numba': 'Winograd'}[level]:18} error {error:.1e}")

# %% [markdown]
# ## What people get wrong
#
# - **Optimising what takes no time.** Measure first. Of the time that the layers of `vgg` take, four fifths are
#   convolutions (`benchmarks/results/layers.md`).
# - **Timing the first call.** It compiles. And timing one after the other: machines change their speed. Take turns.
# - **`prange` over the axis that is summed**, as above.
# - **Counting operations only.** A ReLU has next to none. Yet torch takes as long for the first ReLU of `vgg` as for
#   the convolution before it.
# - **Too many threads.** Torch's and Numba's pools on the same two cores wait for each other, if they are two pools.
# - **Trusting a fast kernel without a slow one.** Every kernel here is compared with the loops at the top.
#
# ## Where to read on
#
# - Williams, Waterman and Patterson, *Roofline* (2009); Lavin and Gray, *Fast algorithms for convolutional neural
#   networks* (arXiv 1509.09308), section 4; Blahut, *Fast algorithms for signal processing*, section 5.
# - `minicrnn/naive/winograd.py`: where the matrices come from (polynomials), in one page. `kernels/minicrnn_kernels/`:
#   the kernels. `benchmarks/results/`: measurements.
