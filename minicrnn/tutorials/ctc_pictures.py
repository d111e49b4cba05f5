"""Pictures of chapters 8 to 10: paths as strips, the lattice, its α and β, γ over an image."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from minicrnn.naive.ctc import collapse
from minicrnn.tutorials import style

BLANK_COLOUR = "#E3E3DE"
CLASS_COLOURS = ("#8CC5E8", "#F4C36A", "#7CCBB0", "#E7A37B", "#E0B6CF", "#EDE58A")


def all_paths(probs: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Every path and its probability, the most probable first. probs: [T, K]; for T of a handful only."""
    T, K = probs.shape
    paths = [(path, math.prod(probs[t, path[t]] for t in range(T))) for path in itertools.product(range(K), repeat=T)]
    return sorted(paths, key=lambda one: -one[1])


def draw_path(axes: Axes, path: Sequence[int], names: Sequence[str], y: float, x: float = 0) -> None:
    """A path as a strip of cells, one a frame; the blank (class 0) is grey."""
    for t, k in enumerate(path):
        colour = BLANK_COLOUR if k == 0 else CLASS_COLOURS[(k - 1) % len(CLASS_COLOURS)]
        axes.add_patch(Rectangle((x + t, y), 1, 0.82, facecolor=colour, edgecolor=style.CARD, linewidth=2))
        axes.text(x + t + 0.5, y + 0.4, names[k], ha="center", va="center", fontsize=10)


def draw_paths_of(probs: np.ndarray, target: Sequence[int], names: Sequence[str]) -> None:
    """All paths that collapse to the target, with bars of their probabilities, and what each frame says."""
    T = len(probs)
    spelling = [(path, p) for path, p in all_paths(probs) if collapse(path) == list(target)]
    _figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.6 + 0.27 * len(spelling)), width_ratios=[1, 1.5])
    draw_outputs(left, probs, names)
    for row, (path, p) in enumerate(spelling):
        draw_path(right, path, names, -row)
        right.add_patch(Rectangle((T + 0.4, 0.15 - row), 60 * p, 0.55, facecolor=style.BLUE))
        right.text(T + 0.6 + 60 * p, 0.4 - row, f"{p:.4f}", va="center", fontsize=8)
    right.set_xlim(0, T + 9)
    right.set_ylim(-len(spelling) + 0.9, 1)
    text, total = "".join(names[k] for k in target), sum(p for _, p in spelling)
    style.bare(right, f"{len(spelling)} of {len(probs[0]) ** T} paths say “{text}”; together {total:.3f}")


def draw_outputs(axes: Axes, probs: np.ndarray, names: Sequence[str], title: str = "y: what each frame says") -> None:
    """Probabilities of the classes at the frames, with their numbers; frames run to the right."""
    axes.imshow(probs.T, cmap="Blues", vmin=0, vmax=1.6)
    style.write_values(axes, probs.T, "{:.2g}")
    axes.set_xticks(range(len(probs)), [f"t = {t}" for t in range(len(probs))], fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title)


def draw_texts(probs: np.ndarray, names: Sequence[str], shown: int = 12) -> None:
    """The probability of every text that the paths can say, the likeliest first."""
    texts: Counter[str] = Counter()
    for path, p in all_paths(probs):
        texts["".join(names[k] for k in collapse(path))] += p  # type: ignore[assignment]  # counts that are probabilities
    best = texts.most_common(shown)
    axes = plt.subplots(figsize=(9, 2.6))[1]
    bars = axes.bar([text or "(empty)" for text, _ in best], [p for _, p in best], color=style.BLUE)
    axes.bar_label(bars, [f"{p:.3f}" for _, p in best], fontsize=8)
    axes.set_title(
        f"all {len(texts)} texts share a probability of {sum(texts.values()):.3f}; the likeliest {len(best)}"
    )
    axes.set_ylabel("p(text)")


def draw_counts(words: Sequence[str], frames: int) -> None:
    """How many paths say a word, over the number of frames; dotted: the folk rule 2L + 1."""
    axes = plt.subplots(figsize=(9, 3))[1]
    for word, colour in zip(words, style.CYCLE, strict=False):
        L, repeats = len(word), sum(a == b for a, b in itertools.pairwise(word))
        T = range(L + repeats, frames + 1)
        axes.plot(T, [math.comb(t + L - repeats, 2 * L) for t in T], "o-", color=colour, label=word, markersize=4)
        axes.axvline(2 * L + 1, color=colour, linestyle=":", linewidth=1.5)
    axes.set(yscale="log", xlabel="frames T", ylabel="number of paths", xlim=(0, frames + 0.5))
    axes.legend()
    axes.grid(alpha=0.6)
    axes.set_title("a word is possible from its first dot on; dotted, the folk rule 2L + 1 comes late")
