# %% [markdown]
# # 1 · Sizes before values
#
# **An image is 100 pixels wide. Why does the network make 24 frames of it: not 25, not 26?**
#
# A **frame** is a column of the network's output: what it has to say about one narrow slice of the image. All three
# numbers are in circulation. The paper that this network comes from (Shi, Bai and Yao, 2015) speaks of 25 frames, its
# authors' released code makes 26, and the table printed in the paper gives 24. To know which, you need one formula. It
# is worth learning well: a wrong size stops a program at once, but a window that lies one pixel off goes on silently.
#
# *20 minutes. You need: Python, and that ⌊ ⌋ rounds down.*

# %%
from minicrnn.checks.exercises_sizes import (
    check_conv_output_size,
    check_input_sizes,
    check_keras_padding,
)
from minicrnn.shapes import conv_output_size, keras_same_padding, pool_output_size, same_padding
from minicrnn.tutorials import size_pictures, style

style.use()
size_pictures.windows_side_by_side(
    [
        (7, 3, 2, (0, 0), "7 pixels, window 3, step 2: 3 windows"),
        (8, 3, 2, (0, 0), "8 pixels: still 3, and one is left over"),
    ]
)

# %% [markdown]
# ## The formula, counted by hand
#
# A convolution lays a window over the pixels, computes one number, moves on, and computes the next. How many numbers?
#
# Look at the left picture: each coloured bar is a window, each dot on it a **tap**, a pixel that it reads. The first
# window covers pixels 0, 1, 2. Then there is room to the right: 7 − 3 = 4 pixels. Each step of 2 uses up 2 of them, so
# that 2 steps fit. Two *steps*, three *windows*:
#
# $$\text{output} = \left\lfloor \frac{7 - 3}{2} \right\rfloor + 1 = 3$$
#
# On the right there are 5 pixels of room. ⌊5 / 2⌋ is 2 again; the last pixel is never read. Nobody tells you so.
#
# Two more things change what there is to count. **Padding** adds p₁ pixels before and p₂ after, mostly zeros; where a
# program takes one number, `padding=1`, both are 1. **Dilation** d pulls the taps apart: from each to the next it is d
# pixels (1, if nothing is said). k taps have k − 1 such steps between them, so that from its first tap to its last the
# window covers d·(k − 1) + 1 pixels, its *extent*. With k = kernel_size and s = stride, the step of the window:
#
# $$\text{extent} = d\,(k - 1) + 1 \qquad
# \text{output} = \left\lfloor \frac{\text{size} + p_1 + p_2 - \text{extent}}{s} \right\rfloor + 1$$
#
# That is all. It holds for convolutions and for pools (chapter 3), along the height and along the width, each axis by
# itself. One habit to know: a convolution's stride is 1 if nothing is said, a pool's is as large as its window.

# %%
print("100 wide, conv 3, padding 1: ", conv_output_size(100, kernel_size=3, padding=1))
print("the same with stride 2:      ", conv_output_size(100, kernel_size=3, stride=2, padding=1))
print("25 wide, conv 2, no padding: ", conv_output_size(25, kernel_size=2))
print("25 wide, pool 2 (stride 2):  ", pool_output_size(25, kernel_size=2))

# %% [markdown]
# ### Exercise 1: `conv_output_size`
#
# Write it for a `padding` that is the same on both sides. The check draws sizes at random, compares with the
# library's function, and says which case differs. (As long as it says "not yet", that is no error: it waits for you.)


# %%
def my_output_size(size, kernel_size, stride, padding, dilation):
    """How many windows fit into `size` pixels: an integer."""
    # BEGIN SOLUTION
    extent = dilation * (kernel_size - 1) + 1
    return (size + 2 * padding - extent) // stride + 1
    # END SOLUTION


# %%
check_conv_output_size(my_output_size)

# %% [markdown]
# ## Backwards
#
# A recogniser needs enough frames for its text, so the question often comes the other way round: *how large must the
# input be?* There is no single answer. In the picture above, 7 pixels and 8 pixels both gave 3 windows: ⌊ ⌋ forgets up
# to s − 1 pixels. The smallest size is the one where the last window ends exactly at the last pixel, that of the
# padding, if there is any.

# %%
for size in range(5, 12):
    print(f"{size:3} pixels -> {conv_output_size(size, kernel_size=3, stride=2)} windows")

# %% [markdown]
# ### Exercise 2: invert it
#
# Solve the formula for the size (no dilation here; padding on both sides). The smallest: n windows take n − 1 steps.
# The largest: one pixel more, and one more window would fit.


# %%
def my_input_sizes(output, kernel_size, stride, padding):
    """The smallest and the largest size that give `output` windows: (smallest, largest)."""
    # BEGIN SOLUTION
    smallest = (output - 1) * stride + kernel_size - 2 * padding
    return smallest, smallest + stride - 1
    # END SOLUTION


# %%
check_input_sizes(my_input_sizes)

# %% [markdown]
# ## A stack, and where 24 comes from
#
# In a network the output of one layer is the input of the next: apply the formula over and over. The library does
# that for a whole model, without running it: `describe` computes each row from the modules alone. (The 37 classes are
# 26 letters, 10 digits and a blank; they change no size. In the picture p1 is a padding of 1, and [64 channels] says
# that each place holds 64 numbers. BatchNorm and ReLU work on each number by itself and keep all sizes.)

