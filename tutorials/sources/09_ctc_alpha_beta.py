# %% [markdown]
# # 9 · CTC: alpha and beta
#
# **"hello" can be said in 184,756 ways in 16 frames. How does one add them all up in 176 steps?**
#
# By noticing that they share their beginnings. Below, two waves run over the word "hello": α adds up all ways to *come*
# to a place, β all ways to *go on* from it. Where both have been, their product gives all ways *through* it. Watch:
#
# (The colours are shares, from 0, dark, to 1, yellow; each column adds up to 1. The rows are explained next.)
#
# *30 minutes. You need: chapter 8.*

# %%
import math

import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_ctc_lattice import (
    check_ctc_alphas,
    check_loss_from_alphas,
    check_may_skip,
)
from minicrnn.naive.ctc import (
    ctc_alphas,
    ctc_betas,
    ctc_loss_by_enumeration,
    extended_target,
    may_skip,
)
from minicrnn.tutorials import lattice_pictures, samples, style

style.use()
# 16 frames, made up, with the classes – e h l o
log_probs, letters = samples.frames_that_say("hello", frames=16)
hello = [letters.index(letter) for letter in "hello"]
lattice_pictures.sweep(log_probs, hello, letters)

# %% [markdown]
# ## A path is a walk
#
# Put a blank before, between and after the labels: "el" becomes `– e – l –`. These are the **states**, S = 2L + 1 of
# them (this is where the 2L + 1 of the folk rule comes from). In the picture each is a row, each frame a column, and
# each circle, a **node**, is a state at a frame. A path that says "el" walks from node to node, one column to the right
# at a time, and never up. From one frame to the next it does one of three things:
#
# - it **stays** in its row (`e e`: the letter lasts, or the blank does);
# - it **steps** to the next state;
# - it **skips** a blank (a thin orange arrow): from e straight to l.
#
# It starts in one of the first two states and ends in one of the last two (ringed): the blanks before and after the
# text may be left out. Each of the fifteen paths of chapter 8 is one walk, and each walk is one path. Here, thick, is
# `e – l l`:

# %%
names = ["–", "e", "l"]
# The four frames of chapter 8.
y = np.array([[0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.4, 0.1, 0.5], [0.3, 0.1, 0.6]])
lattice_pictures.draw_lattice([1, 2], names, frames=4, path=[1, 2, 3, 3])

# %% [markdown]
# ## When may a blank be skipped?
#
# Now the same for "ll". The orange arrows are gone, and they are everything: from l straight to l would be `l l`, which
# merges to one letter. So:
#
# > A path may step from state s − 2 to state s if s is a **label** and **differs** from state s − 2.
#
# The first condition keeps a path from jumping from blank to blank, over a letter. The second keeps double letters
# apart. (You may notice that the second implies the first: a blank never differs from the blank two states above. Both
# are said because they have different reasons.) States 0 and 1 have no state two above, so nothing skips to them.

# %%
lattice_pictures.draw_lattice([2, 2], names, frames=4, title="“ll”: nothing may be skipped")

# %% [markdown]
# ### Exercise 1: the skip rule
#
# `states` is the list of classes of the S states (`[0, 1, 0, 2, 0]` for "el").


# %%
def my_may_skip(states, s, blank):
    """Whether a path may step from state s - 2 to state s: True or False."""
    # BEGIN SOLUTION
    return s >= 2 and states[s] != blank and states[s] != states[s - 2]
    # END SOLUTION


# %%
check_may_skip(my_may_skip)

