"""What the CTC kernel changes in training: the curve, which should stay, and the share of the step, which should fall.

Trains the same network from the same seed once with the vectorised loss and once with the kernel, and prints both
curves; then times the CTC loss and its gradient inside training steps of each.

    python benchmarks/ctc_in_training.py FOLDER --labels labels.tsv --epochs 20
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

import minicrnn as mc
from minicrnn.training.run import RunResult

LEVELS = {"torch": "vectorised", "numba": "kernel"}


def curve(folder: Path, labels: str | None, preset: str, epochs: int, level: str) -> RunResult:
    with tempfile.TemporaryDirectory() as out, mc.use_backend(level):
        return mc.train(folder, out, labels=labels, preset=preset, epochs=epochs, validate_every=max(1, epochs // 10))


def share_of_step(
    preset: str, batch_size: int, width: int, labels: int, rounds: int, level: str
) -> tuple[float, float]:
    """Median milliseconds of a step, and of the loss and its gradient at the logits within it."""
    torch.manual_seed(0)
    model = mc.CRNN.from_preset(preset, 37)
    optimiser = torch.optim.AdamW(model.parameters())
    images = torch.randn(batch_size, 1, 32, width)
    targets, lengths = torch.randint(1, 37, (batch_size, labels)), torch.full((batch_size,), labels)
    whole, within = [], []
    with mc.use_backend(level):
        for turn in range(rounds + 2):
            began = time.perf_counter()
            optimiser.zero_grad()
            logits, frames = model(images)
            leaf = logits.detach().requires_grad_()
            before = time.perf_counter()
            mc.ctc_loss_from_logits(leaf, targets, frames, lengths).backward()
            after = time.perf_counter()
            logits.backward(leaf.grad)
            optimiser.step()
            if turn >= 2:
                whole.append(time.perf_counter() - began)
                within.append(after - before)
    return 1000 * statistics.median(whole), 1000 * statistics.median(within)


def main(
    folder: Annotated[Path, typer.Argument(help="Labelled images, as for minicrnn train.")],
    labels: Annotated[str | None, typer.Option()] = None,
    preset: Annotated[str, typer.Option()] = "tiny",
    epochs: Annotated[int, typer.Option()] = 20,
    batch_size: Annotated[int, typer.Option(help="Of the timed steps.")] = 32,
    width: Annotated[int, typer.Option(help="Of the timed steps' images.")] = 128,
    threads: Annotated[int, typer.Option()] = 2,
) -> None:
    torch.set_num_threads(threads)
    runs = {level: curve(folder, labels, preset, epochs, level) for level in LEVELS}
    print("| epoch | " + " | ".join(f"{name}: loss | val loss | words" for name in LEVELS.values()) + " |")
    print("|---|" + "---|" * 3 * len(LEVELS))
    for rows in zip(*(run.rows for run in runs.values()), strict=True):
        cells = (f"{row.train_loss:.4f} | {row.val_loss:.4f} | {row.val_word_accuracy:.1%}" for row in rows)
        print(f"| {rows[0].epoch} | " + " | ".join(cells) + " |")
    print(f"\npreset {preset}, {batch_size} images of 32×{width}, 5 labels each, {threads} threads")
    for level, name in LEVELS.items():
        step, loss = share_of_step(preset, batch_size, width, labels=5, rounds=15, level=level)
        print(f"{name:<10}  step {step:7.1f} ms   CTC {loss:7.2f} ms   {loss / step:.1%} of it")


if __name__ == "__main__":
    typer.run(main)
