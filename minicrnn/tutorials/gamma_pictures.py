"""Pictures of chapter 10: γ over an image while a network learns it, and softmax, γ and their difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss_from_logits, posteriors
from minicrnn.data import to_tensor
from minicrnn.shapes import receptive_field
from minicrnn.text import Alphabet
from minicrnn.tutorials import style
from minicrnn.tutorials.convolution_pictures import SIGNED


@dataclass(frozen=True)
class Moment:
    """What a network says of one image at a step of its training.

    Attributes:
        step: how many steps came before.
        loss: −ln p(text).
        y: softmax of the logits, [T, K].
        gamma: γ by class, [T, K]; its rows add up to 1.
        letters: γ by letter of the text, [T, L].
    """

    step: int
    loss: float
    y: np.ndarray
    gamma: np.ndarray
    letters: np.ndarray


def learn_one_image(
    model: CRNN, image: np.ndarray, text: str, alphabet: Alphabet, steps: Sequence[int], rate: float = 1e-3
) -> list[Moment]:
    """Train on a single image; return what the network says at some steps."""
    x, target = to_tensor(image)[None], torch.tensor([alphabet.encode(text)])
    widths, length = torch.tensor([x.shape[3]]), torch.tensor([target.shape[1]])
    optimiser, moments = torch.optim.Adam(model.parameters(), rate), []
    for step in range(max(steps) + 1):
        logits, frames = model(x, widths)
        loss = ctc_loss_from_logits(logits, target, frames, length, reduction="sum")
        if step in steps:
            log_probs = logits.detach().log_softmax(2)
            gammas = [posteriors(log_probs, target, frames, length, per_label=each)[:, 0] for each in (False, True)]
            y = log_probs[:, 0].exp().numpy()
            moments.append(Moment(step, loss.item(), y, gammas[0].numpy(), gammas[1].numpy()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return moments


def draw_moments(image: np.ndarray, text: str, model: CRNN, moments: Sequence[Moment]) -> None:
    """The image, and below it γ of each letter at each moment, on the same pixels."""
    figure, panels = plt.subplots(
        len(moments) + 1,
        1,
        figsize=(8, 1.5 + 0.95 * len(moments)),
        height_ratios=[1.4] + [1] * len(moments),
        sharex=True,
    )
    height, width = image.shape
    panels[0].imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), aspect="auto")
    style.bare(panels[0])
    field = receptive_field(model.windows())
    edges = [field.center(t) + 0.5 - field.jump / 2 for t in range(len(moments[0].y) + 1)]
    for axes, moment in zip(panels[1:], moments, strict=True):
        mesh = axes.pcolormesh(edges, np.arange(len(text) + 1), moment.letters.T, vmin=0, vmax=1)
        axes.set_yticks(np.arange(len(text)) + 0.5, list(text), fontsize=8)
        axes.invert_yaxis()
        axes.tick_params(length=0)
        name = "step" if moment.step == 1 else "steps"
        axes.text(1.01, 0.5, f"{moment.step} {name}\nloss {moment.loss:.2g}", transform=axes.transAxes, va="center")
    panels[-1].set_xlabel("pixels")
    panels[0].set_title("γ: where each letter of the text lies, as the network believes, while it learns one image")
    figure.colorbar(mesh, ax=panels, location="left", shrink=0.3, ticks=[0, 1], pad=0.01)


def draw_three(y: np.ndarray, gamma: np.ndarray, names: Sequence[str], numbers: bool = True) -> None:
    """What the network says, what it should say given the text, and the difference: the gradient."""
    figure, panels = plt.subplots(1, 3, figsize=(9, 1 + 0.42 * len(names)), sharey=True)
    for axes, values, title in ((panels[0], y, "y: softmax of the logits"), (panels[1], gamma, "γ: given the text")):
        axes.imshow(values.T, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
        _finish(axes, values, names, title, numbers)
    top = np.abs(y - gamma).max()
    panels[2].imshow((y - gamma).T, cmap=SIGNED, vmin=-top, vmax=top, aspect="auto")
    _finish(panels[2], y - gamma, names, "y − γ: the gradient", numbers)
    panels[2].set_xlabel("frame t;  blue: raise this logit", fontsize=9)
    figure.align_xlabels(panels)


def _finish(axes: Axes, values: np.ndarray, names: Sequence[str], title: str, numbers: bool) -> None:
    if numbers:
        style.write_values(axes, values.T, "{:.2f}", size=8.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("frame t", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
