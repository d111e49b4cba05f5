# %% [markdown]
# # 4 · BatchNorm and local response norm
#
# **Why does it help to rescale what a layer gives, why is training different from evaluation, and what does the
# gradient of a mean look like?**
#
# 25 minutes. You should know the chain rule.

# %%
import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_norm import (
    check_batch_norm_backward,
    check_neighbours,
    check_running_averages,
)
from minicrnn.data import collate
from minicrnn.naive.norm import batch_norm_backward as naive_backward
from minicrnn.naive.norm import channel_statistics
from minicrnn.tutorials import norm_pictures, style, training

style.use()
torch.manual_seed(0)
words = mc.data.RenderedWords(64, seed=1, alphabet=mc.Alphabet("aehlorw"))
items = [words[i] for i in range(len(words))]
two_layers = torch.nn.Sequential(
    mc.layers.Conv2d(1, 16, 3, padding=1), mc.layers.ReLU(), mc.layers.Conv2d(16, 3, 3, padding=1)
)
for parameter in two_layers.parameters():
    parameter.data *= 2
norm = mc.layers.BatchNorm2d(3)
with torch.no_grad(), mc.use_backend("torch"):
    images = collate(items[:32]).images[..., : min(words.widths[:32])]  # without padding
    before = two_layers(images)
    in_training = norm(before)
    in_evaluation = norm.eval()(before)


def channels(x):
    return {f"channel {c}": x[:, c].flatten().numpy() for c in range(3)}


norm_pictures.histograms(
    [
        ("after two convolutions", channels(before)),
        ("BatchNorm, training", channels(in_training)),
        ("evaluation, after one batch", channels(in_evaluation)),
    ],
    limit=3,
)

# %% [markdown]
# Left: three channels of an untrained network over words (mean ± standard deviation). Each has a
# scale of its own, and the next layer has to cope. Middle: BatchNorm in training mode. All have mean 0 and deviation 1.
# Right: the same layer **in evaluation mode**, same input. It looks nearly untouched! By the end of the chapter you
# will know why, and why this is the most common BatchNorm bug there is.
#
# ## The equations
#
# One channel at a time, over all $m = N \cdot H \cdot W$ values that it has in the batch:
#
# $$\mu = \tfrac{1}{m} \sum x \qquad \sigma^2 = \tfrac{1}{m} \sum (x - \mu)^2 \qquad
# \rho = \frac{1}{\sqrt{\sigma^2 + \varepsilon}}$$
# $$\hat{x} = (x - \mu)\, \rho \qquad\qquad y = \gamma\, \hat{x} + \beta$$
#
# $\gamma$ and $\beta$ are learnt (`weight` and `bias`). They can undo the normalisation if that is better. But the
# scale is now *one number to be learnt*, and not the joint effect of thousands of weights.
#
# By hand: $x$ = 1, 3, 5, 7 has $\mu = 4$, $\sigma^2 = 5$, $\rho = 0.447$, and $\hat{x}$ = −1.34, −0.45, 0.45, 1.34.
#
# ## Training and evaluation
#
# In training, a sample's output depends on the other samples of its batch. A reading must not. So during training the
# layer keeps **running averages** of $\mu$ and $\sigma^2$, and in evaluation it takes those:
#
# $$\text{running} \leftarrow (1 - \text{momentum}) \cdot \text{running} + \text{momentum} \cdot \text{batch}$$
#
# with momentum 0.1. They begin at 0 and 1. After a single batch nine tenths of the beginning are still there, hence the
# picture on the right. After $n$ batches $0.9^n$ of it is left: 35 % after 10, 0.5 % after 50.

# %%
means, running = [], {"momentum 0.1": [], "momentum 0.01": []}
norms = {name: mc.layers.BatchNorm2d(3, momentum=float(name.split()[1])) for name in running}
with torch.no_grad(), mc.use_backend("torch"):
    for batch in training.batches_of(items, steps=60, size=4):
        x = two_layers(batch.images)
        means.append(float(x[:, 0].mean()))
        for name, layer in norms.items():
            layer(x)
            running[name].append(float(layer.running_mean[0]))
norm_pictures.averages(
    means, running, "mean of channel 0: of each batch, and its running averages"
)

# %% [markdown]
# One more difference hides in there. The batch itself is normalised with the variance divided by $m$. The running
# average takes the **unbiased** one, divided by $m - 1$: it estimates the variance of *all* images from a few.
#
# ## Exercise 1: the running averages
#
# Return both after one more batch.


# %%
def running_averages(mean, var, x, momentum):
    """mean, var: [C], x: [N, C, H, W] -> the new mean and var, [C] each."""
    # BEGIN SOLUTION
    m = x.size // x.shape[1]
    batch_mean = x.mean(axis=(0, 2, 3))
    batch_var = x.var(axis=(0, 2, 3)) * m / (m - 1)
    return (1 - momentum) * mean + momentum * batch_mean, (
        1 - momentum
    ) * var + momentum * batch_var
    # END SOLUTION


# %%
check_running_averages(running_averages)