# %% [markdown]
# ## α: all ways to come here
#
# Let α_t(s) be the probability of having said frames 0 … t and standing in state s: the sum over all walks from the
# start to this node. A walk that stands in s at frame t stood in s, in s − 1 or (by a skip) in s − 2 at frame t − 1. So
#
# $$\alpha_t(s) = y_t(s)\,\bigl(\alpha_{t-1}(s) + \alpha_{t-1}(s-1) + [\text{may skip}]\ \alpha_{t-1}(s-2)\bigr)$$
#
# where y_t(s), the **emission**, is the probability of the class of state s at frame t: y[t, states[s]]. The bracket is
# 1 where the rule allows the skip, else 0; where there is no state s − 1 or s − 2, the term is 0. At t = 0 there are
# the two starts, α_0(0) = y_0(0) and α_0(1) = y_0(1), and 0 elsewhere. By hand, with the numbers of y (frame 0: 0.2 for
# –, 0.7 for e; frame 1: 0.3 for –, 0.4 for e, 0.3 for l):
#
# - α₀ = 0.2, 0.7, 0, 0, 0
# - α₁(0) = 0.3 · 0.2 = 0.06
# - α₁(1) = 0.4 · (0.7 + 0.2) = 0.36
# - α₁(2) = 0.3 · (0 + 0.7) = 0.21
# - α₁(3) = 0.3 · (0 + 0 + 0.7) = 0.21, by the skip from e
# - α₁(4) = 0
#
# All of it:

# %%
alphas = ctc_alphas(np.log(y), [1, 2])
lattice_pictures.draw_lattice([1, 2], names, frames=4, values=np.exp(alphas), title="α for “el”")

# %% [markdown]
# The two ringed nodes on the right hold all complete walks: p(l) = α₃(3) + α₃(4). It is the number of chapter 8,
# without writing out one path. Each node took two additions and a product at most, and there are T · S nodes (for
# "hello" 16 · 11 = 176: the steps of the question above).

# %%
print("by the lattice:    ", np.exp(alphas[-1, -2:]).sum())
print("by the 81 paths:   ", math.exp(-ctc_loss_by_enumeration(np.log(y), [1, 2])))

# %% [markdown]
# ## In logarithms
#
# Every frame multiplies by a number below 1. After 100 frames little is left, and float32 runs out of numbers:

# %%
lattice_pictures.draw_underflow(frames=700)

# %% [markdown]
# (At 0.3 a frame, a float32 is 0 after 87 frames.) So one keeps ln α. A product becomes a sum. A sum becomes
# *logaddexp*. It takes the larger one out, eᵃ + eᵇ = eᵃ (1 + eᵇ⁻ᵃ) for a ≥ b, so that nothing overflows or vanishes:
#
# $$\ln(e^a + e^b) = \max(a, b) + \ln\bigl(1 + e^{-|a - b|}\bigr)$$
#
# ln 0 is −∞, and `np.logaddexp(-np.inf, a)` is a, as it should be. (`np.logaddexp.reduce(list)` adds several.) There is
# another way, to rescale α every few frames, which is what the fast kernel does (`ctc_cpu.py`, see the end).
#
# ### Exercise 2: α in log space
#
# Return ln α, [T, S]. `extended_target(target, blank)` gives the states, and `may_skip(states, s, blank)` is the
# library's, your exercise 1. What is 0 in the formula is −∞ here. One of the drawn cases has 300 frames.


# %%
def my_ctc_alphas(log_probs, target, blank):
    """ln alpha, [T, S]. log_probs: [T, K], target: a list of classes, which may be empty."""
    # BEGIN SOLUTION
    states = extended_target(target, blank)
    alphas = np.full((len(log_probs), len(states)), -np.inf)
    alphas[0, :2] = log_probs[0, states[:2]]
    for t in range(1, len(log_probs)):
        for s in range(len(states)):
            reached = [alphas[t - 1, s]]
            if s >= 1:
                reached.append(alphas[t - 1, s - 1])
            if may_skip(states, s, blank):
                reached.append(alphas[t - 1, s - 2])
            alphas[t, s] = np.logaddexp.reduce(reached) + log_probs[t, states[s]]
    return alphas
    # END SOLUTION


# %%
check_ctc_alphas(my_ctc_alphas)

# %% [markdown]
# ### Exercise 3: the loss
#
# loss = −ln p(l), from the last frame of ln α. (With an empty target there is one state only; `alphas[-1, -2:]` copes.)


