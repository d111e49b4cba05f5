"""How the time of a training step grows with the batch and with the width of its images: ours and torch.nn's.

python benchmarks/scaling.py --out benchmarks/results/scaling.md      # the picture goes beside it, as .png
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from pairs import interleaved, machine
from train_step import step_of

SIDES = {"torch.nn, channels last": "C0", "minicrnn": "C1"}
BATCHES, WIDTH = (1, 2, 4, 8, 16, 32, 64, 128, 256), 100
WIDTHS, BATCH = (32, 64, 128, 256, 512, 1024), 16

Points = dict[int, dict[str, float]]  # milliseconds by size and side


def measure(preset: str, batch_size: int, width: int, seconds: float) -> dict[str, float]:
    steps = {side: step_of(side, preset, batch_size, width, amp=False) for side in SIDES}
    return interleaved(steps, seconds, least_turns=3)


def draw(by_batch: Points, by_width: Points, file: Path) -> None:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    panels = zip(figure.subplots(1, 2), (by_batch, by_width), strict=True)
    for (axes, points), label in zip(
        panels, (f"images of 32×{WIDTH}", f"width of {BATCH} images, pixels"), strict=True
    ):
        for side, colour in SIDES.items():
            axes.loglog(points.keys(), [point[side] for point in points.values()], "o-", color=colour, label=side)
        axes.set(xlabel=label, ylabel="training step, ms")
        axes.set_xticks(list(points), map(str, points))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=120)


def main(
    preset: Annotated[str, typer.Option()] = "vgg",
    threads: Annotated[int, typer.Option()] = 2,
    seconds: Annotated[float, typer.Option(help="Time for each point, at least.")] = 3.0,
    out: Annotated[Path | None, typer.Option(help="Write the table here, and the picture beside it.")] = None,
) -> None:
    torch.set_num_threads(threads)
    by_batch = {N: measure(preset, N, WIDTH, seconds) for N in BATCHES}
    by_width = {W: measure(preset, BATCH, W, seconds) for W in WIDTHS}
    lines = ["| images | width | " + ", ms | ".join(SIDES) + ", ms | × |", "|---" * (3 + len(SIDES)) + "|"]
    points = [(N, WIDTH, ms) for N, ms in by_batch.items()] + [(BATCH, W, ms) for W, ms in by_width.items()]
    for N, W, ms in points:
        theirs, ours = (ms[side] for side in SIDES)
        lines.append(f"| {N} | {W} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.2f} |")
    heading = f"Training step, preset {preset}, float32, {machine(threads)}; medians of interleaved turns\n\n"
    print(heading + "\n".join(lines))
    if out:
        picture = out.with_suffix(".png")
        table = "\n".join(lines)
        out.write_text(f"# `benchmarks/scaling.py`\n\n{heading}{table}\n\n![]({picture.name})\n", encoding="utf-8")
        draw(by_batch, by_width, picture)


if __name__ == "__main__":
    typer.run(main)
