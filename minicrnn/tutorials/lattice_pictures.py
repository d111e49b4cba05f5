"""Pictures of chapter 9: the lattice of states and frames, the ways through it, α and β sweeping over it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minicrnn.naive.ctc import ctc_alphas, ctc_betas, extended_target, may_skip
from minicrnn.tutorials import style
from minicrnn.tutorials.ctc_pictures import BLANK_COLOUR, CLASS_COLOURS


def draw_lattice(
    target: Sequence[int],
    names: Sequence[str],
    frames: int,
    values: np.ndarray | None = None,
    path: Sequence[int] | None = None,
    title: str = "",
) -> None:
    """States down, frames to the right; arrows stay, step, or skip a blank (orange).

    Args:
        values: [T, S], written into the nodes; a node of value 0 is faint.
        path: the state at each frame, drawn thick and dark.
    """
    states = extended_target(target)
    axes = plt.subplots(figsize=(1.5 * frames + 1, 0.62 * len(states) + 0.5))[1]
    for t in range(frames - 1):
        for s in range(len(states)):
            for to in (s, s + 1, s + 2):
                if to < len(states) and (to < s + 2 or may_skip(states, to, 0)):
                    _arrow(axes, t, s, to, chosen=path is not None and (path[t], path[t + 1]) == (s, to))
    for t, s in np.ndindex(frames, len(states)):
        value = None if values is None else float(values[t, s])
        _node(axes, t, s, states[s], value, rim=(t == 0 and s < 2) or (t == frames - 1 and s >= len(states) - 2))
    for s, k in enumerate(states):
        axes.text(-0.55, -s, f"s = {s}   {names[k]}", ha="right", va="center")
    for t in range(frames):
        axes.text(t, 0.6, f"t = {t}", ha="center", fontsize=9, color=style.MID)
    axes.set_xlim(-1.35, frames - 0.6)
    axes.set_ylim(-len(states) + 0.45, 0.95)
    style.bare(axes, title)


def _arrow(axes: Axes, t: int, s: int, to: int, chosen: bool) -> None:
    colour = style.INK if chosen else style.ORANGE if to == s + 2 else style.MID
    look = {"arrowstyle": "->", "color": colour, "lw": 3 if chosen else 1.2, "shrinkA": 17, "shrinkB": 17}
    axes.annotate("", (t + 1, -to), (t, -s), arrowprops=look, zorder=3 if chosen else 1)


def _node(axes: Axes, t: int, s: int, k: int, value: float | None, rim: bool) -> None:
    colour = BLANK_COLOUR if k == 0 else CLASS_COLOURS[(k - 1) % len(CLASS_COLOURS)]
    faint = value is not None and value == 0
    edge = style.INK if rim else "none"
    axes.plot(t, -s, "o", markersize=30, color=colour, alpha=0.25 if faint else 1, markeredgecolor=edge, zorder=2)
    if value is not None:
        text = "0" if faint else f"{value:.3f}".lstrip("0")
        axes.text(t, -s, text, ha="center", va="center", fontsize=9, zorder=4, alpha=0.5 if faint else 1)


def sweep(log_probs: np.ndarray, target: Sequence[int], names: Sequence[str]) -> Any:
    """An animation: α grows from the left, β from the right, and where both are known, what they say together."""
    states = extended_target(target)
    alphas, betas = ctc_alphas(log_probs, target), ctc_betas(log_probs, target)
    together = alphas + betas - log_probs[:, states]
    T = len(log_probs)
    figure, panels = plt.subplots(1, 3, figsize=(9, 3.4), sharey=True)
    pictures = []
    for axes, title in zip(
        panels,
        ("α: from the start to here", "β: from here to the end", "α · β / y: all paths through here"),
        strict=True,
    ):
        pictures.append(axes.imshow(np.zeros((len(states), T)), vmin=0, vmax=1, aspect="auto"))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("frame t")
        axes.set_yticks(range(len(states)), [names[k] for k in states])
    panels[0].set_ylabel("state")

    def draw(i: int) -> None:
        t = np.arange(T)
        for picture, values, shown in zip(
            pictures,
            (alphas, betas, together),
            (t <= i, t >= T - 1 - i, (t <= i) & (t >= T - 1 - i)),
            strict=True,
        ):
            share = np.exp(values - np.logaddexp.reduce(values, axis=1, keepdims=True))
            picture.set_data(np.ma.masked_array(share.T, np.broadcast_to(~shown, share.T.shape)))

    return style.animation(figure, draw, T + 2, seconds_a_frame=0.35)


def draw_underflow(frames: int) -> None:
    """α's total over the frames, when each emission is about 0.3, and the least number of each type."""
    axes = plt.subplots(figsize=(9, 2.6))[1]
    t = np.arange(1, frames + 1)
    axes.plot(t, t * np.log10(0.3), color=style.BLUE, label="0.3 to the power t")
    for name, kind, colour in (("float32", np.float32, style.VERMILION), ("float64", np.float64, style.GREEN)):
        least = np.log10(float(np.finfo(kind).smallest_subnormal)) if kind is np.float32 else -323.3
        axes.axhline(least, color=colour, linestyle="--", label=f"least {name}: then 0, and −ln 0 = ∞")
    axes.set(xlabel="frames", ylabel="power of ten")
    axes.grid(alpha=0.6)
    axes.legend(fontsize=9)
