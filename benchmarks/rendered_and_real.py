"""Rendered words beside photographs of words, 100 of each, for a person to look at.

The picture is for one's own eyes: the photographs may belong to somebody, and the words are drawn from a list of all
English words.

    python benchmarks/rendered_and_real.py PHOTOGRAPHS --out beside.png
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw

from minicrnn.data import normalise_height, read_samples
from minicrnn.data.rendering import PACKAGED, Renderer
from minicrnn.text import Alphabet

COLUMNS, ROWS = 5, 20
CELL = (170, 40)  # pixels; images are 32 high, and wider ones are cut off
HEIGHT = 32


def page(images: Sequence[np.ndarray], title: str) -> Image.Image:
    """A grid of grey images with a title."""
    sheet = Image.new("L", (COLUMNS * CELL[0], 24 + ROWS * CELL[1]), 128)
    ImageDraw.Draw(sheet).text((6, 4), title, fill=255)
    for i, image in enumerate(images):
        row, column = divmod(i, COLUMNS)
        sheet.paste(Image.fromarray(image[:, : CELL[0] - 6]), (column * CELL[0] + 3, 24 + row * CELL[1]))
    return sheet


def main(
    photographs: Annotated[Path, typer.Argument(help="Labelled photographs of words.")],
    out: Annotated[Path, typer.Option(help="The picture to write.")],
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    samples = read_samples(photographs)
    count = COLUMNS * ROWS
    chosen = np.random.default_rng(seed).choice(len(samples), min(count, len(samples)), replace=False)
    real = [normalise_height(samples[int(i)].load(), HEIGHT) for i in chosen]
    alphabet = Alphabet.from_texts(sample.text for sample in samples)
    renderer = Renderer.of(alphabet, fonts=[PACKAGED], seed=seed, height=HEIGHT)
    rendered = [renderer.render(i).image for i in range(count)]
    pages = [page(rendered, "rendered"), page(real, "photographs")]
    both = Image.new("L", (2 * pages[0].width + 12, pages[0].height), 255)
    both.paste(pages[0], (0, 0))
    both.paste(pages[1], (pages[0].width + 12, 0))
    both.save(out)


if __name__ == "__main__":
    typer.run(main)
