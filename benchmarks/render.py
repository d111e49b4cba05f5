"""Rendering words: milliseconds an image on one core, all looks as often as they come, and what each look costs.

The letters of a face are drawn once and kept, so the first images take longer: both are shown. A look's cost is the
difference between the same words without looks and with this one alone, taking turns.

    python benchmarks/render.py --fonts packaged
"""

import string
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from pairs import interleaved, machine

from minicrnn.data.rendering import LOOKS, PACKAGED, Plan, Renderer
from minicrnn.text import Alphabet

ALPHABET = Alphabet(string.digits + string.ascii_letters + "!\"#$%&'()*+,-./:;?@")
FIRST, WARM, WORDS = 2000, 24_000, 30


def milliseconds(renderer: Renderer, start: int, count: int) -> float:
    """The mean time of some images."""
    began = time.perf_counter()
    for index in range(start, start + count):
        renderer.render(index)
    return 1000 * (time.perf_counter() - began) / count


def look_costs(renderer: Renderer, seconds: float) -> dict[str, float]:
    """Milliseconds that an image takes without looks (""), and with each look alone at strength 1."""

    def draw(plan: Plan) -> None:
        for index in range(WORDS):
            renderer.render(index, plan)

    plans = {"": Plan({}), **{name: Plan({name: 1.0}) for name in LOOKS}}
    steps = {name: lambda plan=plan: draw(plan) for name, plan in plans.items()}
    return {name: took / WORDS for name, took in interleaved(steps, seconds).items()}


def report(renderer: Renderer, seconds: float) -> str:
    """The tables, in Markdown."""
    first = milliseconds(renderer, 0, FIRST)
    milliseconds(renderer, FIRST, WARM - FIRST)
    later = milliseconds(renderer, WARM, FIRST)
    kept = milliseconds(renderer, WARM, FIRST)
    costs = look_costs(renderer, seconds)
    plain = costs.pop("")
    faces = renderer.fonts.faces
    lines = [
        "# `benchmarks/render.py`",
        "",
        f"Words {renderer.height} pixels high, {len(faces):,} faces of {len({f.family for f in faces}):,} families; "
        f"one core, {machine(1)}",
        "",
        "| images | ms an image |",
        "|---|---|",
        f"| the first {FIRST:,} | {first:.2f} |",
        f"| {FIRST:,} after {WARM:,} | {later:.2f} |",
        f"| the same again: every letter was drawn before | {kept:.2f} |",
        f"| without looks, every letter drawn before | {plain:.2f} |",
        "",
        "| look | share of images, % | added ms where it comes | on average |",
        "|---|---|---|---|",
    ]
    for name, took in sorted(costs.items(), key=lambda item: -item[1]):
        chance = renderer.recipe.chances[name]
        lines.append(f"| {name} | {100 * chance:.0f} | {took - plain:.3f} | {(took - plain) * chance:.3f} |")
    return "\n".join(lines)


def main(
    fonts: Annotated[list[str] | None, typer.Option(help="Folder, packaged or system; again for more.")] = None,
    height: Annotated[int, typer.Option()] = 32,
    seconds: Annotated[float, typer.Option(help="For the costs of looks.")] = 15.0,
    out: Annotated[Path | None, typer.Option(help="File for the report.")] = None,
) -> None:
    """Measure, and print the tables."""
    torch.set_num_threads(1)
    text = report(Renderer.of(ALPHABET, fonts=fonts or (PACKAGED,), height=height), seconds)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
