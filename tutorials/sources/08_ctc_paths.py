# %% [markdown]
# # 8 · CTC: from paths to texts
#
# **Sixteen frames, five letters, and nobody says which frame shows which letter. What number should training make
# small?**
#
# A network looks at an image of a word, slice by slice from left to right. For each slice, a **frame**, it gives each
# letter a probability. The number must be small when the network reads "hello", wherever in the image the letters
# stand. The idea of CTC (connectionist temporal classification; Graves and others, 2006) fits in a sentence: *let each
# frame say one thing, and add up the probabilities of all the ways to say the text.* Here are all of them for "el" in
# four frames, a text so short that they fit on the screen:
#
# *25 minutes. You need: what a probability is. Nothing from the chapters before.*

# %%
import itertools
import math

import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_ctc_paths import (
    check_collapse,
    check_frames_needed,
    check_likelihood,
)
from minicrnn.naive.ctc import collapse, ctc_loss_by_enumeration
from minicrnn.shapes import frames_needed
from minicrnn.tutorials import ctc_pictures, style

style.use()
names = ["–", "e", "l"]  # the classes 0, 1, 2; class 0 is the blank
# One row for each of 4 frames, one column for each of 3 classes.
y = np.array([[0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.4, 0.1, 0.5], [0.3, 0.1, 0.6]])
ctc_pictures.draw_paths_of(y, [1, 2], names)

# %% [markdown]
# ## A path, and what it says
#
# On the left is what a network might put out for the middle of "hello": at each of T = 4 frames a probability for each
# of K = 3 **classes**, the letters e and l and the **blank** –, which says nothing. (In the array `y` a frame is a row;
# in the picture it is a column, as in the image.) A **path** π picks one class at each frame. There are K^T = 3⁴ = 81
# of them. Each says a text by two rules, and their order matters:
#
# 1. **merge** neighbours that are equal: `e e l l` becomes `e l`;
# 2. then **drop** the blanks: `e – l –` becomes `e l`.
#
# Why is there a blank at all? Two reasons. Between letters there is often nothing to say. And without it "ll" could not
# be said: `l l` merges to one l, but `l – l` keeps two. The blank is *not* the space between words; a space is a
# character like any other.

# %%
for path in ([1, 1, 2, 2], [1, 0, 2, 0], [1, 2, 0, 2], [1, 2, 2, 2], [0, 0, 0, 0]):
    said = "".join(names[k] for k in collapse(path))
    print(" ".join(names[k] for k in path), "  says ", said or "(nothing)")

# %% [markdown]
# ### Exercise 1: `collapse`
#
# Write the two rules. Classes are numbers here, and the blank need not be class 0: `my_collapse([1, 1, 0, 2], 0)` is
# `[1, 2]`. The library's `collapse`, used above, does the same.


# %%
def my_collapse(path, blank):
    """The labels that a path says: a list. path: a list of classes."""
    # BEGIN SOLUTION
    merged = [k for k, _ in itertools.groupby(path)]
    return [k for k in merged if k != blank]
    # END SOLUTION


# %%
check_collapse(my_collapse)

# %% [markdown]
# ## The probability of a text
#
# Given the image, CTC takes the frames to be independent: what frame 2 says does not depend on what frame 1 said. So
# the probability of a path is a product over its frames, y[t, k] being the probability of class k at frame t. Different
# paths exclude each other, so the probability of a *text* l is the sum over the paths that say it. B stands for the two
# rules, B(π) = l for "the path π says the text l". (This l is the paper's name for any text, the *labelling*; it is not
# the letter l of the picture.)
#
# $$p(l) = \sum_{\pi:\ B(\pi) = l}\ \prod_t y[t, \pi_t]$$
#
# Take the best path of the picture, `e e l l`:

# %%
along = [y[0, 1], y[1, 1], y[2, 2], y[3, 2]]
print("e e l l: ", *along, " product:", round(math.prod(along), 4))

# %% [markdown]
# Less than a tenth. Even so "el" is by far the likeliest text, because fifteen paths say it. All 81 paths together have
# the probability 1, and so do all the texts they say. (There happen to be fifteen texts, too.)

# %%
ctc_pictures.draw_texts(y, names)

# %% [markdown]
# ### Exercise 2: the likelihood, by enumeration
#
# Sum over all paths that collapse to the target. `itertools.product(range(K), repeat=T)` gives all K^T paths, each a
# tuple, and `collapse(path, blank)` from the library gives a list. Nobody computes it so in earnest, but it is the
# *definition*: the fast way of the next chapter is right if it gives this number.


# %%
def my_likelihood(probs, target, blank):
    """p(l), a number. probs: [T, K], target: a list of classes without blanks."""
    # BEGIN SOLUTION
    T, K = probs.shape
    total = 0.0
    for path in itertools.product(range(K), repeat=T):
        if collapse(path, blank) == target:
            total += math.prod(probs[t, path[t]] for t in range(T))
    return total
    # END SOLUTION


# %%
check_likelihood(my_likelihood)

