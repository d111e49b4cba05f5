# %% [markdown]
# # 11 · Decoding: greedy, beam, lexicon
#
# **The network has spoken, frame by frame. Which text did it say?**
#
# 30 minutes. You should know paths, collapsing and the forward variables of CTC (chapters 8 and 9).

# %%
import tempfile

import numpy as np
import torch
from IPython.display import Image

import minicrnn as mc
from minicrnn.checks.exercises_decoding import (
    bk_tree,
    check_beam_beats_greedy,
    check_beam_step,
    check_within,
)
from minicrnn.naive.ctc import ctc_forward
from minicrnn.naive.ctc_decoding import all_texts, prefix_beam_search
from minicrnn.naive.edit_distance import edit_distance
from minicrnn.plots import plot_beam
from minicrnn.tutorials import decoding_pictures, samples, style

style.use()
probs = np.array([[0.6, 0.4], [0.6, 0.4]])  # two frames; classes: the blank, and "a"
decoding_pictures.paths_and_texts(probs, ["–", "a"])

# %% [markdown]
# Two frames, both fairly sure that there is nothing (– is the blank). The best single path is "– –" with 0.36, and it
# says "". But three other paths all say "a", and together they have 0.64. **The best path and the best text are two
# different things**, because a text's probability is a sum:
#
# $$p(l \mid y) = \sum_{\pi:\, B(\pi) = l}\; \prod_t y[t, \pi_t]$$
#
# Three ways to read, from fast to thorough:
#
# | | looks for | cost |
# |---|---|---|
# | greedy (best path) | $B(\arg\max_\pi p(\pi))$ | T · K |
# | prefix beam search | $\arg\max_l p(l \mid y)$, keeping the best few beginnings | T · beam · K |
# | lexicon | $\arg\max_l p(l \mid y)$ over the words of a list | words · T · L, or far less with a tree |
#
# ## Greedy
#
# Take the best class of each frame (in a ring), merge runs, drop blanks. Here are 16 frames as a half-trained network
# might give them:

# %%
word = "hello"
log_probs, names = samples.frames_that_say(word, seed=0)
alphabet = mc.Alphabet("".join(names[1:]))
decoding_pictures.frames(log_probs, names, "what each frame says")

# %%
frames = torch.tensor(log_probs)[:, None]  # [T, N, K]
(greedy,) = mc.greedy_decode(frames)
best_text = list(prefix_beam_search(log_probs, beam_width=50)[0][0])
for kind, labels in (
    ("greedy", greedy.labels),
    ("beam of 50", best_text),
    ("the truth", alphabet.encode(word)),
):
    print(
        f"{kind:10} {alphabet.decode(labels)!r:10} ln p(text) = {-ctc_forward(log_probs, labels):.3f}"
    )

# %% [markdown]
# The beam finds a likelier text than greedy. Neither is "hello": these frames are too unsure to be read by themselves.
# (A list of words will do it, below.) On a well-trained network's frames the two agree nearly always: each frame is so
# sure that one path has almost all of the probability. That is why `Reader` reads greedily. The beam pays where frames
# are unsure, and where something else has a say: a language model, a list of words.
#
# ## Exercise 1: a case of your own
#
# Write down probabilities, a row per frame and a column per class (column 0 is the blank), for which greedy does not
# read the most probable text. Try three frames and two letters. (The two frames above count, too.)

