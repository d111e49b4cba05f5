"""A folder of rendered words, in the form in which ``minicrnn train`` reads folders."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from minicrnn.data.batching import ignore_interrupts
from minicrnn.data.rendering.compose import Renderer
from minicrnn.data.report import DataError
from minicrnn.files import replace_file
from minicrnn.text import label_row, printable

LABELS = "labels.tsv"
_BLOCK = 100  # images that a process makes at once
_FOLDER = 1000  # images in a folder


class Written(NamedTuple):
    """What was written.

    Attributes:
        families: images by family of fonts.
        skipped: how often a family was passed over, as it lacks a character of the text.
        undrawn: texts passed over, as no font has all their characters.
    """

    families: Counter[str]
    skipped: Counter[str]
    undrawn: int


def write_folder(
    renderer: Renderer,
    out: str | Path,
    count: int,
    *,
    workers: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Written:
    """Write samples 0 to ``count - 1`` as PNG files, a thousand in each folder, and then ``labels.tsv``.

    Args:
        renderer: makes the samples.
        out: the folder; made if need be. Images that are there are replaced.
        count: of samples.
        workers: processes that make them; 0 makes them in this one. The files are the same for any number.
        progress: called as ``progress(done, count)``.

    Raises:
        DataError: ``out`` holds a ``labels.tsv`` already, or cannot be written to.
    """
    out = Path(out)
    if (out / LABELS).exists():
        raise DataError(f"{printable(str(out))}: holds a {LABELS} already; choose another folder")
    rows: list[str] = []
    families: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    undrawn = 0
    try:
        for start in range(0, count, _FOLDER):
            (out / _name(start)).parent.mkdir(parents=True, exist_ok=True)
        loader = DataLoader(
            _Blocks(renderer, out, count),
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=workers,
            worker_init_fn=ignore_interrupts if workers else None,
            generator=torch.Generator(),
        )
        for block_rows, block_families, block_skipped, block_undrawn in loader:
            rows += block_rows
            families += block_families
            skipped += block_skipped
            undrawn += block_undrawn
            if progress is not None:
                progress(len(rows), count)
        replace_file(out / LABELS, "".join(row + "\n" for row in rows).encode())
    except OSError as error:
        raise DataError(
            f"{printable(str(out))}: cannot be written to: {error.strerror or error}. Choose another folder"
        ) from error
    return Written(families, skipped, undrawn)


_Block = tuple[list[str], Counter[str], Counter[str], int]


class _Blocks(Dataset[_Block]):
    """Writes a hundred images when it is asked for a block: their label rows, and how fonts were drawn and skipped."""

    def __init__(self, renderer: Renderer, out: Path, count: int) -> None:
        self.renderer, self.out, self.count = renderer, out, count

    def __len__(self) -> int:
        return -(-self.count // _BLOCK)

    def __getitem__(self, block: int) -> _Block:
        if not 0 <= block < len(self):
            raise IndexError(block)
        rows: list[str] = []
        families: Counter[str] = Counter()
        book = self.renderer.fonts
        book.skipped.clear()
        book.undrawn = 0
        for index in range(block * _BLOCK, min((block + 1) * _BLOCK, self.count)):
            word = self.renderer.render(index)
            Image.fromarray(word.image).save(self.out / _name(index), compress_level=1)
            rows.append(label_row(_name(index), word.text))
            families[word.face.family] += 1
        return rows, families, Counter(book.skipped), book.undrawn


def _name(index: int) -> str:
    return f"{index // _FOLDER:04d}/{index:07d}.png"


def _unchanged(block: Any) -> Any:
    return block