# %% [markdown]
# ## The gradient
#
# In evaluation $\mu$ and $\rho$ are constants: $dx = \gamma \rho\, dy$, and that is all.
#
# In training every $x$ of a channel moves $\mu$ and $\sigma^2$, and through them **every** $y$ of the channel. So there
# are three paths. With $d\hat{x} = \gamma\, dy$ and
#
# $$\frac{\partial \mu}{\partial x} = \frac{1}{m} \qquad
# \frac{\partial \sigma^2}{\partial x} = \frac{2 (x - \mu)}{m} \qquad
# \frac{\partial \rho}{\partial \sigma^2} = -\frac{\rho^3}{2}$$
#
# they add up to
#
# $$dx = \underbrace{\rho\, d\hat{x}}_{\text{directly}}
# \;-\; \underbrace{\rho\, \tfrac{1}{m} \textstyle\sum d\hat{x}}_{\text{through } \mu}
# \;-\; \underbrace{\rho^3 (x - \mu)\, \tfrac{1}{m} \textstyle\sum d\hat{x}\,(x - \mu)}_{\text{through } \rho}$$
#
# (The path from $x$ over $\mu$ to $\sigma^2$ is zero, because $\sum (x - \mu) = 0$.) With
# $d\beta = \sum dy$ and $d\gamma = \sum dy\, \hat{x}$ it gets short:
#
# $$dx = \gamma \rho \left( dy - \frac{d\beta}{m} - \hat{x}\, \frac{d\gamma}{m} \right)$$
#
# Look at what is subtracted: the mean of $dy$, and the part of $dy$ that is proportional to $\hat{x}$. So $dx$ has sum
# zero, and no part along $\hat{x}$. It must be so: shifting or scaling all of $x$ does not change $y$, and a gradient
# never points where nothing changes. Here are the three parts for six numbers:

# %%
x = np.array([0.0, 1, 2, 3, 4, 8]).reshape(6, 1, 1, 1)
dy = np.array([0.0, 0, 1, 0, 0, 0]).reshape(6, 1, 1, 1)
mean, var = channel_statistics(x)
rho = 1 / np.sqrt(var + 1e-5)
x_hat = (x - mean) * rho
parts = {
    "directly": rho * dy,
    "through μ": -rho * dy.mean() * np.ones_like(dy),
    "through ρ": -rho * x_hat * (dy * x_hat).mean(),
    "dx, their sum": naive_backward(dy, x, np.ones(1), mean, var)[0],
}
norm_pictures.paths({name: values.flatten() for name, values in parts.items()})

# %% [markdown]
# ## Exercise 2: batch-norm backward
#
# In training mode, with ε = 1e-5. Compute $\mu$ and $\sigma^2$ from `x`.


# %%
def batch_norm_backward(dy, x, weight):
    """dy, x: [N, C, H, W], weight: [C] -> dx: [N, C, H, W], dweight: [C], dbias: [C]."""
    # BEGIN SOLUTION
    axes = (0, 2, 3)
    m = x.size // x.shape[1]
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    rho = 1 / np.sqrt(var + 1e-5)
    x_hat = (x - mean) * rho
    dbias = dy.sum(axes, keepdims=True)
    dweight = (dy * x_hat).sum(axes, keepdims=True)
    dx = weight[:, None, None] * rho * (dy - dbias / m - x_hat * dweight / m)
    return dx, dweight.ravel(), dbias.ravel()
    # END SOLUTION


# %%
check_batch_norm_backward(batch_norm_backward)

# %% [markdown]
# ## Local response normalisation
#
# Its older cousin looks across channels, at one pixel. A value is divided by the activity of its neighbour channels, so
# that a loud channel silences those around it:
#
# $$y[c] = x[c]\, d[c]^{-\beta} \qquad
# d[c] = k + \frac{\alpha}{\text{size}}
# \sum_{c' = c - \lfloor \text{size}/2 \rfloor}^{c + \lfloor (\text{size} - 1)/2 \rfloor} x[c']^2$$
#
# over those channels $c'$ that exist.

# %%
x = torch.tensor([1.0, 1, 1, 1, 5, 1, 1, 1, 1, 1])
outputs = {
    f"size {size}": mc.layers.LocalResponseNorm(size, alpha=1.0, beta=0.75, k=1.0)(
        x.view(1, -1, 1)
    )
    .flatten()
    .numpy()
    for size in (3, 4)
}
norm_pictures.inhibition(x.numpy(), outputs)

# %% [markdown]
# With size 3, channels 3 and 5 are pushed down by the loud channel 4. With size 4 there is no middle: the window has
# one channel more *before* $c$ than after it, so channels 3, 5 and 6 hear channel 4. That is torch's convention. Two
# more of them: α is divided by the size (in the paper by Krizhevsky it is not), also at the edges, where fewer channels
# exist.
#
# ## Exercise 3: who is in the window?


# %%
def neighbours(c, size, channels):
    """The list of channels over which d[c] sums, ascending."""
    # BEGIN SOLUTION
    first, last = c - size // 2, c + (size - 1) // 2
    return [k for k in range(first, last + 1) if 0 <= k < channels]
    # END SOLUTION


# %%
check_neighbours(neighbours)

# %% [markdown]
# ## What people get wrong
#
# - **`model.eval()` forgotten.** Readings then depend on their batch. A batch of one image with 24 frames still
#   "works".
# - **Evaluated too early**: after few batches the running averages are mostly their beginning (the right histogram).
# - **The gradient of evaluation mode in training.** It has the right shape and a plausible size; training just gets
#   slow and strange. Compare with differences: `mc.check_gradients`.
# - **Momentum turned around.** Keras's 0.99 is torch's 0.01.
# - **A bias before BatchNorm.** It is subtracted again with μ, and its gradient is zero. Our presets leave it out.
# - **Padding counted.** In training the means go over the whole batch, padding included. Batches of images of similar
#   width keep that share small.
#
# ## Where to read on
#
# - Ioffe and Szegedy, *Batch Normalization* (2015), algorithms 1 and 2 and section 3.1; Krizhevsky, Sutskever and
#   Hinton (2012), section 3.3, for local response normalisation.
# - `minicrnn/naive/norm.py`: the gradient there is the double sum over all pairs, ∂x̂[j]/∂x[i], from which the formula
#   above is the short form. `minicrnn/layers/batch_norm.py` has it in two passes over memory.
