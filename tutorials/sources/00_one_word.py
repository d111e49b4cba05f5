# %% [markdown]
# # 0 · One word, end to end
#
# **How does a machine read a word, when nobody tells it where a letter begins or ends?**
#
# In the next fifteen minutes you train a network from nothing and watch it read. Everything that is used is written in
# this project, by hand; the fourteen chapters after this one take it apart. Here is the whole way, left to right:
#
# *15 minutes, of which the computer takes one or two. You need: Python.*

# %%
import torch
from IPython.display import Image

import minicrnn as mc
from minicrnn.checks.exercises_sizes import check_frames
from minicrnn.plots import plot_reading
from minicrnn.tutorials import samples, size_pictures, strip_pictures, style

MY_FOLDER = None  # or a folder of your own: some hundred images, labels.tsv (path, tab, text)

style.use()
torch.manual_seed(0)
course = samples.course(steps=400, letters="dehlorw", folder=MY_FOLDER)
image, text = samples.word("hello", MY_FOLDER)
model = mc.CRNN.from_preset("tiny", course.alphabet.num_classes)
strip_pictures.draw_strip(image, model, text)

# %% [markdown]
# ## An image is numbers
#
# The word is grey, 32 pixels high, one number from 0 (black) to 255 (white) for each pixel. The network gets the same
# numbers moved to −1 … 1, in a tensor of the shape `[N, C, H, W]`: N images, C channels (one: grey), height, width.

# %%
print("the image:", image.shape, image.dtype, "from", image.min(), "to", image.max())
x = mc.data.to_tensor(image)[None]
widths = torch.tensor([x.shape[3]])
print("for the network:", tuple(x.shape), x.dtype, f"from {x.min():.2f} to {x.max():.2f}")

# %% [markdown]
# ## From pixels to frames
#
# Convolutions and pools turn the image into a row of **frames**, from left to right. Each is a vector of 128 numbers
# that describes one thin slice of the word. Here are the slices:

# %%
strip_pictures.draw_frames(image, model)

# %% [markdown]
# A letter is often wider than one frame, and the frames do not begin where letters begin. Nobody has told the network
# which frame belongs to which letter, and nobody will. That is what makes this hard, and what CTC solves (chapter 8).
#
# How many frames does an image have? For an image of 32 × 100 the library knows the size after each layer without
# running it (`print(mc.describe(model))` gives it as a table). Look at the second number, the width:

# %%
size_pictures.draw_stack(mc.describe(model, height=32, width=100))

# %% [markdown]
# ### Exercise: the frames of a width
#
# Along the width this happens, in this order (chapter 1 derives it; rounding is always down):
#
# 1. 3×3 convolutions with a padding of 1 keep the width, wherever they stand;
# 2. the first two pools are 2 wide and halve it, each;
# 3. the other two pools are 1 wide (they halve the height only) and keep it;
# 4. the last convolution is 2 wide without padding: it takes 1 away.
#
# Write how many frames an image of a width gets. 100 pixels must give 24.


# %%
def frames(width):
    """The number of frames T of an image `width` pixels wide: an integer."""
    # BEGIN SOLUTION
    return width // 2 // 2 - 1
    # END SOLUTION


# %%
check_frames(frames)

# %% [markdown]
# ## Before training
#
# After the convolutions, an LSTM runs over the frames in both directions (chapters 6 and 7), and a linear layer gives
# each frame a score for every class: each character, and the **blank**, written "–", which says "nothing new here". A
# softmax makes probabilities of the scores. What does the network say at each frame before it has learnt anything?
#
# (In a new installation this cell and the next two compile kernels for this computer. That takes a minute, once. A note
# about it may stand on red: it is no error.)

# %%
names = ["–", *course.alphabet.characters]


def best_of_each_frame(model):
    """The class with the highest probability at each frame, as a string."""
    model.eval()
    with torch.inference_mode():
        logits, _ = model(x, widths)
    return " ".join(names[k] for k in logits[:, 0].argmax(1).tolist())


best_of_each_frame(model)