# %% [markdown]
# The **loss** is −ln p(l), the number that was asked for. It is 0 when the text is certain, and grows without end as it
# becomes impossible. The library gives the same number as the sum over the 81 paths. It wants logarithms, frames first,
# and two lengths, T frames and L labels, because a batch has texts and images of several lengths (`reduction="none"`
# says: do not average over the batch):

# %%
log_probs = torch.tensor(np.log(y))
target, T, L = torch.tensor([1, 2]), torch.tensor(4), torch.tensor(2)
loss = mc.ctc_loss(log_probs, target, T, L, reduction="none")
print(f"library:        {loss.item():.6f}")
print(f"by enumeration: {ctc_loss_by_enumeration(np.log(y), [1, 2]):.6f}")
print(f"p(l):           {math.exp(-loss):.6f}")

# %% [markdown]
# ## Which texts fit?
#
# A text that needs more frames than there are has no path. Its probability is 0, its loss infinite, and a single such
# image can ruin a training run. So how many frames does a text need?
#
# You will read "T must be at least 2L + 1", a blank around every letter, in many forums. Count for yourself. "cat" in 3
# frames: `c a t`. That works: no blank is needed anywhere. "hello": `h e l l o` would say "helo", so the two l need a
# blank between them, `h e l – l o`, 6 frames. That is the whole rule:
#
# $$T \ \ge\ L + (\text{number of equal neighbours})$$
#
# 2L + 1 is another number: how many *states* the lattice of the next chapter has. Somebody once took one for the other.
# The number of paths is known, too. A path gives each of the L labels at least one frame, and each of the L + 1 gaps
# (before, between, after) any number of blanks, the r gaps between equal neighbours at least one. That leaves
# T − L − r frames to hand out freely among 2L + 1 labels and gaps. Lay these frames in a row and put 2L bars between
# them, to say where one share ends and the next begins: T + L − r things in a row, 2L of them bars. So the number is
# the binomial $\binom{T + L - r}{2L}$. In the first picture T = 4, L = 2 and r = 0, so $\binom{6}{4} = 15$.

# %%
ctc_pictures.draw_counts(["cat", "hello", "committee"], frames=24)

# %% [markdown]
# ### Exercise 3: `frames_needed`


# %%
def my_frames_needed(target):
    """The fewest frames in which `target`, a list of classes, can be said."""
    # BEGIN SOLUTION
    return len(target) + sum(a == b for a, b in itertools.pairwise(target))
    # END SOLUTION


# %%
check_frames_needed(my_frames_needed)

# %% [markdown]
# What does that mean for images? The small network of chapter 0 makes ⌊W/4⌋ − 1 frames of W pixels, so that n frames
# need 4·(n + 1) pixels. By the folk rule up to twice the width would be needed, and whoever filters a data set by it
# throws good images away:

# %%
model = mc.CRNN.from_preset("tiny", num_classes=27)
print("word        frames needed   folk rule   least width in pixels   by the folk rule")
for word in ("cat", "hello", "committee", "aaaaa"):
    labels = [ord(character) - 96 for character in word]  # a is class 1, z is class 26
    needed, folk, width = frames_needed(word), 2 * len(word) + 1, model.min_width_for(labels)
    print(f"{word:<12}{needed:>13}{folk:>12}{width:>24}{4 * (folk + 1):>19}")

# %% [markdown]
# And when a text does not fit? The loss is infinite, and says so. `zero_infinity=True` makes 0 of it, loss and
# gradient, so that one bad sample does not spoil the batch. It also hides the sample: better to look for it before
# training, as `minicrnn train` does (it counts and names what it leaves out).

# %%
ll = torch.tensor([2, 2])
for T in (2, 3):
    y_short = torch.tensor(y[:T]).log()
    loss = mc.ctc_loss(y_short, ll, torch.tensor(T), torch.tensor(2), reduction="none")
    print(f"'ll' in {T} frames: loss {loss.item():.3f}")

# %% [markdown]
# ## What people get wrong
#
# - **Dropping before merging.** Then `l – l` says "l", and no double letter can ever be read.
# - **The folk rule.** T ≥ L + equal neighbours; 2L + 1 is the number of states.
# - **The blank as a space.** A space between words is a class of its own, if texts have spaces.
# - **"The best path gives the best text."** It need not. Fifteen weak paths can outweigh a strong one (chapter 11).
# - **Probabilities where logarithms are wanted.** `ctc_loss` takes log-probabilities. Logits go to
#   `ctc_loss_from_logits`; a softmax, without the logarithm, goes nowhere.
# - **`reduction="mean"`** divides each loss by the length of its text first, as torch does. The sum over a batch is
#   something else.
#
# ## Where to read on
#
# - Graves, Fernández, Gomez and Schmidhuber, *Connectionist temporal classification* (ICML 2006), sections 2 and 3.
# - `minicrnn/naive/ctc.py`: `collapse`, `ctc_loss_by_enumeration`. `minicrnn/shapes.py`: `frames_needed`.
# - "hello" in 16 frames of 5 classes has 5¹⁶ paths to look through, about 10¹¹. The next chapter does it in 16 · 11
#   steps.
