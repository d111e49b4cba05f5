"""Which looks of the rendered words earn their place: leave a group out, train anew, read photographs.

Trains a narrow network (preset vgg with 128 channels) from the same seeds on words with all looks, with none, and with
one group of looks left out at a time. Each run is as short as the others, so what counts is the differences. A run
that was interrupted goes on where it stopped; the table is written anew after each run.

    python benchmarks/ablation.py PHOTOGRAPHS --runs RUNS --out benchmarks/results/ablation.md
"""

from pathlib import Path
from statistics import mean
from typing import Annotated, NamedTuple

import torch
import typer

import minicrnn as mc
from minicrnn.data.rendering import LOOKS
from minicrnn.training.run import STATE

GROUPS = {
    "letters: spacing, small capitals, uneven line": ["letter spacing", "small capitals", "uneven line"],
    "neighbours: words beside, lines around": ["words beside", "lines around"],
    "ink: bold, thin, worn": ["bold", "thin", "worn"],
    "shape: curve, squeeze, slant, perspective, rotation": ["curve", "squeeze", "slant", "perspective", "rotation"],
    "crop: tight, loose": ["tight crop", "loose crop"],
    "tone: inverted, low contrast, ink gradient": ["inverted", "low contrast", "ink gradient"],
    "paper: gradient, clouds, grain, clutter, edge": ["gradient", "clouds", "grain", "clutter", "edge"],
    "paint: shadow, block, outline": ["shadow", "block", "outline"],
    "light: uneven light, cast shadow, glare": ["uneven light", "cast shadow", "glare"],
    "focus: blur, motion blur, low resolution, sharpening": ["blur", "motion blur", "low resolution", "sharpening"],
    "grains: noise, JPEG": ["noise", "JPEG"],
}
DIGITS = "0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Variant(NamedTuple):
    """One way to render: the looks that are left out."""

    name: str
    left_out: list[str]


VARIANTS = [
    Variant("all looks", []),
    Variant("no looks", list(LOOKS)),
    *(Variant(f"without {name}", looks) for name, looks in GROUPS.items()),
]


def accuracy(variant: Variant, number: int, seed: int, photographs: Path, steps: int, runs: Path) -> float:
    """The share of photographs read right after a short training, letters and digits only, in any case."""
    out = runs / f"{number:02}-seed{seed}"
    result = mc.train(
        None,
        out,
        render={"looks": dict.fromkeys(variant.left_out, 0.0), "fonts": ["packaged"]},
        val=photographs,
        alphabet=DIGITS + UPPER + UPPER.lower(),
        preset="vgg",
        out_channels=128,
        hidden_size=96,
        steps=steps,
        validate_every_steps=steps,
        batch_size=64,
        rate=2e-3,
        max_bad_share=0.2,  # the other characters of photographs are not learnt here
        seed=seed,
        resume=(out / STATE).exists(),
    )
    return result.rows[-1].val_protocol_accuracy


def table(found: dict[str, list[float]], steps: int, photographs: int) -> str:
    lines = [
        f"Looks left out, {steps:,} steps of 64 rendered words each; {photographs:,} photographs",
        "",
        "| trained with | read right, % (one figure a seed) | mean | difference |",
        "|---|---|---|---|",
    ]
    whole = found[VARIANTS[0].name]
    for name, shares in found.items():
        difference = mean(shares) - mean(whole[: len(shares)])
        each = " ".join(f"{100 * share:.1f}" for share in shares)
        lines.append(f"| {name} | {each} | {100 * mean(shares):.1f} | {100 * difference:+.1f} |")
    return "\n".join(lines)


def main(
    photographs: Annotated[Path, typer.Argument(help="Labelled photographs of words.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps of each run.")] = 800,
    seeds: Annotated[int, typer.Option(help="Runs of each variant.")] = 1,
    threads: Annotated[int, typer.Option()] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the table here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    count = len(mc.data.read_samples(photographs))
    found: dict[str, list[float]] = {}
    for seed in range(1, seeds + 1):
        for number, variant in enumerate(VARIANTS):
            found.setdefault(variant.name, []).append(accuracy(variant, number, seed, photographs, steps, runs))
            if out is not None:
                out.write_text(table(found, steps, count) + "\n")
    print(table(found, steps, count))


if __name__ == "__main__":
    typer.run(main)