# %%
def my_loss_from_alphas(alphas):
    """The CTC loss, a number. alphas: ln alpha, [T, S]."""
    # BEGIN SOLUTION
    return -np.logaddexp.reduce(alphas[-1, -2:])
    # END SOLUTION


# %%
check_loss_from_alphas(my_loss_from_alphas)

# %% [markdown]
# ## β: all ways to go on
#
# The loss needs α alone. The *gradient* (chapter 10) asks of every node: how much of p(l) goes through you? For that
# one must know what can still happen. β_t(s) is the probability of saying frames t … T − 1 from state s and ending
# well, the emission of frame t included. It is α read backwards:
#
# $$\beta_t(s) = y_t(s)\,\bigl(\beta_{t+1}(s) + \beta_{t+1}(s+1) +
# [\text{may skip from } s \text{ to } s+2]\ \beta_{t+1}(s+2)\bigr)$$
#
# where it begins with the two ends, β_{T−1}(S − 1) and β_{T−1}(S − 2), each the emission there, and 0 elsewhere. Now
# take a node. Every way to come to it can be followed by every way to go on, and to multiply all ways of the one kind
# with all of the other is to multiply the sums, α and β. Only, both hold the emission y_t(s) of their own frame, so a
# walk through (t, s) counts it twice; hence the division:
#
# $$\frac{\alpha_t(s)\,\beta_t(s)}{y_t(s)} = \text{the probability of all walks through } (t, s)$$
#
# Every walk passes through exactly one node at each frame. So if you add this up over the states you must get p(l), *at
# every frame*. It is the best test that there is for a hand-written CTC: one wrong index, and it fails.

# %%
states = extended_target([1, 2])
betas = ctc_betas(np.log(y), [1, 2])
through = np.exp(alphas + betas - np.log(y)[:, states])
print("sum over the states, frame by frame:", through.sum(axis=1))
lattice_pictures.draw_lattice(
    [1, 2], names, frames=4, values=through, title="α · β / y: each column adds up to p(l)"
)

# %% [markdown]
# ## In earnest
#
# The library runs α and β for a whole batch at once. For "hello" in 16 frames (the number of paths is the formula of
# chapter 8, with one pair of equal neighbours):

# %%
frames, target, T, L = map(torch.tensor, (log_probs, hello, 16, 5))
loss = mc.ctc_loss(frames, target, T, L, reduction="none")
print("mc.ctc_loss:             ", loss.item())
print("by exercises 2 and 3:    ", -np.logaddexp.reduce(ctc_alphas(log_probs, hello)[-1, -2:]))
print("paths of “hello”:        ", f"{math.comb(16 + 5 - 1, 10):,}")
print("nodes of the lattice:    ", 16 * 11)

# %% [markdown]
# ## What people get wrong
#
# - **The skip rule forgotten.** Then a blank must stand between any two letters, L letters need 2L − 1 frames, and the
#   folk rule has come nearly true.
# - **A skip between equal letters.** Then `l l` counts as "ll". The network never learns the blank in between, the loss
#   looks fine, and it reads "helo".
# - **A skip into a blank.** That leaves out a letter.
# - **Only one start, or only one end.** Two states begin, two end.
# - **The emission counted twice, or not at all.** Some books define β without y_t. Then there is no division, and the
#   first row differs. Both are right; half of each is not. Here both α and β hold it, as in the paper.
# - **−∞ − (−∞).** Subtracting logarithms of zeros gives NaN. It is the classic source of NaN in CTC gradients.
#
# ## Where to read on
#
# - Graves and others, *Connectionist temporal classification* (ICML 2006), section 4.1.
# - `minicrnn/naive/ctc.py`: `ctc_alphas` and `ctc_betas`, as above. `minicrnn/ctc/recursion.py`: a whole batch at once,
#   blanks and labels apart. `kernels/minicrnn_kernels/ctc_cpu.py`: rescaled probabilities, no logarithm in the loop.
# - Next: what all this is for, the gradient (chapter 10).
