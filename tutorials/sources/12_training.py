# %% [markdown]
# # 12 · Training a recogniser on real images
#
# **Nobody tells the network where a digit begins. How does it find out, and what do you do when it does not?**
#
# 30 minutes, one of them for the computer. You should know what the CTC loss is (chapters 8 to 10).

# %%
MY_FOLDER = None  # or a folder of your own: images and labels.tsv (path, tab, text)

import torch

import minicrnn as mc
from minicrnn.checks.exercises_training import (
    CAUSES,
    check_diagnosis,
    check_train_step,
    check_usable,
)
from minicrnn.shapes import frames_needed, receptive_field
from minicrnn.tutorials import style, training, training_pictures

style.use()
if MY_FOLDER is None:
    alphabet = mc.Alphabet("0123456789")
    items, unseen = (
        training.handwritten_numbers(600),
        training.handwritten_numbers(100, unseen=True),
    )
else:
    alphabet, everything = training.items_of_folder(MY_FOLDER)
    tenth = max(1, len(everything) // 10)
    items, unseen = everything[tenth:], everything[:tenth]

watched = unseen[min(4, len(unseen) - 1)]
model = training.small_model(alphabet)
optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
batches = training.batches_of(items, steps=240, size=16)
history = training.fit(
    model,
    batches,
    alphabet,
    optimiser=optimiser,
    watched=watched,
    watched_at=(0, 20, 40, 60, 80, 120),
)
training_pictures.alignment_emerging(watched, history, receptive_field(model.windows()))

# %% [markdown]
# These are digits that people wrote by hand (they ship with scikit-learn), put together to numbers. The network was
# given images and texts, 240 batches of 16, and never a position. Each strip shows, for one number that is *not* among
# the training images, how probable it is that a frame belongs to each digit, given the text (γ, chapter 10).
#
# It starts as a smear: any frame could be any digit. Then the digits find their places, within some thirty steps and
# all together: once a few are roughly right, they pin down their neighbours.

# %%
texts = training.read(model, unseen, alphabet)
right = sum(text == item.text for text, item in zip(texts, unseen, strict=True))
whose = "numbers by writers never seen" if MY_FOLDER is None else "images kept aside"
print(f"{right} of {len(unseen)} {whose} are read right")
training_pictures.readings(unseen[:10], texts)

# %% [markdown]
# ## One step
#
# Everything above is this step, 240 times:
#
# 1. forget the gradients of the step before,
# 2. images in, logits out; the model also says **how many frames of each image count** (the rest is padding),
# 3. the CTC loss: each sample's −ln p(text) divided by its number of labels, then the mean,
# 4. backward,
# 5. scale all gradients down together if their norm is above 5: one strange batch must not throw the weights far off,
# 6. let the optimiser move the weights.
#
# ## Exercise 1: write the step
#
# `batch` has `images`, `widths` (in pixels, without padding), `targets` and `target_lengths`. For step 5 take
# `torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)`. Return the loss as a float.


# %%
def train_step(model, optimiser, batch):
    """One optimiser step; returns the loss before it."""
    # BEGIN SOLUTION
    optimiser.zero_grad()
    logits, lengths = model(batch.images, batch.widths)
    loss = mc.ctc_loss_from_logits(logits, batch.targets, lengths, batch.target_lengths)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    return loss.item()
    # END SOLUTION


# %%
check_train_step(train_step)

# %% [markdown]
# ## The curve
#
# Every CTC run has the same three acts. Look at the readings beside the loss:

# %%
training_pictures.losses({"the run above": history.losses})
for step, (reading, _) in history.snapshots.items():
    print(f"step {step:3}: reads {reading!r:8} (truth {watched.text!r})")

# %% [markdown]
# 1. **Blank.** The loss falls from its random start, and everything is read as empty. The blank is the safest bet in
#    every frame, since nobody knows yet which digit is where. This is no failure. With a large alphabet it may last for
#    hundreds of steps.
# 2. **The break.** First digits, first alignments. The loss drops within a few dozen steps.
# 3. **Polish.** The rest of the time goes into the last percents.
#
# ## First, overfit ten words
#
# Before any long run: take ten samples and train until they are read without a mistake. If *that* fails, no amount of
# data will help, and the fault is in the code, the labels or the learning rate. It takes seconds.

# %%
ten = items[:10]
small = training.small_model(alphabet, seed=1)
overfit = training.fit(
    small,
    training.batches_of(ten, steps=90, size=10),
    alphabet,
    optimiser=torch.optim.AdamW(small.parameters(), 5e-3),
)
texts = training.read(small, ten, alphabet)
print(
    f"{sum(text == item.text for text, item in zip(texts, ten, strict=True))} of 10 are read right"
)
training_pictures.losses({"ten samples": overfit.losses})

# %% [markdown]
# ## Three sick runs
#
# Or are they? Each has 20 steps. This is all that you get to see of a run that goes wrong: losses, and readings.

# %%
runs = training.sick_runs(items, alphabet)
training_pictures.losses({f"run {name}": losses for name, (losses, _) in runs.items()})
for name, (losses, readings) in runs.items():
    print(
        f"run {name}: {' '.join(f'{loss:.3g}' for loss in losses[:12])} … {losses[-1]:.3g}, reads {readings}"
    )

# %% [markdown]
# ## Exercise 2: what ails them?
#
# Give each run the number of a cause.

# %%
for number, cause in CAUSES.items():
    print(number, cause)

# %%
# BEGIN SOLUTION
diagnosis = {"A": 3, "B": 1, "C": 2}
# student: diagnosis = None  # for example {"A": 1, "B": 1, "C": 1}
# END SOLUTION
check_diagnosis(diagnosis)

# %% [markdown]
# A loss of ∞ is CTC's way of saying: *there is no path*. A text of $L$ labels needs
#
# $$T \;\ge\; L + (\text{number of adjacent equal labels})$$
#
# frames, since each label takes one and equal neighbours need a blank between them. One such sample makes the mean of
# its batch infinite, and its gradient NaN. `zero_infinity=True` hides that: the sample gives 0 and is never learnt. Our
# training leaves such samples out and lists them in `train-skipped.tsv`, each with its reason.

# %%
narrow = training.squeezed(items[0])
T = model.frames_for_width(narrow.image.shape[2])
print(
    f"{narrow.text!r} needs {frames_needed(narrow.text)} frames; {narrow.image.shape[2]} pixels give {T}"
)

# %% [markdown]
# ## Exercise 3: which samples can be learnt?
#
# Given texts and the frames of their images, return the numbers of the samples that have a path.


# %%
def usable(texts, frames):
    """texts: strings, frames: as many integers -> list of indices, ascending."""
    # BEGIN SOLUTION
    found = []
    for n, (text, T) in enumerate(zip(texts, frames, strict=True)):
        repeats = sum(text[j] == text[j - 1] for j in range(1, len(text)))
        if len(text) + repeats <= T:
            found.append(n)
    return found
    # END SOLUTION


# %%
check_usable(usable)

# %% [markdown]
# ## On your own images
#
# Set `MY_FOLDER` above to try a small network, or train in earnest:
#
# ```python
# mc.train("FOLDER", "run", preset="tiny", epochs=100)     # or: minicrnn train FOLDER --out run --preset tiny
# reader = mc.Reader.load("run/best.safetensors")
# reader.read("word.png").text
# ```
#
# It holds out a tenth for validation, varies the images a little, warms the learning rate up and lets it fall, keeps
# the best model, and can be interrupted and resumed. What is above in 40 lines is `minicrnn/training/loop.py` without
# the bookkeeping.
#
# ## What people get wrong
#
# - **Giving up in the blank phase**, or raising the learning rate there.
# - **Log-softmax twice, or never.** `ctc_loss` takes log-probabilities, `ctc_loss_from_logits` takes logits.
# - **Widths for lengths.** The loss wants frames. Padding that counts as frames teaches the network to say blanks
#   there, at best.
# - **Judging by the loss alone.** Read some words. A loss of 0.3 per character may be 60 % or 90 % of words right.
# - **Testing on what was trained on.** Here the last quarter of the digits is by other writers.
# - **Labels that are wrong.** The worst mistakes of `minicrnn eval` show them first.
#
# ## Where to read on
#
# - Shi, Bai and Yao (arXiv 1507.05717), section 3; Graves et al. (2006), section 5; Liu, Jin and Zhang, *Connectionist
#   temporal classification with maximum entropy regularization* (2018), on why CTC's outputs are spikes between blanks.
# - `minicrnn/training/loop.py`; `minicrnn/initialisation.py` on first weights that make the blank phase short;
#   `minicrnn/data/dataset.py` on what is checked before a run.
