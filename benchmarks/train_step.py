"""A whole training step, ours against torch.nn, in one run.

Both sides have the same weights and the same batch, and take turns, so that a machine that is busy for a while is
busy for both. torch.nn is measured in its default memory layout and channels last, and the better one counts.

    python benchmarks/train_step.py --preset vgg --batch-size 64
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

import minicrnn as mc

NUM_CLASSES, LABELS = 37, 8


def our_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    return mc.ctc_loss_from_logits(logits, targets, lengths, target_lengths)


def torch_loss(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    return nn.functional.ctc_loss(logits.log_softmax(2), targets, lengths, target_lengths)


def step_of(model: nn.Module, loss: Callable[..., Tensor], images: Tensor, targets: Tensor) -> Callable[[], None]:
    """One step: forward, loss, backward, AdamW."""
    optimiser = torch.optim.AdamW(model.parameters())
    target_lengths = torch.full((len(images),), targets.shape[1])

    def step() -> None:
        optimiser.zero_grad()
        logits, lengths = model(images)
        loss(logits, targets, lengths, target_lengths).backward()
        optimiser.step()

    return step


def main(
    preset: Annotated[str, typer.Option()] = "vgg",
    batch_size: Annotated[int, typer.Option()] = 64,
    width: Annotated[int, typer.Option()] = 100,
    threads: Annotated[int, typer.Option()] = 2,
    rounds: Annotated[int, typer.Option()] = 9,
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ours = mc.CRNN.from_preset(preset, NUM_CLASSES)
    images = torch.randn(batch_size, 1, 32, width)
    targets = torch.randint(1, NUM_CLASSES, (batch_size, LABELS))
    default = mc.to_torch(ours)
    channels_last = mc.to_torch(ours).to(memory_format=torch.channels_last)
    steps = {
        "torch.nn": step_of(default, torch_loss, images, targets),
        "torch.nn, channels last": step_of(channels_last, torch_loss, images, targets),
        "minicrnn": step_of(ours, our_loss, images, targets),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if turn >= 2:  # the first turns take memory from the system
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min(value for name, value in medians.items() if name != "minicrnn")
    print(f"training step, preset {preset}, {batch_size} images of 32×{width}, {threads} threads, median of {rounds}")
    for name, median in medians.items():
        print(f"{name:<24} {1000 * median:8.1f} ms   {batch_size / median:6.0f} img/s   {best / median:.2f} × torch.nn")


if __name__ == "__main__":
    typer.run(main)
