"""Each layer of preset ``vgg``, ours against torch.nn's: forward, and forward + backward.

torch.nn is measured in its default memory layout and channels last, and the better one counts. Layers that follow one
another and move memory only (bias, ReLU, pool; BatchNorm, ReLU, pool) are also measured in a row, where ours run as
one. All sides have the same weights and take turns in one run; figures are medians in milliseconds.

    python benchmarks/layers.py
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from pairs import interleaved, machine
from torch import Tensor, nn

import minicrnn as mc
from minicrnn.export import twin_of
from minicrnn.layers.fusion import groups

# Of a batch of images 32×100: name, layers, channels, height and width of the input.
CONVOLUTIONS = [
    ("conv1 1→64 3×3", mc.layers.Conv2d(1, 64, 3, padding=1), (1, 32, 100)),
    ("conv2 64→128 3×3", mc.layers.Conv2d(64, 128, 3, padding=1), (64, 16, 50)),
    ("conv3 128→256 3×3", mc.layers.Conv2d(128, 256, 3, padding=1), (128, 8, 25)),
    ("conv4 256→256 3×3", mc.layers.Conv2d(256, 256, 3, padding=1), (256, 8, 25)),
    ("conv5 256→512 3×3", mc.layers.Conv2d(256, 512, 3, padding=1, bias=False), (256, 4, 25)),
    ("conv6 512→512 3×3", mc.layers.Conv2d(512, 512, 3, padding=1, bias=False), (512, 4, 25)),
    ("conv7 512→512 2×2", mc.layers.Conv2d(512, 512, 2), (512, 2, 25)),
]
MOVERS = [
    ("ReLU", [mc.layers.ReLU()], (64, 32, 100)),
    ("max-pool 2×2", [mc.layers.MaxPool2d(2)], (64, 32, 100)),
    ("max-pool (2,1)", [mc.layers.MaxPool2d((2, 1))], (256, 8, 25)),
    ("ReLU, max-pool 2×2", [mc.layers.ReLU(), mc.layers.MaxPool2d(2)], (64, 32, 100)),
    ("ReLU, max-pool 2×2", [mc.layers.ReLU(), mc.layers.MaxPool2d(2)], (128, 16, 50)),
    ("ReLU, max-pool (2,1)", [mc.layers.ReLU(), mc.layers.MaxPool2d((2, 1))], (256, 8, 25)),
    ("BatchNorm", [mc.layers.BatchNorm2d(512)], (512, 4, 25)),
    ("BatchNorm, ReLU", [mc.layers.BatchNorm2d(512), mc.layers.ReLU()], (512, 4, 25)),
    (
        "BatchNorm, ReLU, max-pool (2,1)",
        [mc.layers.BatchNorm2d(512), mc.layers.ReLU(), mc.layers.MaxPool2d((2, 1))],
        (512, 4, 25),
    ),
]
SEQUENCES = [
    ("BiLSTM 512→256", mc.layers.LSTM(512, 256, bidirectional=True), 512),
    ("BiLSTM 256→256", mc.layers.LSTM(256, 256, bidirectional=True), 256),
    ("linear 512→256", mc.layers.Linear(512, 256), 512),
    ("linear 512→37", mc.layers.Linear(512, 37), 512),
]
FRAMES = 24

Step = Callable[[], None]


class Row(NamedTuple):
    """One layer's medians: forward, and forward + backward."""

    name: str
    torch_forward: float
    our_forward: float
    torch_both: float
    our_both: float

    def ratios(self) -> tuple[float, float]:
        return self.torch_forward / self.our_forward, self.torch_both / self.our_both

    def __str__(self) -> str:
        forward, both = self.ratios()
        return (
            f"| {self.name} | {self.torch_forward:.2f} | {self.our_forward:.2f} | {forward:.2f} "
            f"| {self.torch_both:.2f} | {self.our_both:.2f} | {both:.2f} |"
        )