# %%
import minicrnn as mc

model = mc.CRNN.from_preset("paper", num_classes=37)
table = mc.describe(model, height=32, width=100)
size_pictures.draw_stack(table, "the feature stack of the paper, for an image of 32 × 100")

# %% [markdown]
# Follow the width: 100, halved to 50, halved to 25. The 3×3 convolutions have padding 1 and keep it. Then come two
# pools that are 2 high and 1 wide: they halve the height and leave the width alone, because along the width lie the
# letters, and each needs a frame. At last a 2×2 convolution without padding: 25 − 2 + 1 = **24**.
#
# And the others? The paper's text counts 25, as if the last convolution took nothing away. The released code gives its
# rectangular pools a window 2 wide, a step of 1 and a padding of 1, so that each *adds* a frame:

# %%
width = 25
for name, k, s, p in (
    ("pool 2, step 1, padding 1", 2, 1, 1),
    ("and again", 2, 1, 1),
    ("conv 2", 2, 1, 0),
):
    wider = conv_output_size(width, k, s, p)
    print(f"{name:<26} {width} -> {wider}")
    width = wider

# %% [markdown]
# 26. Three numbers, three networks; each is right for its own layers. The rule for ours, with W for the width of the
# image and T for the number of frames: **T = ⌊⌊W/2⌋/2⌋ − 1**, one frame for every four pixels, less one.

# %%
for width in (8, 32, 99, 100, 101, 104, 400):
    print(f"width {width:4} -> {model.frames_for_width(width):3} frames")

# %% [markdown]
# ## 'same' is not the same
#
# `padding="same"` says: give me as many outputs as there are inputs. At stride 1 everyone agrees. The total padding is
# d·(k − 1); half of it goes before, half after, and an odd pixel goes after:

# %%
for k in (2, 3, 4, 5):
    print(f"kernel {k}: padding {same_padding(k)}")

# %% [markdown]
# With a stride there are two opinions. **torch refuses** to answer. **Keras** promises ⌈size / s⌉ outputs (⌈ ⌉ rounds
# up) and pads as much as that takes. n windows take n − 1 steps, and after the last step there must be room for one
# extent: (n − 1)·s + extent pixels. What of this the image does not have is padding, so that it depends on the *size*:
#
# $$\text{total} = \max\bigl(0,\ (\lceil \text{size}/s \rceil - 1)\,s + d\,(k - 1) + 1 - \text{size}\bigr)
# \qquad p_1 = \lfloor \text{total} / 2 \rfloor,\quad p_2 = \text{total} - p_1$$
#
# (If the image has more than enough, the windows skip some pixels: no padding, hence the max.)
#
# Eight pixels, window 3, stride 2. torch users write `padding=1` and get 4 outputs. Keras's 'same' gives 4 outputs,
# too: its total is 3·2 + 3 − 8 = 1, none before, 1 after. The sizes agree, so nothing complains. Now look at *which
# pixels* the windows read:

# %%
size_pictures.windows_side_by_side(
    [
        (8, 3, 2, (1, 1), "torch, padding=1"),
        (8, 3, 2, keras_same_padding(8, 3, 2), "Keras, padding='same'"),
    ]
)

# %% [markdown]
# On the left the windows are centred at pixels 0, 2, 4, 6; on the right at 1, 3, 5, 7. Weights trained in one and run
# in the other look at an image that is shifted by a pixel in every such layer. The network still works, only worse:
# the most expensive kind of mistake. (In the picture a 0 in a dotted box is padding.)
#
# ### Exercise 3: Keras's padding
#
# Write the two numbers for a size and a stride (no dilation).


# %%
def my_keras_padding(size, kernel_size, stride):
    """Keras's 'same': (before, after)."""
    # BEGIN SOLUTION
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + kernel_size - size)
    return total // 2, total - total // 2
    # END SOLUTION


# %%
check_keras_padding(my_keras_padding)

# %% [markdown]
# ## What people get wrong
#
# - **Steps for windows.** The fraction counts steps. There is one window more: + 1.
# - **d·k for the extent.** Three taps with dilation 2 cover 5 pixels, not 6.
# - **Rounding at the end.** Each layer rounds down by itself. 103 wide: ⌊103/2⌋ = 51, ⌊51/2⌋ = 25. Dividing once by 4
#   happens to agree here; with padding and odd windows in between it does not.
# - **Resizing every image to 100 pixels.** Then a long word has as many frames as a short one, and may not fit
#   (chapter 8). Here the height is fixed, the width keeps its ratio, and the frames follow the width.
# - **`ceil_mode`.** A pool with `ceil_mode=True` rounds up: its last window may hang over the end. 25 wide gives 13.
#
# ## Where to read on
#
# - Dumoulin and Visin, *A guide to convolution arithmetic for deep learning* (arXiv 1603.07285), section 2.4 and
#   relationships 6 and 15.
# - Shi, Bai and Yao (arXiv 1507.05717), table 1: the stack drawn above.
# - `minicrnn/shapes.py`: all of this chapter. It also computes receptive fields, which are chapter 5.
# - Next: what the window *computes*, and how its gradient flows back (chapter 2).
