"""The curves of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from minicrnn.plots.figures import BLUE, GREEN, ORANGE, save


def plot_curves(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw losses and validation scores over the steps of a run.

    Args:
        rows: with the columns of a run's ``metrics.csv``.
        path: where the picture goes; its suffix chooses the format.

    Raises:
        CheckpointError: the file cannot be written.
    """
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(8, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for axes in (losses, scores):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    for name, colour, label in (("train_loss", BLUE, "training"), ("val_loss", ORANGE, "validation")):
        losses.plot(steps, [row[name] for row in rows], color=colour, label=label, marker=".")
    losses.set_ylabel("CTC loss per character (nats)")
    losses.set_yscale("log")
    losses.legend()
    for name, colour, label in (
        ("val_protocol_accuracy", BLUE, "words right, a–z and 0–9 in any case"),
        ("val_word_accuracy", GREEN, "words right"),
        ("val_cer", ORANGE, "characters wrong (CER)"),
    ):
        scores.plot(steps, [100 * row[name] for row in rows], color=colour, label=label, marker=".")
    scores.set_ylabel("validation (%)")
    scores.set_ylim(0, 100)
    scores.legend()
    save(figure, path)