# %%
# BEGIN SOLUTION
mine = [[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]
# student: mine = None
# END SOLUTION
check_beam_beats_greedy(mine)

# %% [markdown]
# ## The beam as a tree
#
# There are too many texts to sum them all. But texts share beginnings, so let beginnings compete: walk through the
# frames, and after each keep only the best few (here 4). Each node below is a beginning; a branch to the right is one
# label more. Blue leads to the winner, a cross marks where a beginning was dropped.

# %%
with tempfile.NamedTemporaryFile(suffix=".png") as file:
    texts = plot_beam(torch.tensor(log_probs, dtype=torch.float32), alphabet, file.name, width=4)
    picture = Image(filename=file.name, width=900)
picture

# %% [markdown]
# What makes it exact, as far as it looks: a beginning $l$ is not one path, but **all paths so far that collapse to
# it**. Two numbers are enough, because the future only needs to know how the past *ended*:
#
# - `blank_p(l)`: probability of $l$'s paths that end in a blank,
# - `label_p(l)`: of those that end in $l$'s last label.
#
# One frame with probabilities $y$ changes them by four rules (′ is after the frame):
#
# $$\begin{aligned}
# \mathrm{blank}_p'(l) &\mathrel{+}= y(\text{blank})\,(\mathrm{blank}_p(l) + \mathrm{label}_p(l)) \\
# \mathrm{label}_p'(l) &\mathrel{+}= y(k)\,\mathrm{label}_p(l) & \text{the last label: it lasts}\\
# \mathrm{label}_p'(l \cdot k) &\mathrel{+}= y(k)\,\mathrm{blank}_p(l) & \text{again: only behind a blank}\\
# \mathrm{label}_p'(l \cdot k) &\mathrel{+}= y(k)\,(\mathrm{blank}_p(l) + \mathrm{label}_p(l)) & \text{any other } k
# \end{aligned}$$
#
# By hand, with $l$ = "a", `blank_p` = 0.25, `label_p` = 0.5 and a frame that says a with 0.3: "a" keeps
# 0.3 · 0.5 = 0.15 as `label_p`; "aa" gets 0.3 · 0.25 = 0.075. The two a's of "aa" need a blank between them, and only
# the paths of `blank_p`, a third of the 0.75, have one.
#
# ## Exercise 2: one step of the beam
#
# `beam` maps a text (a tuple of labels) to `(blank_p, label_p)`. Return the same for all beginnings after one more
# frame. Do not drop any. Mind that a text can be reached twice: it was in the beam and its last label comes again, and
# its parent grows into it.


# %%
def beam_step(beam, row, blank):
    """beam: {text: (blank_p, label_p)}, row: [K] probabilities -> the same after the frame."""
    # BEGIN SOLUTION
    blank_p, label_p = {}, {}
    for text, (in_blank, in_label) in beam.items():
        blank_p[text] = row[blank] * (in_blank + in_label)
        for k in range(len(row)):
            if k == blank:
                continue
            source = in_blank + in_label
            if text and text[-1] == k:
                label_p[text] = label_p.get(text, 0) + row[k] * in_label
                source = in_blank
            label_p[*text, k] = label_p.get((*text, k), 0) + row[k] * source
    return {text: (blank_p.get(text, 0), label_p.get(text, 0)) for text in blank_p | label_p}
    # END SOLUTION


# %%
check_beam_step(beam_step)

# %% [markdown]
# ## How wide?
#
# With a beam as wide as there are beginnings nothing is lost. How narrow may it be? Compare with the truth, all texts
# summed over all paths, which 7 frames allow:

# %%
short, short_names = samples.frames_that_say("abba", frames=7, seed=3)
exact = all_texts(short)
best = max(exact, key=exact.get)
for width in (1, 2, 3, 5, 20):
    text, log_p = prefix_beam_search(short, width)[0]
    said = "".join(short_names[k] for k in text)
    print(f"width {width:2}: {said!r:7} found ln p = {log_p:.4f}, of all paths {exact[text]:.4f}")
print(f"truth:    {''.join(short_names[k] for k in best)!r:7} {exact[best]:.4f}")

# %% [markdown]
# A narrow beam may miss the best text. Here it does not, but its own sum lacks the paths through beginnings that were
# dropped meanwhile.
# `mc.beam_search` therefore scores what it ends with once more by the forward recursion, so that its log-probabilities
# are exact at any width:

# %%
for found in mc.beam_search(frames, beam_width=10, top_n=3)[0]:
    print(f"{alphabet.decode(found.labels)!r:9} ln p = {found.log_prob:.3f}")

# %% [markdown]
# ## With a list of words
#
# A price tag, a form, a street: often the words are known. Then ask which word of the list explains the frames best,
# $l^* = \arg\max_{l \in D} p(l \mid y)$. With 50 words one scores them all. With 50,000 the paper has an idea: the
# right word is probably **near the greedy reading**. Take only words within edit distance δ = 3 of it. A BK-tree finds
# those without looking at all words.

# %%
lexicon = mc.Lexicon(
    ["hello", "hell", "hallo", "hole", "held", "yellow", "help", "halo", "shell"],
    mc.Alphabet("adehlopswy"),
)
shown = torch.full((16, 1, 11), -9.0, dtype=torch.float64)
shown[..., 0] = frames[..., 0]
for label, name in enumerate(names[1:], start=1):
    shown[..., lexicon.alphabet.encode(name)[0]] = frames[..., label]
(reading,) = lexicon.decode(shown.log_softmax(2), top_n=3)
for word_read in reading.words:
    print(f"{word_read.text:6} ln p = {word_read.log_prob:7.3f}   share {word_read.share:.1%}")

# %% [markdown]
# ## A BK-tree
#
# The edit distance $d$ counts insertions, deletions and substitutions. It is a metric: symmetric, and a detour is never
# shorter, $d(a, c) \le d(a, b) + d(b, c)$. A BK-tree is built on that: each child hangs on a branch that is labelled
# with its distance $k$ to the parent, and the **whole subtree** below that branch stands at distance $k$ from it.
#
# Say the query $q$ is at distance $d$ from the node's word $v$. If some word $w$ below branch $k$ is within δ of the
# query, the triangle inequality, used twice, gives
#
# $$k = d(v, w) \le d(v, q) + d(q, w) \le d + \delta$$
# $$d = d(v, q) \le d(v, w) + d(w, q) \le k + \delta$$
#
# so only branches with $d - \delta \le k \le d + \delta$ need to be followed. None of the words is missed.

# %%
words = [
    "book",
    "boot",
    "back",
    "boom",
    "cook",
    "cake",
    "lake",
    "like",
    "bike",
    "bake",
    "hook",
    "rock",
    "rack",
    "sack",
]
decoding_pictures.bk_query(bk_tree(words), "bock", delta=1)

# %% [markdown]
# Under each word that was looked at stands its distance to the query; grey words were never looked at.
#
# ## Exercise 3: the query
#
# A tree is a pair `(word, {k: subtree})`. Return a list of all words within `delta` of the query. Use `distance(a, b)`
# for the edit distance: the check counts how often.


# %%
def within(tree, query, delta, distance):
    """All words of the tree at distance delta of the query at most."""
    word, children = tree
    # BEGIN SOLUTION
    d = distance(word, query)
    found = [word] if d <= delta else []
    for k, child in children.items():
        if d - delta <= k <= d + delta:
            found += within(child, query, delta, distance)
    return found
    # END SOLUTION


# %%
check_within(within)

# %% [markdown]
# The library's `Lexicon` has both: `method="bk-tree"` is the paper's, and `method="trie"` is exact, an argmax over all
# words by branch and bound. The paper's can miss the best word when the greedy reading is more than δ away from it. In
# return, it notices when a sample shows none of the words: none is near. (The answer is then the trie's, and the
# reading's `method` says so.)

# %%
print(lexicon.within("hllo", delta=1))
print(edit_distance("kitten", "sitting"))

# %% [markdown]
# ## What people get wrong
#
# - **Confidence.** The product of each frame's best probability is p(best *path*), not p(text | image). `Reading` gives
#   the latter.
# - **"aa" from two frames of a.** Without a blank between them the path "a a" says "a".
# - **One number per beginning** instead of two. Then nobody knows whether a repeated label merges.
# - **Not merging**: a beam of *paths* fills up with paths of one and the same text. The beam must hold texts.
# - **BK-trees that stop at far nodes.** That a node is far says nothing about its children: only the branch label does.
# - **Language model weights tuned on the test set.**
#
# ## Where to read on
#
# - Graves et al. (2006), section 3.2, for best path decoding; Hannun et al. (2014), algorithm 1, for the prefix beam;
#   Shi, Bai and Yao (arXiv 1507.05717), section 2.3, for lexicons; Burkhard and Keller (1973) for the tree.
# - `minicrnn/naive/ctc_decoding.py`: the beam on one page. `minicrnn/ctc/beam_search.py`, `lexicon.py`, `bk_tree.py`.
# - Beam search takes a language model (`mc.NGramModel`) and hotwords; `help(mc.beam_search)` lists what it can do.
