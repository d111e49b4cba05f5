"""Training on a folder of labelled images with the kernels and without: the same curves, in less time?

Trains the same network from the same seeds with ``use_backend("torch")``, the vectorised versions, and with what is
chosen by itself, taking turns. Prints when 95 % and 99 % of the validation words were first read right, and draws the
curves.

    python benchmarks/training.py FOLDER --labels labels.tsv --epochs 20 --seeds 2
"""

import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from matplotlib.figure import Figure
from pairs import machine

import minicrnn as mc
from minicrnn.training.log import MetricsRow

LEVELS = {"torch": "vectorised", "auto": "kernels"}
GOALS = (0.95, 0.99)


class Run(NamedTuple):
    """One training run: its level, its seed and its validations."""

    level: str
    seed: int
    rows: list[MetricsRow]

    def reached(self, accuracy: float) -> str:
        """Epoch and minutes of training until so many of the validation words were first read right."""
        for row in self.rows:
            if row.val_word_accuracy >= accuracy:
                return f"epoch {row.epoch}, {row.seconds / 60:.2f} min"
        return "not reached"

    def __str__(self) -> str:
        last = self.rows[-1]
        goals = " | ".join(self.reached(goal) for goal in GOALS)
        return (
            f"| {LEVELS[self.level]} | {self.seed} | {goals} | {last.val_word_accuracy:.1%} | {last.train_loss:.4f} "
            f"| {last.seconds / 60:.2f} | {last.images_per_second:.0f} |"
        )


def run(folder: Path, labels: str | None, preset: str, epochs: int, level: str, seed: int) -> Run:
    with tempfile.TemporaryDirectory() as out, mc.use_backend(level):
        result = mc.train(folder, out, labels=labels, preset=preset, epochs=epochs, seed=seed)
    return Run(level, seed, result.rows)


def draw(runs: list[Run], file: Path) -> None:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    losses, words = figure.subplots(1, 2)
    for one in runs:
        epochs = [row.epoch for row in one.rows]
        style = {"color": "C0" if one.level == "torch" else "C1", "linestyle": "-" if one.level == "auto" else "--"}
        label = f"{LEVELS[one.level]}, seed {one.seed}"
        losses.plot(epochs, [row.train_loss for row in one.rows], label=label, **style)
        words.plot(epochs, [100 * row.val_word_accuracy for row in one.rows], **style)
    losses.set(xlabel="epoch", ylabel="training loss, nats a character", yscale="log")
    words.set(xlabel="epoch", ylabel="validation words read right, %")
    losses.legend()
    figure.savefig(file, dpi=120)


def main(
    folder: Annotated[Path, typer.Argument(help="Labelled images, as for minicrnn train.")],
    labels: Annotated[str | None, typer.Option()] = None,
    preset: Annotated[str, typer.Option()] = "tiny",
    epochs: Annotated[int, typer.Option()] = 20,
    seeds: Annotated[int, typer.Option(help="Runs of each level.")] = 1,
    threads: Annotated[int, typer.Option()] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the table here, and the curves beside it as .png.")] = None,
) -> None:
    torch.set_num_threads(threads)
    runs = [run(folder, labels, preset, epochs, level, seed) for seed in range(seeds) for level in LEVELS]
    lines = [
        "| level | seed | 95 % of words | 99 % | last | last training loss | minutes | images/s |",
        "|---|---|---|---|---|---|---|---|",
        *map(str, runs),
    ]
    heading = f"Training, preset {preset}, {epochs} epochs, {machine(threads)}\n\n"
    print(heading + "\n".join(lines))
    if out:
        out.write_text(f"# `benchmarks/training.py`\n\n{heading}" + "\n".join(lines) + "\n", encoding="utf-8")
        draw(runs, out.with_suffix(".png"))


if __name__ == "__main__":
    typer.run(main)
