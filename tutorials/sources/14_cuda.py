# %% [markdown]
# # 14 · The CUDA kernel
#
# **A recursion goes one frame after the other. How do you run it on a machine that wants to do thousands of things at
# once?**
#
# 30 minutes. You should know CTC's α (chapter 9). No GPU is needed: without one, numba's simulator plays it.

# %%
import os

import torch

if not torch.cuda.is_available():
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before numba is imported

import numpy as np
from numba import cuda, float32

from minicrnn.checks.exercises_cuda import check_alpha_kernel, check_barriers, play
from minicrnn.naive.ctc import ctc_alphas, ctc_forward
from minicrnn.tutorials import cuda_pictures, style
from minicrnn_kernels import ctc_cuda_readable
from minicrnn_kernels.ctc_cuda_readable import class_of, log_sum_exp, may_skip

style.use()
INFINITY = np.float32(np.inf)
target, names = [1, 1, 2], ["–", "a", "b"]
cuda_pictures.threads_over_lattice(target, names)

# %% [markdown]
# The lattice of "aab". A state (row) at frame $t$ needs its neighbours at frame $t-1$, so **time must be a loop**. But
# the states of one frame need nothing of each other: all orange circles can be computed at once. So **each state is a
# thread**. Before frame 3 may begin, frame 2 must be complete: that is what the
# bars between the frames are for.
#
# ## Five words
#
# - A **thread** runs the kernel's code with a number of its own, `cuda.threadIdx.x`. Threads are cheap; a GPU has
#   hundreds of thousands of them in flight.
# - A **block** is a team of up to 1,024 threads on one processor of the GPU. Here: one block per sample of the batch.
# - **Shared memory** belongs to a block. It is small (48 KB) and fast, and the only quick way from thread to thread.
# - **Global memory** is large, slow, and seen by all blocks. `log_probs` comes from there, and `alpha` goes there.
# - A **barrier**, `cuda.syncthreads()`: nobody goes on until *every* thread of the block has come here.
#
# Nothing else is promised. In which order threads run between two barriers is up to the machine.
#
# ## The recursion, for one thread
#
# $$\alpha_t(s) = y_t(s) \cdot \big(\alpha_{t-1}(s) + \alpha_{t-1}(s-1) + [\text{may skip}]\; \alpha_{t-1}(s-2)\big)$$
#
# As logarithms, so that hundreds of factors do not underflow: products are sums, and the sum is `log_sum_exp`. Three
# functions are given:
#
# - `class_of(s, labels, blank)`: the class of state $s$ (blank, label, blank, label, …),
# - `may_skip(s, labels)`: whether $s$ may be reached from $s-2$,
# - `log_sum_exp(a, b, c)` = ln(eᵃ + eᵇ + eᶜ).
#
# Two rows of shared memory take turns: in frame $t$ row $t \bmod 2$ is written and the other one is read.

# %%
cuda_pictures.two_rows(target, names)

# %% [markdown]
# ## Exercise 1: write alpha
#
# The kernel runs with 32 threads for one sample. `alpha` is $[T, S]$ with $S = 2L + 1$ states, so some threads are
# idle: an index outside of an array is not an error on a GPU, it silently hits what lies there. At $t = 0$ only states
# 0 and 1 can be reached (`reached` is 0 there, −∞ elsewhere).


# %%
@cuda.jit
def alpha_kernel(log_probs, labels, blank, alpha):
    """log_probs: [T, K], labels: [L] -> fills alpha: [T, S], as logarithms."""
    T, S = alpha.shape
    rows = cuda.shared.array((2, 31), float32)
    s = cuda.threadIdx.x
    for t in range(T):
        # BEGIN SOLUTION
        if s < S:
            if t == 0:
                reached = float32(0) if s < 2 else -INFINITY
            else:
                before = (t + 1) % 2
                step = rows[before, s - 1] if s >= 1 else -INFINITY
                skip = rows[before, s - 2] if may_skip(s, labels) else -INFINITY
                reached = log_sum_exp(rows[before, s], step, skip)
            rows[t % 2, s] = reached + log_probs[t, class_of(s, labels, blank)]
            alpha[t, s] = rows[t % 2, s]
        cuda.syncthreads()
        # END SOLUTION


