# %% [markdown]
# # 10 · CTC: the gradient
#
# **The network, untrained, reads "oh", and the truth is "hello". Which frame should now say what instead?**
#
# Nobody knows where the letters are. And yet after forty steps each letter has found a place. Look at the rows from
# top to bottom: the network makes up its own teacher, follows it a little, and the teacher gets better.
#
# *25 minutes. You need: chapters 8 and 9, and the derivative of a logarithm.*

# %%
import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_ctc_gradient import check_ctc_gradient, check_gamma
from minicrnn.naive.ctc import ctc_forward, ctc_posteriors, extended_target, log_softmax
from minicrnn.tutorials import gamma_pictures, samples, style

MY_FOLDER = None  # or a folder of your own: images and labels.tsv (path, tab, text)

style.use()
image, text = samples.word("hello", MY_FOLDER)
alphabet = mc.Alphabet("".join(sorted(set(text))))
torch.manual_seed(0)
model = mc.CRNN.from_preset("tiny", alphabet.num_classes)
moments = gamma_pictures.learn_one_image(model, image, text, alphabet, steps=[0, 2, 8, 15, 40])
gamma_pictures.draw_moments(image, text, model, moments)

# %% [markdown]
# ## γ: who said what, given the text
#
# Back to four frames and "el". Of the fifteen paths that say it, some have e at frame 1, some –, some l. Suppose that
# the text *is* "el". How probable is it then that frame 1 said e? Add up the paths that did, and divide by all fifteen:
#
# $$\gamma[t, k] = \frac{\sum_{\pi:\ B(\pi) = l,\ \pi_t = k} p(\pi)}{p(l)}$$
#
# γ is a probability like y, one row for each frame, but it *knows the text*. At frame 0 the network is 70 % sure of e;
# given "el" it is 88 % sure, and l is impossible there: no path that says "el" begins with l.

# %%
names = ["–", "e", "l"]
y = np.array([[0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.4, 0.1, 0.5], [0.3, 0.1, 0.6]])
gamma = ctc_posteriors(np.log(y), [1, 2])
gamma_pictures.draw_three(y, gamma, names)

# %% [markdown]
# With the lattice there is no need for the list of paths. All walks through the node (t, s) have the probability
# α_t(s) β_t(s) / y_t(s) (chapter 9). A class may own several nodes: all L + 1 blanks are class 0, both l of "hello" are
# the same l. So
#
# $$\gamma[t, k] = \sum_{s:\ \text{state } s \text{ is } k} \frac{\alpha_t(s)\, \beta_t(s)}{y_t(k)\; p(l)}$$
#
# ### Exercise 1: γ from α and β
#
# `alphas` and `betas` are logarithms, [T, S], and so are `log_probs`, [T, K]. `ctc_forward(log_probs, target, blank)`
# is the loss −ln p(l).


# %%
def my_gamma(alphas, betas, log_probs, target, blank):
    """gamma, [T, K]: its rows add up to 1."""
    # BEGIN SOLUTION
    states = extended_target(target, blank)
    loss = ctc_forward(log_probs, target, blank)
    gamma = np.zeros_like(log_probs)
    for s, k in enumerate(states):
        gamma[:, k] += np.exp(alphas[:, s] + betas[:, s] - log_probs[:, k] + loss)
    return gamma
    # END SOLUTION


# %%
check_gamma(my_gamma)

# %% [markdown]
# ## The derivation
#
# What is the derivative of the loss −ln p(l) by one log-probability, ln y[t, k]? p(l) is a sum of products, and y[t, k]
# is a factor of some of them: of those paths that say k at frame t, and of no others. A path has one class at each
# frame, so there it stands exactly once. The derivative of a product by the *logarithm* of one of its factors is the
# product itself. Hence
#
# $$\frac{\partial\, p(l)}{\partial \ln y[t, k]} = \sum_{\pi:\ B(\pi) = l,\ \pi_t = k} p(\pi) = \gamma[t, k]\; p(l)
# \qquad\Longrightarrow\qquad
# \frac{\partial\, (-\ln p(l))}{\partial \ln y[t, k]} = -\gamma[t, k]$$
#
# No recursion was differentiated. α and β are only a way to compute the sum.
#
# ### Exercise 2: from there to softmax − γ
#
# The network does not put out ln y but logits u, and ln y[t, j] = u[t, j] − ln Σ_i exp(u[t, i]). Take a pencil:
#
# 1. What is ∂ ln y[t, j] / ∂ u[t, k]? (Two cases: j = k and j ≠ k.)
# 2. The chain rule sums over j: ∂loss/∂u[t, k] = Σ_j (−γ[t, j]) · ∂ ln y[t, j] / ∂ u[t, k].
# 3. Use that a row of γ adds up to 1.
#
# Then write it in code.

# %% [markdown] tags=["solution"]
# **Solution.** (1) ∂ ln y[t, j] / ∂ u[t, k] = [j = k] − y[t, k], for the logarithm of the sum has the derivative
# exp(u[t, k]) / Σ_i exp(u[t, i]) = y[t, k]. (2) So ∂loss/∂u[t, k] = −Σ_j γ[t, j] ([j = k] − y[t, k])
# = −γ[t, k] + y[t, k] Σ_j γ[t, j]. (3) The last sum is 1:
#
# $$\frac{\partial\,\text{loss}}{\partial u[t, k]} = y[t, k] - \gamma[t, k]$$


