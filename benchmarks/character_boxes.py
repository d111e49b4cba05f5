"""Do characters stand where the reader says? On rendered words the true boxes are known.

A character counts as found if the centre that the reader gives it lies between the left and the right edge of the
character's true box, as far as the image shows it. Characters are compared in words that are read right; for all words,
read right or not, the truth is read by a lexicon of one word, which aligns it. The same words are given at their own
size and enlarged, since places are in pixels of the image that was given.

    python benchmarks/character_boxes.py RUN/best.safetensors --images 1000

The model must read lower-case words; those of its training must have another ``--seed``.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from PIL import Image

import minicrnn as mc
from minicrnn.reading import Reading


class Share(NamedTuple):
    """Characters whose centre lies in their true box, of so many; and how far centres are from the boxes' middles."""

    inside: int
    characters: int
    offset: float  # the mean, in widths of the true boxes; negative is to the left

    def __str__(self) -> str:
        share = self.inside / max(1, self.characters)
        return f"{self.inside:,} of {self.characters:,}: {share:.2%} | {self.offset:+.2f}"


def share_inside(readings: list[Reading], boxes: list[np.ndarray], widths: list[int]) -> Share:
    """Compare readings with true boxes [n, 4], one for each character.

    Raises:
        ValueError: a reading has more or fewer characters than boxes.
    """
    inside, offsets = 0, []
    for reading, true, width in zip(readings, boxes, widths, strict=True):
        for character, (left, _, right, _) in zip(reading.characters, true.clip(min=0), strict=True):
            right = min(float(right), float(width))
            inside += left <= character.center <= right
            offsets.append((character.center - (left + right) / 2) / max(right - left, 1.0))
    return Share(inside, len(offsets), float(np.mean(offsets)) if offsets else 0.0)


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape
    size = round(width * factor), round(height * factor)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def rows(reader: mc.Reader, words: list[Any], factor: float) -> list[str]:
    """Two rows of the table: words read right, and all words with their truth given."""
    images = [word.image if factor == 1 else enlarged(word.image, factor) for word in words]
    scales = [(image.shape[1] / word.image.shape[1], factor) * 2 for word, image in zip(words, images, strict=True)]
    boxes = [word.boxes * scale for word, scale in zip(words, scales, strict=True)]
    widths = [image.shape[1] for image in images]
    read = reader.read(images)
    right = [i for i, word in enumerate(words) if read[i].text == word.text]
    aligned = reader.read(images, lexicon=[[word.text] for word in words])
    possible = [i for i, one in enumerate(aligned) if one.text]  # some words are too narrow for their text
    lines = []
    for name, readings, chosen in (("read right", read, right), ("truth given", aligned, possible)):
        found = share_inside(*([values[i] for i in chosen] for values in (readings, boxes, widths)))
        lines.append(f"| {name} | {factor:g} | {len(chosen):,} of {len(words):,} | {found} |")
    return lines


def main(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    images: Annotated[int, typer.Option(help="How many words.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the words.")] = 7,
    threads: Annotated[int, typer.Option()] = 2,
) -> None:
    from minicrnn.data.rendering import Renderer

    torch.set_num_threads(threads)
    reader = mc.Reader.load(model, "cpu")
    renderer = Renderer.of(reader.alphabet, seed=seed, height=reader.model.height)
    words = [renderer.render(i) for i in range(images)]
    print("| words | enlarged | | centre in the true box | offset, in widths |\n|---|---|---|---|---|")
    print("\n".join(rows(reader, words, 1.0) + rows(reader, words, 2.7)))


if __name__ == "__main__":
    typer.run(main)
