"""Which looks of the rendered words earn their place: leave a group out, train, read photographs.

Trains a narrow network (preset vgg with 128 channels) on words without any looks first. From there, each variant goes
on for as many steps and with the same seeds: with all looks, with none, and with one group left out at a time. What
counts is the differences; ``--again`` trains the first variant with other seeds, too, and shows how large they are by
chance. A run that was interrupted goes on where it stopped; the table is written anew after each run.

    python benchmarks/ablation.py PHOTOGRAPHS --runs RUNS --out benchmarks/results/ablation.md
"""

from pathlib import Path
from statistics import mean
from typing import Annotated, Any, NamedTuple

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


def trained(out: Path, left_out: list[str], photographs: Path, **options: Any) -> mc.training.RunResult:
    """A run without some of the looks, finished, whether it was begun before or not."""
    return mc.train(
        None,
        out,
        render={"looks": dict.fromkeys(left_out, 0.0), "fonts": ["packaged"]},
        val=photographs,
        alphabet=DIGITS + UPPER + UPPER.lower(),
        validate_every_steps=options["steps"],
        batch_size=64,
        max_bad_share=0.2,  # the other characters of photographs are not learnt here
        resume=(out / STATE).exists(),
        **options,
    )


def accuracy(run: mc.training.RunResult) -> float:
    """The share of photographs read right at the end, letters and digits only, in any case."""
    return float(run.rows[-1].val_protocol_accuracy)


def table(found: dict[str, list[float]], base: float, heading: str) -> str:
    lines = [heading, "", "| trained with | read right, % (one figure a seed) | difference |", "|---|---|---|"]
    lines.append(f"| the start: no looks | {100 * base:.1f} | |")
    whole = mean(found[VARIANTS[0].name])
    for name, shares in found.items():
        each = " ".join(f"{100 * share:.1f}" for share in shares)
        lines.append(f"| {name} | {each} | {100 * (mean(shares) - whole):+.1f} |")
    return "\n".join(lines)


def main(
    photographs: Annotated[Path, typer.Argument(help="Labelled photographs of words.")],
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")],
    base_steps: Annotated[int, typer.Option(help="Steps without looks, before all others.")] = 1200,
    steps: Annotated[int, typer.Option(help="Steps of each variant.")] = 500,
    again: Annotated[int, typer.Option(help="How often to train the first variant anew, with other seeds.")] = 2,
    threads: Annotated[int, typer.Option()] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the table here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    count = len(mc.data.read_samples(photographs))
    network = {"preset": "vgg", "out_channels": 128, "hidden_size": 96}
    base = trained(runs / "base", list(LOOKS), photographs, steps=base_steps, rate=2e-3, **network)
    heading = f"{base_steps:,} steps of 64 words without looks, then {steps:,} each; {count:,} photographs"
    found: dict[str, list[float]] = {}
    order = [*((number, 1) for number in range(len(VARIANTS))), *((0, seed) for seed in range(2, again + 2))]
    for number, seed in order:
        name, left_out = VARIANTS[number]
        options = {"start": base.best, "steps": steps, "rate": 1e-3, "seed": seed}
        run = trained(runs / f"{number:02}-seed{seed}", left_out, photographs, **options)
        found.setdefault(name, []).append(accuracy(run))
        if out is not None:
            out.write_text(table(found, accuracy(base), heading) + "\n")
    print(table(found, accuracy(base), heading))


if __name__ == "__main__":
    typer.run(main)