# %%
def my_ctc_gradient(logits, target, blank):
    """The gradient of -ln p(target) at the logits, [T, K].

    `log_softmax(logits)` and `ctc_posteriors(log_probs, target, blank)` are there.
    """
    # BEGIN SOLUTION
    log_probs = log_softmax(logits)
    return np.exp(log_probs) - ctc_posteriors(log_probs, target, blank)
    # END SOLUTION


# %%
check_ctc_gradient(my_ctc_gradient)

# %% [markdown]
# The library's gradient, by autograd, is the same matrix:

# %%
logits = torch.tensor(np.log(y))[:, None].requires_grad_()  # [T, N, K] with N = 1
target, T, L = torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
loss = mc.ctc_loss_from_logits(logits, target, T, L, reduction="sum")
loss.backward()
print(logits.grad[:, 0].numpy().round(4))
print("softmax − γ, the same:", np.allclose(logits.grad[:, 0], y - gamma))

# %% [markdown]
# ## How to read it
#
# Cross-entropy has the gradient softmax − target. So **CTC is cross-entropy with γ as the target**: at each frame, "say
# what you would say if you knew the text". The target is soft, it moves, and it is made of the network's own opinion.
# Here is one moment of the training above, after 8 steps. Blue: this logit should rise.

# %%
moment = moments[2]
gamma_pictures.draw_three(moment.y, moment.gamma, ["–", *alphabet.characters], numbers=False)

# %% [markdown]
# Where y and γ agree the gradient vanishes, whether the frame is "right" or not: nobody asks the frame to be right.
# Where the text demands something that y does not give, there is a pull. That also explains an oddity of the first
# picture: h came to lie to the left of the drawn h. The text asks for the *order* of the letters, not for their places,
# and in a single image any frame that can be told from the others will do. Only many images, with h in many places,
# leave nothing but the h itself to go by (chapter 0).
#
# ### Why everything is blank at first
#
# At the beginning y is about uniform. γ is not: the text may lie anywhere, each letter claims a few frames, and there
# are L + 1 blanks beside L letters. So γ's mean share of the blank is large, and larger the more frames there are for
# the text. The first thing to be learnt is "blank", at every frame, until the letters' claims are strong enough:

# %%
hello = torch.tensor([2, 1, 3, 3, 4])
for T in (6, 10, 19, 40, 80):
    uniform = torch.full((T, 5), 1 / 5).log()  # 5 classes: – e h l o
    given = mc.posteriors(uniform, hello, torch.tensor(T), torch.tensor(5))
    print(f"“hello” in {T:2} frames: the blank has 20 % of y and {given[:, 0].mean():.0%} of γ")

# %% [markdown]
# ## A trap: whose gradient?
#
# `ctc_loss` takes log-probabilities, and its true gradient there is −γ, whose rows sum to −1. That is what this library
# returns. torch's own returns exp(log_probs) − γ: it assumes that a log-softmax came before and does that step's work
# in advance. At the logits both give softmax − γ. But if you feed something else than log-softmax, torch's gradient is
# wrong, silently:

# %%
target, T, L = torch.tensor([1, 2]), torch.tensor(4), torch.tensor(2)
for name, function in (("ours ", mc.ctc_loss), ("torch", torch.nn.functional.ctc_loss)):
    log_probs = torch.tensor(np.log(y)).requires_grad_()
    function(log_probs, target, T, L, reduction="sum").backward()
    rows = log_probs.grad.sum(1).numpy().round(6) + 0.0
    print(f"{name}: sums of the rows of the gradient at log_probs: {rows}")

# %% [markdown]
# ## What people get wrong
#
# - **Forgetting that a class has several states.** The blanks and double letters must be added, not overwritten.
# - **α·β without the division by y.** The frame's own emission is in both. (The CPU's kernel,
#   `kernels/minicrnn_kernels/ctc_cpu_lattice.py`, leaves it out of its β, and so it need not divide.)
# - **The sign.** The loss falls along −gradient; a letter that is missing has a *negative* entry.
# - **Backpropagating through the recursion.** Autograd through T logaddexps gives the same matrix, at several times the
#   cost and with NaN where −∞ meets −∞. The closed form needs no graph.
# - **A softmax before `ctc_loss_from_logits`.** The logits are then squeezed into 0 … 1, the gradient is tiny, and
#   training crawls. No error is raised.
# - **γ as confidence.** γ is given the text. That it is sharp says that the *alignment* is clear, not that the text is
#   right.
#
# ## Where to read on
#
# - Graves and others, *Connectionist temporal classification* (ICML 2006), section 4.2, equations 15 and 16.
# - `minicrnn/naive/ctc.py`: `ctc_posteriors`, `ctc_from_logits_backward`. `minicrnn/ctc/posteriors.py`: γ for a batch,
#   by class or by letter. `minicrnn/ctc/alignment.py`: the single best path.
# - Next: from probabilities to the best text (chapter 11).