# %%
check_alpha_kernel(alpha_kernel)

# %% [markdown]
# The check plays your kernel with the threads in orders drawn at random, and watches each use of memory. Two threads
# that use one element between the same two barriers, one of them to write, are a **race**, whether or not anything went
# wrong this time. Then it launches the kernel by numba, on a GPU if there is one.
#
# ## What a barrier is for
#
# Here is a kernel that is right but for the barrier. Play it with twenty orders of the threads:


# %%
def without_barrier(log_probs, labels, blank, alpha):
    T, S = alpha.shape
    rows = cuda.shared.array((2, 31), float32)
    s = cuda.threadIdx.x
    for t in range(T):
        if s < S:
            reached = 0.0 if s < 2 else -INFINITY
            if t > 0:
                before = (t + 1) % 2
                step = rows[before, s - 1] if s >= 1 else -INFINITY
                skip = rows[before, s - 2] if may_skip(s, labels) else -INFINITY
                reached = log_sum_exp(rows[before, s], step, skip)
            rows[t % 2, s] = reached + log_probs[t, class_of(s, labels, blank)]
            alpha[t, s] = rows[t % 2, s]


log_probs = np.log(np.random.default_rng(1).dirichlet(np.ones(3), 6))
losses = []
for seed in range(20):
    alpha, _ = play(without_barrier, log_probs, target, seed=seed, find_races=False)
    losses.append(-np.logaddexp(*alpha[-1, -2:]))
cuda_pictures.wrong_answers(losses, ctc_forward(log_probs, target))

# %% [markdown]
# On a real GPU it is worse: 32 neighbouring threads (a *warp*) mostly run in step, so that a missing barrier goes
# unnoticed for months, and shows with the first text of more than 15 letters, on a new model of GPU, or never in a
# test.
#
# Who ran when? With barriers all threads finish a frame before the next begins (the order within a frame is drawn).
# Without, one thread runs through all its frames while its neighbours have not begun:


# %%
@cuda.jit
def with_barrier(log_probs, labels, blank, alpha):
    T, S = alpha.shape
    s = cuda.threadIdx.x
    for t in range(T):
        if s < S:
            alpha[t, s] = log_probs[t, class_of(s, labels, blank)]
        cuda.syncthreads()


_, ordered = play(with_barrier, log_probs[:4], target, seed=3)
_, chaotic = play(without_barrier, log_probs[:4], target, seed=3, find_races=False)
cuda_pictures.who_ran_when(
    [("with a barrier per frame", ordered), ("without", chaotic)], threads=7, frames=4
)

# %% [markdown]
# ## Exercise 2: place the barriers
#
# This kernel keeps a single row of shared memory. It saves 4 bytes a state, and one barrier per frame is no longer
# enough: a fast thread may overwrite a value that a slow neighbour has yet to read. Put in what is needed, and not
# more: at a barrier everybody waits for the slowest. (And remember who has to come to a barrier.)


# %%
@cuda.jit
def one_row(log_probs, labels, blank, alpha):
    T, S = alpha.shape
    row = cuda.shared.array(31, float32)
    s = cuda.threadIdx.x
    for t in range(T):
        reached = float32(0) if s < 2 else -INFINITY
        if s < S and t > 0:
            step = row[s - 1] if s >= 1 else -INFINITY
            skip = row[s - 2] if may_skip(s, labels) else -INFINITY
            reached = log_sum_exp(row[s], step, skip)
        # BEGIN SOLUTION
        cuda.syncthreads()
        # student: # a barrier here?
        # END SOLUTION
        if s < S:
            row[s] = reached + log_probs[t, class_of(s, labels, blank)]
            alpha[t, s] = row[s]
            # BEGIN SOLUTION
            # student: # or here?
            # END SOLUTION
        # BEGIN SOLUTION
        cuda.syncthreads()
        # student: # or here?
        # END SOLUTION