# %% [markdown]
# Nonsense. The weights are random numbers.
#
# ## Training
#
# The training data are words made up on the spot from seven letters, drawn in random sizes, slants and inks, each with
# its text and *nothing else*. (Seven letters, so that a minute suffices. `minicrnn demo` takes two minutes for all
# letters and digits.) A step is: read 16 words, let the CTC loss say how improbable their texts are, walk the gradient
# back through every layer, and change each weight a little.

# %%
model.train()
steps, peak = 400, 5e-3
optimiser = torch.optim.AdamW(model.parameters(), lr=peak)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=0.1)

losses = []
for batch in course.batches:
    logits, frame_lengths = model(batch.images, batch.widths)  # [T, N, K], [N]
    loss = mc.ctc_loss_from_logits(logits, batch.targets, frame_lengths, batch.target_lengths)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    schedule.step()
    losses.append(loss.item())

strip_pictures.draw_losses(losses)

# %% [markdown]
# The curve has a shape that you will meet again. In the first steps it falls fast: the network learns to say "blank"
# everywhere, the best guess of someone who cannot read. Then it stays flat for a while; then the letters come.
#
# ## After training

# %%
best_of_each_frame(model)

# %% [markdown]
# There it is. Two rules make a text of it: **merge** neighbours that are equal, then **drop** the blanks. (A blank
# between the two l is what keeps them two. Chapter 8 is about these two rules and what follows from them.)

# %%
reader = mc.Reader(model, course.alphabet)
reading = reader.read(image)
print(f"read: {reading.text!r} with confidence {reading.confidence:.1%}; the truth is {text!r}")
for c in reading.characters:
    print(f"  {c.text}  {c.confidence:.3f}  pixels {c.left:.0f} to {c.right:.0f}")

# %% [markdown]
# The places come for free: nobody ever showed the network where a letter stands. Here is what each frame says (middle),
# and where the letters lie if the text is taken as known (below; it is called γ, and chapter 10 is about it):

# %%
_ = plot_reading(reader, image, "reading.png")
Image("reading.png")

# %% [markdown]
# ## One word is an anecdote
#
# So read a hundred words that were drawn from another seed:

# %%
pictures, truths = zip(*course.unseen, strict=True)
readings = reader.read(list(pictures))
mistakes = [(r, truth) for r, truth in zip(readings, truths, strict=True) if r.text != truth]
print(f"{1 - len(mistakes) / len(truths):.0%} of {len(truths)} words are read without a mistake")
for r, truth in mistakes:
    print(f"  {truth!r} was read as {r.text!r} with confidence {r.confidence:.1%}")

# %% [markdown]
# Look at the mistakes. Nearly all have lost one letter of a double one: to say "ll" the network must put a blank
# between them, in the right frame. Nobody told it so; that, too, it has to find out.

# %% [markdown]
# ## What people get wrong
#
# - **"It first finds the letters, then reads each."** It does not: no box is ever computed. Each frame gives
#   probabilities, and the text falls out.
# - **"The network has one output for each letter of the word."** It has one for each frame, here every four pixels. A
#   wider image has more frames; nothing is squeezed to a fixed width.
# - **"A flat loss at the start is a bug."** It is the blank phase. It is a bug if it stays (chapter 12).
# - **"93 % on this page is the accuracy of the method."** It is the accuracy on words drawn like the training words.
#   Real images need real training images: set `MY_FOLDER` above.
#
# ## Where to read on
#
# | to understand | chapter |
# |---|---|
# | how many frames, and why | 1 |
# | convolution, pooling, normalisation, forward and backward | 2, 3, 4 |
# | what a frame sees | 5 |
# | the LSTM, and reading in both directions | 6, 7 |
# | CTC: the loss that needs no letter positions | 8, 9, 10 |
# | better readings: beam search, word lists | 11 |
# | training on real images | 12 |
# | making it fast: on the CPU, on a GPU | 13, 14 |
#
# The paper: Shi, Bai and Yao, *An end-to-end trainable neural network for image-based sequence recognition*
# (arXiv 1507.05717), sections 2 and 3. In the code: `minicrnn/crnn.py` and `minicrnn/training/loop.py`.
