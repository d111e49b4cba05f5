"""``minicrnn read``."""

import dataclasses
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minicrnn.backend import use_backend
from minicrnn.cli import decoding as choose
from minicrnn.cli.common import FAILED, Device, app, complain
from minicrnn.ctc import Lexicon
from minicrnn.data import DataError, ImageError, load_image, read_samples
from minicrnn.data.folder import FILENAME, is_lmdb
from minicrnn.errors import OptionError
from minicrnn.files import require_no_input
from minicrnn.reader import Reader, Reading
from minicrnn.shipped import split_model
from minicrnn.text import printable, tsv_row

CHUNK = 256  # images in memory at once
FEW = 200  # up to so many, the kernels take longer to load than they save; to compile, the first time, much longer


class OutputFormat(StrEnum):
    """How ``minicrnn read`` prints."""

    text = "text"
    tsv = "tsv"
    json = "json"


@app.command("read")
def read_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] IMAGE...",
            help='A model file, such as RUN/best.safetensors; without it the model that comes with minicrnn, "words". '
            "Then the images to read, or folders of images.",
        ),
    ],
    *,
    output: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.text,
    plot: Annotated[
        Path | None,
        typer.Option(help="Of one image: draw the alignment to this file, and the lattice and the beam beside it."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    device: Device = "auto",
    beam: choose.Beam = None,
    top: choose.Top = 1,
    lexicon: choose.LexiconFile = None,
    lexicons: choose.LexiconsFile = None,
    lexicon_method: choose.LexiconMethod = choose.Method.trie,
    delta: choose.Delta = choose.DELTA,
    lexicon_case: choose.LexiconCase = choose.Case.KEEP,
    lm: choose.LanguageModelFile = None,
    lm_weight: choose.Weight = choose.WEIGHT,
    word_bonus: choose.WordBonus = choose.WORD_BONUS,
    hotword: choose.Hotwords = None,
    hotword_bonus: choose.HotwordBonus = choose.HOTWORD_BONUS,
) -> None:
    """Read images; prints path, text and confidence for each, best first with --top. --format json gives characters
    with their boxes, and log-probabilities, too.

    Exits with 1 if an image could not be opened.
    """
    model, given = split_model(files)
    if not given:
        raise OptionError(f"there are no images to read: give them after {model}")
    images = [image for path in given for image in _images_of(path)]
    if plot is not None:
        if len(images) != 1:
            raise OptionError(f"--plot draws one image, and {len(images)} are given")
        from minicrnn.plots import picture_paths, require_picture  # brings matplotlib, which nothing else needs

        require_picture(plot)
        for picture in picture_paths(plot):
            require_no_input(picture, [*given, model, lexicon, lexicons, lm])
    reader = Reader.load(model, device)
    chosen = choose.chosen_decoding(
        reader.alphabet, beam=beam, top=top, lexicon=lexicon, lexicons=lexicons, method=lexicon_method, delta=delta,
        case=lexicon_case, lm=lm, weight=lm_weight, word_bonus=word_bonus, hotwords=hotword,
        hotword_bonus=hotword_bonus,
    )  # fmt: skip
    own = _lexicons_of(images, lexicons, chosen.lexicons)
    level = "torch" if chosen.is_greedy and len(images) <= FEW else "auto"
    with use_backend(level):
        read = _read_and_print(reader, [path for path, _ in images], chosen.options, own, batch_size, output, plot)
    if read < len(images):
        raise typer.Exit(FAILED)


def _read_and_print(
    reader: Reader,
    images: Sequence[Path],
    options: dict[str, Any],
    lexicons: Mapping[Path, Lexicon] | None,
    batch_size: int,
    output: OutputFormat,
    plot: Path | None,
) -> int:
    """Read images, some at a time; returns how many could be opened."""
    read, notes = 0, Counter[str]()
    for start in range(0, len(images), CHUNK):
        opened = list(_opened(images[start : start + CHUNK]))
        if lexicons is not None:
            options = options | {"lexicon": [lexicons[path] for path, _ in opened]}
        readings = reader.read([image for _, image in opened], batch_size, **options)
        for (path, _), reading in zip(opened, readings, strict=True):
            print(_formatted(path, reading, output))
            notes.update(_about_the_lexicon(reading, options))
        sys.stdout.flush()
        if plot is not None and opened:
            _draw(reader, opened[0][1], plot, options)
        read += len(opened)
    for note, count in notes.items():
        complain(f"{count:,} of {read:,} images: {note}")
    return read


def _about_the_lexicon(reading: Reading, options: Mapping[str, Any]) -> list[str]:
    """What a text and a number would not tell."""
    if "lexicon" not in options:
        return []
    if not reading.alternatives:
        return ["no word of the lexicon is possible, so no text is given"]
    if options["method"] == "bk-tree" and reading.method == "trie":
        return [f"no word of the lexicon lies within {options['delta']} of the greedy reading; read by the trie"]
    return []


def _images_of(path: Path) -> list[tuple[Path, str]]:
    """An image, or those of a folder and its subfolders; each with the name that lexicon files may call it by."""
    if not path.is_dir():
        return [(path, path.name)]
    if is_lmdb(path):
        raise DataError(f"{printable(str(path))} is an LMDB, and read takes images and folders: see minicrnn eval")
    return [(sample.path, sample.name) for sample in read_samples(path, labels=FILENAME)]


def _opened(paths: Sequence[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """The images that open; a complaint about each of the others."""
    for path in paths:
        try:
            yield path, load_image(path)
        except ImageError as error:
            complain(error)


def _lexicons_of(
    images: Sequence[tuple[Path, str]], file: Path | None, lexicons: Mapping[str, Lexicon] | None
) -> dict[Path, Lexicon] | None:
    """Each image's lexicon, by its path as it was given, or by its name."""
    if lexicons is None:
        return None
    found = {path: lexicons.get(str(path)) or lexicons.get(name) for path, name in images}
    missing = [str(path) for path, own in found.items() if own is None]
    if missing:
        raise DataError(
            f"--lexicons {printable(str(file))} has no line for {len(missing):,} of {len(found):,} images, first "
            f"{printable(missing[0])}: add image, tab, word, tab, word, …"
        )
    return {path: own for path, own in found.items() if own is not None}


def _draw(reader: Reader, image: np.ndarray, path: Path, options: dict[str, Any]) -> None:
    from minicrnn.plots import plot_all  # brings matplotlib, which nothing before needs

    for drawn in plot_all(reader, image, path, **options):
        complain(f"drawn: {drawn}")


def _formatted(path: Path, reading: Reading, output: OutputFormat) -> str:
    if output is OutputFormat.json:  # ASCII: JSON wherever it is printed
        return json.dumps(_plain({"path": str(path)} | dataclasses.asdict(reading)))
    others = [(other.text, other.confidence) for other in reading.alternatives[1:]]
    texts = [(reading.text, reading.confidence), *others]
    if output is OutputFormat.tsv:
        return "\n".join(tsv_row(str(path), text, f"{confidence:.4f}") for text, confidence in texts)
    return "\n".join(f"{tsv_row(str(path))}  {tsv_row(text)}  {confidence:.3f}" for text, confidence in texts)


def _plain(value: Any) -> Any:
    """What JSON has: no infinity (the logarithm of a probability of zero) becomes null."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
