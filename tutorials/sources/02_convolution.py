# %% [markdown]
# # 2 · Convolution, forward and backward
#
# **A window slides over the image and makes numbers. When the loss asks "who is to blame?", what slides back?**
#
# The answer is short: the gradient of the image is a convolution, too, with the kernel turned round; and so is the
# gradient of the kernel. By the end of this chapter you have written both, and know where the turning comes from.
#
# *30 minutes. You need: chapter 1, the chain rule, matrix products.*

# %%
import numpy as np
import torch

import minicrnn as mc
from minicrnn.checks.exercises_convolution import check_conv2d_backward, check_window_matrix
from minicrnn.naive.conv import conv2d_backward, conv2d_forward
from minicrnn.tutorials import convolution_pictures, samples, style

style.use()
digit, name = samples.digit(0)  # from scikit-learn; any 8 × 8 array will do
edges = np.array([[1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [1.0, 0.0, -1.0]])
y = conv2d_forward(digit[None, None], edges[None, None])
convolution_pictures.draw_window(digit, edges, y[0, 0], at=(2, 1))

# %% [markdown]
# ## Forward: a weighted sum at every place
#
# The framed number on the right is the framed window on the left, times the kernel in the middle, number by number, and
# added up. This kernel has 1 on its left and −1 on its right: it is positive where ink ends and paper begins, from left
# to right. It finds edges. A network's kernels are learnt, but they do this same thing.

# %%
window = digit[2:5, 1:4]
print(window)
print("sum of window × kernel:", (window * edges).sum(), "   in the map:", y[0, 0, 2, 1])

# %% [markdown]
# Now in full. There are N images. An image has several **channels**, numbers at each pixel, as a photograph has red,
# green and blue; a layer has a kernel for each pair of a channel in and a channel out. s is the stride, d the dilation,
# each along the height (h) and the width (w), xp the padded image, b the bias, one number for each channel out:
#
# $$y[n, j, h, w] = b[j] + \sum_i \sum_u \sum_v xp[n,\ i,\ s_h h + d_h u,\ s_w w + d_w v]\; W[j, i, u, v]$$
#
# n counts images, i input channels, j output channels, (u, v) the taps of the kernel (the places in it), (h, w) the
# places of the output. In the picture n = i = j = 0, s = d = 1 and b = 0, and two sums are left. It is a *linear layer
# of every window*, with the same weights everywhere. (In mathematics a convolution flips the kernel, and this is called
# cross-correlation. Deep learning does not flip it, and calls it convolution all the same.)
#
# ## One big matrix product
#
# Seven loops are slow. Computers are good at one thing: products of large matrices. So write each window as a *row*:

# %%
small = np.arange(1.0, 13.0).reshape(1, 3, 4)
matrix = np.array([small[0, h : h + 2, w : w + 2].ravel() for h in range(2) for w in range(3)])
convolution_pictures.draw_window_matrix(small[0], matrix)

# %% [markdown]
# With the matrix of windows X and the kernels as a matrix W of one row for each output channel, the convolution *is* a
# linear layer:
#
# $$y[m, j] = b[j] + \sum_k X[m, k]\, W[j, k] \qquad m = (n, h, w) \quad k = (u, v, i)$$
#
# Here m numbers the rows of X, a window each, and k the numbers in a row: "m = (n, h, w)" says that one counts through
# all images, in each through all rows of places, and in each of these along the row.
#
# The price is memory: above, 6 and 7 stand in X four times; with a 3×3 kernel a pixel stands in it up to nine times.
# (This is called *im2col*.) The layer of this project works so, a few images at a time so that X stays in the cache;
# 3×3 kernels have a faster way, chapter 13.
#
# ### Exercise 1: the matrix of windows
#
# Stride 1, no padding, one image; now with C channels. The order matters: the windows follow the image's rows, so that
# (h, w) is row m = h · W_out + w of X (H_out × W_out are the places, chapter 1). In a row the taps come in the order
# (u, v, i), so that the channel i runs fastest: `x[0, h, w], x[1, h, w]` stand side by side.


# %%
def my_window_matrix(x, kh, kw):
    """The windows of one image. x: [C, H, W] -> X: [H_out * W_out, kh * kw * C]."""
    # BEGIN SOLUTION
    _, H, W = x.shape
    windows = [
        x[:, h : h + kh, w : w + kw].transpose(1, 2, 0).ravel()
        for h in range(H - kh + 1)
        for w in range(W - kw + 1)
    ]
    return np.array(windows)
    # END SOLUTION


# %%
check_window_matrix(my_window_matrix)

# %% [markdown]
# ## Backward: by hand, on four pixels
#
# Four pixels x₀ … x₃ in a row, a kernel of two taps a and b, three outputs:
#
# $$y_0 = a x_0 + b x_1 \qquad y_1 = a x_1 + b x_2 \qquad y_2 = a x_2 + b x_3$$
#
# The layer above hands us dy₀, dy₁, dy₂, where dy₁ is short for ∂loss/∂y₁: how much the loss grows if y₁ grows a
# little. Who is to blame? Take x₁. It stands in y₀, with the factor b, and in y₁, with the factor a. Take a. It stands
# in all three, with the factors x₀, x₁, x₂. **Every use of a value adds to its gradient**:
#
# $$dx_1 = b\, dy_0 + a\, dy_1 \qquad\qquad da = x_0\, dy_0 + x_1\, dy_1 + x_2\, dy_2$$
#
# Look at dx₁. Going along dy from left to right we meet b first, then a: **the kernel is turned round**. That is no
# rule to remember; it follows. Forward, tap u looks u pixels to the *right*. So a pixel is seen by windows that begin
# to its *left*. In two dimensions, for the pixel in the middle and the kernel 1 2 / 3 4:

# %%
convolution_pictures.draw_gather(np.array([[1.0, 2.0], [3.0, 4.0]]))

# %% [markdown]
# There is a second way to see the same thing. Do not ask each pixel from where it gathers; let each output *scatter*.
# The output y[h, w] used the window at (h, w) with the weights W. So its share of the blame goes to the pixels of that
# window, in proportion to W: **the kernel is stamped onto the image, not turned round**, once for each output:

# %%
kernel = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
dy = np.zeros((4, 5))
dy[1, 2] = 2.0
dx, _, _ = conv2d_backward(dy[None, None], np.zeros((1, 1, 6, 7)), kernel[None, None])
convolution_pictures.draw_stamp(dy, kernel, dx[0, 0], at=(1, 2))

# %% [markdown]
# Gathering turns the kernel, scattering does not, and the result is the same. Most mistakes in this place come from
# doing half of one and half of the other. In formulas, scatter for dx, and for dW "take each use of this weight, and
# what it was multiplied with", as for a above. With a stride and no padding, for all images and channels:
#
# $$dx[n, i, s_h h + u, s_w w + v] \mathrel{+}= \sum_j dy[n, j, h, w]\, W[j, i, u, v]
# \qquad\text{for all } n, i, h, w, u, v$$
#
# $$dW[j, i, u, v] = \sum_{n, h, w} dy[n, j, h, w]\; x[n, i, s_h h + u, s_w w + v]
# \qquad db[j] = \sum_{n, h, w} dy[n, j, h, w]$$
#
# (b[j] is added at every place of map j, hence db.) At stride 1 these are convolutions: dW is the convolution of the
# image with dy as the kernel, and dx is that of dy, with a border of zeros, with the flipped kernel. To get the letters
# in their places, channels and images are swapped; for dW the sum over the images n plays the part that the sum over
# the channels plays in the forward pass. So a forward pass can compute its own backward pass:

# %%
rng = np.random.default_rng(0)
x, weight = rng.normal(size=(1, 2, 6, 7)), rng.normal(size=(3, 2, 3, 3))  # 2 channels in, 3 out
dy = rng.normal(size=(1, 3, 4, 5))
dx, dweight, dbias = conv2d_backward(dy, x, weight)

# Turned round, and the channels in and out change places.
flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
dx_too = conv2d_forward(dy, flipped, pads=(2, 2, 2, 2))  # 3 − 1 at the top, bottom, left, right
dweight_too = conv2d_forward(x.swapaxes(0, 1), dy.swapaxes(0, 1)).swapaxes(0, 1)
print("dx is a convolution of dy with the flipped kernel:", np.allclose(dx, dx_too))
print("dW is a convolution of x with dy:                 ", np.allclose(dweight, dweight_too))

# %% [markdown]
# ### Exercise 2: `conv2d_backward`
#
# Write all three gradients, with a stride and without padding. Loops are fine (`np.ndindex(*dy.shape)` runs over all
# places). The check begins with four pixels and two taps, so that you can follow a wrong number by hand.


# %%
def my_conv2d_backward(dy, x, weight, stride):
    """dy: [N, J, H_out, W_out], x: [N, I, H, W], weight: [J, I, kh, kw], stride: (s_h, s_w)

    -> dx: like x, dweight: like weight, dbias: [J]
    """
    # BEGIN SOLUTION
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    (s_h, s_w), (kh, kw) = stride, weight.shape[2:]
    for n, j, h, w in np.ndindex(*dy.shape):
        rows, columns = slice(s_h * h, s_h * h + kh), slice(s_w * w, s_w * w + kw)
        dx[n, :, rows, columns] += dy[n, j, h, w] * weight[j]
        dweight[j] += dy[n, j, h, w] * x[n, :, rows, columns]
    return dx, dweight, dy.sum((0, 2, 3))
    # END SOLUTION


# %%
check_conv2d_backward(my_conv2d_backward)

# %% [markdown]
# ## The same with matrices
#
# With y = X Wᵀ + b there is nothing new to derive. X[m, k] is used in y[m, j] for every j, with the factor W[j, k];
# W[j, k] in y[m, j] for every m, with the factor X[m, k]. Every use adds, and these sums are matrix products:
#
# $$dX = dy\, W \qquad dW^\top = X^\top dy \qquad db = \sum_m dy[m]$$
#
# dX holds a gradient for each *copy* of a pixel; adding the copies up gives dx. These three lines are
# `conv2d_backward` in `minicrnn/layers/conv.py`. How does one trust such code? One asks the definition of a derivative:
# move each input a little to both sides and look at the loss. The check for that is public; use it on your own layers.
# (The first time, the library may say that it compiles a kernel. That is no error.)

# %%
torch.manual_seed(0)
layer = mc.layers.Conv2d(2, 3, kernel_size=3, stride=2, padding=1).double()
print(mc.check_gradients(layer, [torch.randn(2, 2, 5, 6, dtype=torch.float64)]))

# %% [markdown]
# The gradient that it sends in from above is random. With all ones, every pixel in the interior gets the sum of all
# taps, turned round or not: a missing flip goes unseen.
#
# ## What people get wrong
#
# - **The flip, once too often or not at all.** Gather with the flipped kernel, *or* stamp the kernel as it is.
# - **`=` for `+=`.** A pixel is in many windows. The last one must not win.
# - **The padding in the wrong order.** Forward it comes first, so backward it comes last: compute the gradient of the
#   padded image, then cut the border off.
# - **dx in the first layer.** Nobody needs the gradient of the image itself. Skip it: that is a large part of the work
#   of the first layer. (The library asks `ctx.needs_input_grad`.)
# - **Averages.** The loss may be a mean; the gradient of a shared weight is a *sum* over its uses.
#
# ## Where to read on
#
# - Dumoulin and Visin (arXiv 1603.07285), chapter 4: the backward pass as a convolution, with pictures for each stride.
# - Chellapilla, Puri and Simard, *High performance convolutional neural networks for document processing* (2006): the
#   matrix of windows.
# - `minicrnn/naive/conv.py`: the definition in loops; `minicrnn/layers/conv.py` and `window_matrix.py`: the layer.
# - Next: pools, where most pixels get no gradient at all (chapter 3). Fewer multiplications: Winograd, chapter 13.