# %%
check_barriers(one_row)

# %% [markdown]
# ## The library's kernel
#
# `ctc_cuda_readable.py` is exercise 1 for a whole batch: one block per sample (`cuda.blockIdx.x`), more states than
# threads if need be (thread $i$ takes the states $i$, $i$ + threads, …), β with time and states read backwards, and the
# gradient with a block for each frame and sample. Launch it, and compare with the naive level:

# %%
rng = np.random.default_rng(2)
T, K, texts = 12, 5, [[1, 1, 2], [4, 3], []]
N, longest = len(texts), max(map(len, texts))
batch = np.log(rng.dirichlet(np.ones(K), (T, N))).astype(np.float32)
labels = np.array([[*text, *[0] * (longest - len(text))] for text in texts])
input_lengths, target_lengths = np.array([12, 9, 10]), np.array([len(text) for text in texts])
S = 2 * longest + 1
alpha, beta = np.full((2, N, T, S), np.nan, np.float32)
losses = np.full(N, np.nan, np.float32)
no_long_rows = np.zeros((N, 0), np.float32)
on_device = [
    cuda.to_device(a)
    for a in (batch, labels, input_lengths, target_lengths, no_long_rows, alpha, beta, losses)
]
ctc_cuda_readable.ctc_forward(*on_device[:4], 0, *on_device[4:])
alpha, losses = on_device[5].copy_to_host(), on_device[7].copy_to_host()
for n, text in enumerate(texts):
    frames, states = input_lengths[n], 2 * len(text) + 1
    expected = ctc_alphas(batch[:frames, n].astype(float), text)
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(
            np.abs(alpha[n, :frames, :states] - expected), nan=0.0
        ).max()  # −∞ − −∞ is NaN
    print(f"sample {n}: loss {losses[n]:.4f}, α off by {error:.1e}")

# %% [markdown]
# ## What the fast kernel does differently
#
# The readable kernel leaves much on the table. `ctc_cuda.py` takes it:
#
# | readable | fast |
# |---|---|
# | half of the threads hold blanks, which never skip | a lane holds a pair, a blank and its label: half the threads |
# | α travels through shared memory, a barrier a frame | from lane to lane by *shuffle* within a warp: no barrier |
# | α to the end, then β back: 2T steps | one warp runs α forward, another β backward, and they meet: T steps |
# | each emission is read when it is needed | a few frames ahead, while the arithmetic of this one is still going on |
# | natural logarithms, so that nothing underflows | a float32 mantissa with an exponent of its own: no logarithm |
#
# It is compared with this one, and both with the naive level, state by state, and not only by their losses.
#
# ## What people get wrong
#
# - **A barrier inside an `if`** that some threads skip. They never come, and the others wait for ever. (On some GPUs;
#   on others the barrier is quietly passed by those that came. Both are undefined.)
# - **One row and one barrier.** It is right in most runs.
# - **Writing through the neighbour's index**: every thread writes its own state, and reads the neighbours'.
# - **−∞ − (−∞)** in `log_sum_exp`: if all three are −∞ the answer is −∞, not NaN. Test before you subtract.
# - **Double precision by accident.** A plain `0.0` is a double and turns all around it into doubles, which most GPUs
#   compute 32 to 64 times slower. Hence `float32(0)`.
# - **Waiting for the device** in between: a `.item()` or a copy to the host stops the queue. Lengths stay on the
#   device.
#
# ## Where to read on
#
# - NVIDIA, *CUDA C++ Programming Guide*, chapters 5 and 7; Harris, *Optimizing parallel reduction in CUDA*; the puzzles
#   of Rush, *GPU-Puzzles*.
# - `kernels/minicrnn_kernels/ctc_cuda_readable.py`, then `ctc_cuda.py`. `minicrnn/checks/block.py` is the small machine
#   that played your kernels.
# - `kernels/minicrnn_kernels/ctc_cpu.py` has the same recursion on a CPU, where a batch is parallel over its samples.
