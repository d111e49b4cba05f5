"""Drawings of the tutorial on the CUDA kernel: threads over the lattice, and who ran when."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

from minicrnn.checks.block import Block
from minicrnn.naive.ctc import extended_target, may_skip
from minicrnn.tutorials import style


def threads_over_lattice(target: Sequence[int], names: Sequence[str], frames: int = 5, now: int = 2) -> None:
    """CTC's lattice: a thread per state (row), a barrier between two frames (columns); frame ``now`` is computed."""
    states = extended_target(target)
    _, axes = plt.subplots(figsize=(9, 0.55 * len(states) + 0.9))
    for t in range(frames - 1):
        axes.add_patch(Rectangle((t + 0.44, -0.6), 0.12, len(states) + 0.2, color=style.VERMILION, alpha=0.75, lw=0))
    for t in range(1, now + 1):
        for s in range(len(states)):
            sources = [s] + [s - 1] * (s >= 1) + [s - 2] * may_skip(states, s, 0)
            for source in sources:
                here = t == now
                arrow = FancyArrowPatch(
                    (t - 1, source),
                    (t, s),
                    arrowstyle="-|>",
                    mutation_scale=11,
                    shrinkA=11,
                    shrinkB=11,
                    color=style.BLUE if here else style.FAINT,
                    linewidth=1.6 if here else 1.2,
                    zorder=3,
                )
                axes.add_patch(arrow)
    for t in range(frames):
        for s, state in enumerate(states):
            fill = style.SKY if t < now else style.ORANGE if t == now else style.CARD
            edge = style.MID if t > now else style.INK
            axes.plot(t, s, "o", markersize=21, color=fill, markeredgecolor=edge, zorder=4)
            axes.text(t, s, names[state], ha="center", va="center", fontsize=10, zorder=5, color=edge)
    for s in range(len(states)):
        axes.text(-0.42, s, f"thread {s}", ha="right", va="center")
    for t in range(frames):
        axes.text(t, -0.95, f"frame {t}", ha="center", va="center")
    axes.text(now + 0.5, len(states) - 0.1, "barrier", ha="center", va="center", color=style.VERMILION)
    axes.set(xlim=(-1.3, frames - 0.5), ylim=(len(states) + 0.2, -1.3))
    style.bare(axes)


def who_ran_when(blocks: Sequence[tuple[str, Block]], threads: int, frames: int) -> None:
    """Each turn of each of the first threads: which frames it computed in it."""
    _, rows = plt.subplots(len(blocks), 1, figsize=(9, 2.1 * len(blocks)), squeeze=False)
    for axes, (title, block) in zip(rows[:, 0], blocks, strict=True):
        turns = [turn for turn in block.turns if turn.thread < threads]
        synchronised = block.barriers > 0
        shown = [turn for turn in turns if turn.barriers < frames]
        for x, turn in enumerate(shown):
            text = str(turn.barriers) if synchronised else f"0 to {frames - 1}"
            colour = style.CYCLE[turn.barriers % len(style.CYCLE)] if synchronised else style.MID
            axes.add_patch(Rectangle((x, turn.thread - 0.42), 0.9, 0.84, color=colour, alpha=0.75, linewidth=0))
            axes.text(x + 0.45, turn.thread, text, ha="center", va="center", fontsize=8, color=style.INK)
        for x in range(1, len(shown)):
            if shown[x].barriers != shown[x - 1].barriers:
                axes.axvline(x - 0.05, color=style.VERMILION, linewidth=3)
        axes.set(xlim=(-0.2, max(len(shown), 1)), ylim=(threads - 0.4, -0.6))
        axes.set_yticks(range(threads), [f"thread {s}" for s in range(threads)], fontsize=8)
        axes.set_title(title)
        axes.set_xticks([])
    rows[-1, 0].set_xlabel("time → (the number is the frame that is computed)")


def two_rows(target: Sequence[int], names: Sequence[str]) -> None:
    """The two rows of shared memory: which is read and which is written, frame by frame."""
    states = extended_target(target)
    _, all_axes = plt.subplots(1, 3, figsize=(9, 1.7))
    for t, axes in enumerate(all_axes, start=1):
        for row in range(2):
            written = t % 2 == row
            for s, state in enumerate(states):
                colour = style.ORANGE if written else style.SKY
                axes.add_patch(Rectangle((s, -1.35 * row), 0.92, 0.92, color=colour, alpha=0.85, linewidth=0))
                axes.text(s + 0.46, -1.35 * row + 0.44, names[state], ha="center", va="center", fontsize=9)
            axes.text(len(states) + 0.15, -1.35 * row + 0.44, "written" if written else "read", va="center", fontsize=9)
        axes.set(xlim=(-0.2, len(states) + 2.2), ylim=(-1.6, 1.2), aspect="equal")
        style.bare(axes, f"frame {t}")


def wrong_answers(values: Sequence[float], right: float) -> None:
    """What a kernel without a barrier gives, run after run."""
    _, axes = plt.subplots(figsize=(9, 2.2))
    finite = np.array(values, float)
    shown = np.where(np.isfinite(finite), finite, np.nan)
    bad = np.flatnonzero(np.isnan(shown))
    axes.plot(bad, np.full(len(bad), 0.93), "x", color=style.VERMILION, mew=2, transform=axes.get_xaxis_transform())
    axes.plot(shown, "o", color=style.VERMILION, label="without a barrier (×: NaN or ∞)")
    axes.axhline(right, color=style.BLUE, linewidth=2, label="right")
    axes.set_xlim(-0.7, len(shown) - 0.3)
    axes.set_ylim(right - 1, max(right + 1, float(np.nanmax(shown, initial=right))) + 2)
    axes.set_xticks(range(len(shown)))
    axes.set_xlabel("run")
    axes.set_ylabel("−ln p")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
