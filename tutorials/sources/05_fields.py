# %% [markdown]
# # 5 · Receptive fields and map-to-sequence
#
# **How much of the word does one frame see, and where exactly?**
#
# 20 minutes. You should know the sizes of chapter 1.

# %%
MY_FOLDER = None  # or a folder of your own: images and labels.tsv (path, tab, text)

import torch

import minicrnn as mc
from minicrnn.checks.exercises_fields import check_field, check_stack
from minicrnn.data import to_tensor
from minicrnn.shapes import Window, receptive_field
from minicrnn.tutorials import field_pictures, samples, style

style.use()
image, text = samples.word("receptive", MY_FOLDER)
torch.manual_seed(0)
model = mc.CRNN.from_preset("tiny", num_classes=37).eval()
field = receptive_field(model.windows())
T = model.frames_for_width(image.shape[1])
field_pictures.fields_over_word(image, field, [1, T // 3, 2 * T // 3, T - 2], T)

# %% [markdown]
# Four frames of the preset `tiny`. Each is responsible for 4 pixels of the width (dark), but it *sees* 30 (light): its
# own letter and a bit of the neighbours. What lies outside of the light bar cannot change it, whatever the weights.
#
# ## Three numbers
#
# Along one axis a stack of convolutions and pools is described by three numbers:
#
# - **size**: how many pixels an output sees,
# - **jump**: how many pixels lie between two neighbouring outputs,
# - **start**: the first pixel that output 0 sees. It is negative where there is padding.
#
# Begin with size 1, jump 1, start 0 (a pixel sees itself). A layer with kernel $k$, stride $s$ and padding $p$ then
# gives
#
# $$\text{size} \mathrel{+}= (k - 1) \cdot \text{jump} \qquad \text{start} \mathrel{-}= p \cdot \text{jump}$$
# $$\text{jump} \mathrel{\times}= s$$
#
# in this order. The taps of a window lie one *jump* apart, so its $k - 1$ steps reach that much farther. Padding is in
# steps, too. By hand: a 3-wide convolution with padding 1 gives size 3, start −1. A pool of 2 after it: size
# 3 + 1 · 1 = 4, and jump 2. The next 3-wide convolution adds 2 · **2**: size 8. That is why layers after a pool widen
# the view faster than layers before it:

# %%
conv, halve, keep = Window(3, padding=1), Window(2, 2), Window(1, 1)
names = [
    "conv 3",
    "pool 2",
    "conv 3",
    "pool 2",
    "conv 3",
    "pool (2,1)",
    "conv 3",
    "pool (2,1)",
    "conv 2",
]
along_width = [conv, halve, conv, halve, conv, keep, conv, keep, Window(2)]
field_pictures.pyramid(list(zip(names, along_width, strict=True)))

# %% [markdown]
# ## Exercise 1: the field of a stack
#
# Return size, jump and start.


# %%
def my_field(layers):
    """layers: (kernel, stride, padding) of each, the first one reads the image -> size, jump, start."""
    # BEGIN SOLUTION
    size, jump, start = 1, 1, 0
    for k, s, p in layers:
        size += (k - 1) * jump
        start -= p * jump
        jump *= s
    return size, jump, start
    # END SOLUTION


# %%
check_field(my_field)

# %% [markdown]
# Output $t$ then sees the pixels from $\text{start} + t \cdot \text{jump}$ on, and its middle is at
# $\text{start} + t \cdot \text{jump} + (\text{size} - 1) / 2$. This is how `Reader` knows where in the image a
# character was read.
#
# ## Ask the gradient
#
# Do not believe the arithmetic: ask autograd. $\partial\, \text{frame}_t / \partial\, \text{pixel}$ must be exactly
# zero outside of the field. (Bright: strong, on a logarithmic scale; the dashed box is the theory.)

# %%
pixels = to_tensor(image)[None].requires_grad_()
t = T // 2
with mc.use_backend("torch"):
    features = model.to_sequence(model.features(pixels))  # [T, 1, C]
    through_features = torch.autograd.grad(features[t].abs().sum(), pixels)[0][0, 0].abs()
    logits, _ = model(pixels)
    through_lstm = torch.autograd.grad(logits[t].abs().sum(), pixels)[0][0, 0].abs()
span = field.span(t, width=image.shape[1])
outside = torch.cat([through_features[:, : span[0]], through_features[:, span[1] :]], dim=1)
print(f"largest gradient outside of the field: {outside.max():g}")
field_pictures.sensitivity(
    image,
    [
        (f"frame {t} of the features", through_features.numpy(), span),
        (f"logits of frame {t}, after the BiLSTM", through_lstm.numpy(), span),
    ],
)

# %% [markdown]
# Two things to see. First, the field is not used evenly: the middle counts most, because many paths through the layers
# lead there and few to the edge. The *effective* field is smaller than the theoretical one. Second, after the
# bidirectional LSTM a frame hears the **whole word**. The convolutions look, the LSTMs connect.
#
# ## What the layers see
#
# The loudest channels at each station. The network is untrained, and yet its first maps are edges and blurs: random
# 3×3 windows are.

# %%
stations, x = [("image", to_tensor(image).numpy())], to_tensor(image)[None]
with torch.no_grad(), mc.use_backend("torch"):
    for name, layer in model.features.named_children():
        x = layer(x)
        if name.startswith("pool") or name == "relu5":
            stations.append((f"{name}\n{x.shape[1]}×{x.shape[2]}×{x.shape[3]}", x[0].numpy()))
field_pictures.feature_maps(stations)

# %% [markdown]
# ## Map to sequence
#
# The last map has height 1. Its columns, from left to right, *are* the sequence: nothing is computed, axes are renamed.
#
# $$y[t, n, c] = x[n, c, 0, t] \qquad x: [N, C, 1, W] \;\to\; y: [W, N, C]$$

# %%
frames = mc.layers.MapToSequence()(x)
print(
    f"{list(x.shape)} → {list(frames.shape)}; shares memory: {frames.data_ptr() == x.data_ptr()}"
)
field_pictures.columns_to_frames(x[0, :, 0].numpy(), chosen=t)

# %% [markdown]
# If the height were 2, there would be two rows, and half of the picture would have to go somewhere. Some flatten it
# into the channels. Here it is an error that says what to do.
#
# ## Exercise 2: design a stack
#
# For images 32×100, of your own layers:
#
# - the height ends at 1,
# - there are at least 24 frames,
# - each frame sees all 32 rows, and at least 24 pixels of the width,
# - 12 layers at most.
#
# A layer is `(kernel, stride, padding)`, and each of these is `(height, width)`. Convolutions and pools are the same
# here.

# %%
# BEGIN SOLUTION
conv3 = ((3, 3), (1, 1), (1, 1))
square, tall = ((2, 2), (2, 2), (0, 0)), ((2, 1), (2, 1), (0, 0))
stack = [conv3, square, conv3, square, conv3, tall, conv3, tall, ((2, 2), (1, 1), (0, 0))]
# student: stack = None  # for example [((3, 3), (1, 1), (1, 1)), ((2, 2), (2, 2), (0, 0))]
# END SOLUTION
check_stack(stack)

# %% [markdown]
# The library does the same arithmetic for any network:

# %%
mc.describe(model, height=32, width=image.shape[1])

# %% [markdown]
# ## What people get wrong
#
# - **Updating the jump first.** A layer's taps lie the jump of its *input* apart.
# - **Padding forgotten in `start`.** All places in the image are then off by a few pixels to the right: `tiny`'s frame
#   0 does not begin at pixel 0 but before it.
# - **The box taken for what is used.** The gradient above is what is used, and it is narrower.
# - **`view` instead of `permute`** when a map becomes a sequence: shapes fit, values are scrambled, and the network
#   even learns a little.
# - **A field that is too small**: with less than a letter's width, "m" and "nn", or "cl" and "d", look the same until
#   the LSTM mends it.
#
# ## Where to read on
#
# - Araujo, Norris and Sim, *Computing receptive fields of convolutional neural networks* (Distill, 2019); Luo, Li,
#   Urtasun and Zemel, *Understanding the effective receptive field* (2016); Shi, Bai and Yao, section 2.1.
# - `minicrnn/shapes.py` (`receptive_field`, `min_width_for`), `minicrnn/layers/sequence.py`, `minicrnn/summary.py`.