def steps_of(run: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> tuple[Step, Step]:
    """Forward without a gradient, and forward + backward."""
    with torch.no_grad():
        dy = torch.randn_like(run(x))

    def forward() -> None:
        with torch.no_grad():
            run(x)

    def both() -> None:
        run(x).backward(dy)
        module.zero_grad()
        x.grad = None

    return forward, both


def in_groups(stack: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """A feature stack as the CRNN runs it: in groups."""

    def run(x: Tensor) -> Tensor:
        for group in groups(stack, x):
            x = group.run(x)
        return x

    return run


def row(name: str, sides: dict[str, tuple[Step, Step]], seconds: float) -> Row:
    forward = interleaved({side: steps[0] for side, steps in sides.items()}, seconds)
    both = interleaved({side: steps[1] for side, steps in sides.items()}, seconds)
    best = [min(value for side, value in medians.items() if side != "ours") for medians in (forward, both)]
    return Row(name, best[0], forward["ours"], best[1], both["ours"])


def image_row(name: str, layers: list[nn.Module], size: tuple[int, int, int], batch: int, seconds: float) -> Row:
    stack = nn.Sequential(*copy.deepcopy(layers))
    twin = nn.Sequential(*(twin_of(layer) for layer in stack))
    last = copy.deepcopy(twin).to(memory_format=torch.channels_last)
    x = torch.randn(batch, *size)
    x_last = x.to(memory_format=torch.channels_last)
    for images in (x, x_last):
        images.requires_grad_(size[0] > 1)  # nobody asks for the gradient of the image
    ours = x_last.detach().clone(memory_format=torch.preserve_format).requires_grad_(size[0] > 1)
    sides = {
        "torch.nn": steps_of(twin, twin, x),
        "torch.nn, channels last": steps_of(last, last, x_last),
        "ours": steps_of(in_groups(stack), stack, ours),
    }
    return row(f"{name}, {size[0]}×{size[1]}×{size[2]}", sides, seconds)


def sequence_row(name: str, layer: nn.Module, features: int, batch: int, seconds: float) -> Row:
    layer = copy.deepcopy(layer)
    twin = twin_of(layer)
    first = (lambda y: y[0]) if isinstance(layer, mc.layers.LSTM) else (lambda y: y)
    sides = {}
    for side, module in (("torch.nn", twin), ("ours", layer)):
        x = torch.randn(FRAMES, batch, features, requires_grad=True)
        sides[side] = steps_of(lambda x, module=module: first(module(x)), module, x)
    return row(f"{name}, T {FRAMES}", sides, seconds)


def table(rows: list[Row]) -> str:
    lines = [
        "| layer | forward: torch.nn, ms | minicrnn, ms | × | forward + backward: torch.nn, ms | minicrnn, ms | × |",
        "|---|---|---|---|---|---|---|",
        *map(str, rows),
    ]
    of_3x3 = [row.ratios()[1] for row in rows if "3×3" in row.name and not row.name.startswith("conv1 ")]
    mean = math.exp(sum(map(math.log, of_3x3)) / len(of_3x3))
    lines.append(f"\n3×3 convolutions after the first, forward + backward: × {mean:.2f} in geometric mean")
    return "\n".join(lines)


def main(
    batch_size: Annotated[int, typer.Option()] = 64,
    threads: Annotated[int, typer.Option()] = 2,
    seconds: Annotated[float, typer.Option(help="Time for each measurement, at least.")] = 2.0,
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rows = [image_row(name, [layer], size, batch_size, seconds) for name, layer, size in CONVOLUTIONS]
    rows += [image_row(name, layers, size, batch_size, seconds) for name, layers, size in MOVERS]
    rows += [sequence_row(name, layer, features, batch_size, seconds) for name, layer, features in SEQUENCES]
    heading = f"Layers of preset vgg, N = {batch_size}, float32, {machine(threads)}; medians of interleaved turns\n\n"
    print(heading + table(rows))
    if out:
        out.write_text(f"# `benchmarks/layers.py`\n\n{heading}{table(rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
