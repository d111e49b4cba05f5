"""A folder of labelled images: the texts come from a label file, or from the names of the files. Or an LMDB.

A label file is UTF-8 text with a line for each image: path, tab, text. The text is kept as it is, spaces,
quotes and further tabs included. Paths are relative to the folder, or absolute. Blank lines are passed over;
a byte order mark and Windows line ends are no part of path or text.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from minicrnn.data.images import load_image
from minicrnn.data.report import LISTED_TWICE, NO_TEXT_IN_NAME, PATH_OUTSIDE, UNREADABLE_IMAGE, DataError, Problem
from minicrnn.text import printable

LABEL_FILES = ("labels.tsv", "gt.txt")
LMDB_FILE = "data.mdb"
FILENAME = "filename"
IMAGE_SUFFIXES = frozenset(
    {
        ".bmp",
        ".gif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file with its text.

    Attributes:
        path: where the image is.
        text: what it says, as labelled.
        name: how reports call it: its path as the label file writes it, or relative to the folder.
        problem: why it cannot be used, where reading the labels already showed that.
    """

    path: Path
    text: str
    name: str
    problem: Problem | None = None

    def read_bytes(self) -> bytes:
        """The image's file. Raises OSError when it cannot be read."""
        return self.path.read_bytes()

    def load(self) -> UInt8[np.ndarray, "h w"]:
        """The image, grey, at its own size. Raises ImageError when it cannot be read."""
        return load_image(self.path)


def read_samples(folder: str | Path, labels: str | Path | None = None, pattern: str | None = None) -> list[Sample]:
    """List the samples of a folder or of an LMDB; the images themselves are not opened.

    A relative path that leaves the folder or is the folder itself, an image listed twice and a file name that does
    not match ``pattern`` raise nothing: such a sample carries its ``problem``, and ``prepare`` reports it with all
    others.

    Args:
        folder: where the images are; or an LMDB (see ``lmdb_reading.py``), which has the texts, too.
        labels: None takes ``labels.tsv`` in the folder, else ``gt.txt``. "filename" takes the name of each
            image, without its suffix, as its text; images are searched for in all subfolders, hidden files
            and folders left out, and sorted by path. Anything else is the label file: its name in the
            folder, or its path.
        pattern: for ``labels="filename"``, a regular expression with a group called ``text`` that the whole
            name without its suffix must match, such as ``(?P<text>[^_]+)_\\d+``.

    Raises:
        DataError: the folder is missing, a file, or empty; there is no label file; the label file is not
            UTF-8, has no rows, or has a row without a tab (named by file and line); the pattern is no use; an LMDB
            is damaged, or ``labels`` are given for one.
    """
    folder = Path(folder)
    shown = printable(str(folder))
    if is_lmdb(folder):
        if labels is not None or pattern is not None:
            raise DataError(f"{shown} is an LMDB, which has its own labels: leave --labels and --pattern out")
        from minicrnn.data.lmdb_reading import LmdbImages  # needs the extra lmdb

        return list(LmdbImages(folder).samples())
    if folder.is_file():
        raise DataError(f"{shown} is a file: pass the folder with the images, and the label file as labels")
    if not folder.is_dir():
        raise DataError(f"there is no folder {shown}: check the path")
    if labels == FILENAME:
        return _samples_from_names(folder, pattern)
    if pattern is not None:
        raise DataError(f'a pattern reads texts from file names: give labels="{FILENAME}" with it, or leave it out')
    return _samples_from_file(folder, _find_label_file(folder, labels))


def is_lmdb(folder: str | Path) -> bool:
    """Whether a folder is an LMDB."""
    return (Path(folder) / LMDB_FILE).is_file()


def _find_label_file(folder: Path, labels: str | Path | None) -> Path:
    in_folder = [folder / name for name in LABEL_FILES]
    candidates = in_folder if labels is None else [folder / labels, Path(labels)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    shown = printable(str(folder))
    if labels is not None:
        looked = " or ".join(dict.fromkeys(printable(str(path)) for path in candidates))
        raise DataError(f"there is no label file {looked}: check the path")
    images = len(_find_images(folder))
    if not images and not any(folder.iterdir()):
        raise DataError(f"{shown} is empty: put images and a label file ({LABEL_FILES[0]}) there")
    raise DataError(
        f"{shown} has {images:,} images and no label file (looked for {' and '.join(LABEL_FILES)}). Write "
        f"{LABEL_FILES[0]} with lines of path, tab, text; or name another file with --labels FILE; or, if "
        f"the names of the files are the texts, use --labels {FILENAME}"
    )


def _samples_from_file(folder: Path, label_file: Path) -> list[Sample]:
    samples: list[Sample] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(_read_lines(label_file), start=1):
        if not line.strip():
            continue
        name, tab, text = line.partition("\t")
        if not tab or not name.strip():
            what = "has no tab" if not tab else "has no path before its tab"
            raise DataError(
                f"{printable(str(label_file))}:{number} {what}: '{printable(line[:60])}'. Each line is: path, tab, text"
            )
        inside = os.path.normpath(name)
        path = folder / inside
        problem = None
        if inside == os.curdir:
            problem = Problem(name, UNREADABLE_IMAGE, f"line {number}: {name} is the folder itself, not an image in it")
        elif Path(inside).parts[0] == os.pardir:
            problem = Problem(name, PATH_OUTSIDE, f"line {number}: {name} leaves the folder; use an absolute path")
        elif (first := first_line.setdefault(str(path), number)) != number:
            problem = Problem(name, LISTED_TWICE, f"line {number} names the image of line {first} again")
        samples.append(Sample(path, text, name, problem))
    if not samples:
        raise DataError(f"{printable(str(label_file))} has no rows: write a line of path, tab, text for each image")
    return samples


def _read_lines(label_file: Path) -> list[str]:
    try:
        data = label_file.read_bytes()
    except OSError as error:
        raise DataError(f"{printable(str(label_file))} cannot be opened: {error.strerror or error}") from error
    try:
        # Lines end at \n only: str.splitlines would also cut texts at U+2028 and other rare characters.
        return [line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        guess = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        raise DataError(
            f"{printable(str(label_file))}:{number} is not UTF-8 (byte 0x{data[error.start]:02x}; "
            f"perhaps the file is in {guess}): save it as UTF-8"
        ) from error


def _samples_from_names(folder: Path, pattern: str | None) -> list[Sample]:
    expression = None if pattern is None else _compile(pattern)
    images = _find_images(folder)
    if not images:
        raise DataError(
            f"{printable(str(folder))} and its subfolders have no images "
            f"(looked for {' '.join(sorted(IMAGE_SUFFIXES))})"
        )
    samples = []
    for path in images:
        name, text, problem = path.relative_to(folder).as_posix(), path.stem, None
        if expression is not None:
            match = expression.fullmatch(path.stem)
            text = (match and match["text"]) or ""
            if match is None:
                problem = Problem(name, NO_TEXT_IN_NAME, f"{path.stem!r} does not match the pattern {pattern}")
        samples.append(Sample(path, text, name, problem))
    return samples


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"the pattern {pattern!r} is not a regular expression: {error}") from error
    if "text" not in expression.groupindex:
        raise DataError(f"the pattern {pattern!r} has no group called text: mark it as (?P<text>...)")
    return expression


def _find_images(folder: Path) -> list[Path]:
    found = []
    for where, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        visible = (Path(where, name) for name in files if not name.startswith("."))
        found += [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found)
