"""The share of a training step that the CTC loss and its gradient take, vectorised and with the kernel.

python benchmarks/ctc_in_training.py
"""

import statistics
import time
from typing import Annotated

import torch
import typer

import minicrnn as mc

LEVELS = {"torch": "vectorised", "numba": "kernel"}


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
    for turn in range(rounds + 2):
        began = time.perf_counter()
        optimiser.zero_grad()
        logits, frames = model(images)
        leaf = logits.detach().requires_grad_()
        before = time.perf_counter()
        with mc.use_backend(level):
            mc.ctc_loss_from_logits(leaf, targets, frames, lengths).backward()
        after = time.perf_counter()
        logits.backward(leaf.grad)
        optimiser.step()
        if turn >= 2:
            whole.append(time.perf_counter() - began)
            within.append(after - before)
    return 1000 * statistics.median(whole), 1000 * statistics.median(within)


def main(
    preset: Annotated[str, typer.Option()] = "tiny",
    batch_size: Annotated[int, typer.Option(help="Of the timed steps.")] = 32,
    width: Annotated[int, typer.Option(help="Of the timed steps' images.")] = 128,
    threads: Annotated[int, typer.Option()] = 2,
) -> None:
    torch.set_num_threads(threads)
    print(f"preset {preset}, {batch_size} images of 32×{width}, 5 labels each, {threads} threads")
    for level, name in LEVELS.items():
        step, loss = share_of_step(preset, batch_size, width, labels=5, rounds=15, level=level)
        print(f"{name:<10}  step {step:7.1f} ms   CTC {loss:7.2f} ms   {loss / step:.1%} of it")


if __name__ == "__main__":
    typer.run(main)
