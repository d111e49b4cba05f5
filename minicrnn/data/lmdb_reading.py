"""Labelled images in an LMDB, in the layout that text recognisers share; the texts and the bytes of image files.

    num-samples        N, in decimal
    image-000000001    the bytes of an image file         … image-N
    label-000000001    its text, UTF-8                    … label-N
    lexicon-000000001  words with spaces between, UTF-8: the choices of a lexicon-based test; optional

An LMDB is a folder with a file ``data.mdb``, which is mapped into memory. An environment must not cross a fork, and one
process may not open a file twice. So there is one environment a process, shared by all threads, and a process that
forks off opens its own.

Source of the layout: the data sets of Shi, Bai and Yao (arXiv 1507.05717) as their code reads them.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import UInt8

from minicrnn.data.folder import LMDB_FILE as DATA_FILE
from minicrnn.data.folder import Sample
from minicrnn.data.images import load_image
from minicrnn.data.report import MISSING_KEY, NOT_UTF8, DataError, Problem
from minicrnn.text import printable

if TYPE_CHECKING:
    import lmdb

COUNT_KEY = "num-samples"


class LmdbError(DataError):
    """An LMDB that cannot be used: the message names the file, the key and what to do."""


class LmdbImages:
    """The samples of an LMDB, by number from 0: sample i has the keys that end in i + 1.

    Raises:
        LmdbError: the package lmdb is not installed; the folder is no LMDB, is truncated, or its ``num-samples`` is
            missing or does not agree with its images.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._file = printable(str(self.folder / DATA_FILE))
        self._identity = _identity(self.folder)
        self._count = self._checked_count()

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        """How reports call a sample: the key of its image."""
        return key_of("image", index)

    def image(self, index: int) -> bytes:
        """The bytes of the image's file.

        Raises:
            LmdbError: its key is missing.
        """
        return self._require(key_of("image", index))

    def text(self, index: int) -> str:
        """The label.

        Raises:
            LmdbError: its key is missing, or it is not UTF-8.
        """
        return self._text(key_of("label", index))

    def lexicon(self, index: int) -> tuple[str, ...] | None:
        """The words among which the text is to be found, if there are any.

        Raises:
            LmdbError: they are not UTF-8.
        """
        key = key_of("lexicon", index)
        return None if self.get(key) is None else tuple(self._text(key).split())

    def get(self, key: str) -> bytes | None:
        """The value of a key, None where there is none.

        Raises:
            LmdbError: the file is damaged.
        """
        environment = _environment(self.folder, self._identity)
        import lmdb  # is there: the environment is of it

        try:
            with environment.begin() as transaction:
                value: bytes | None = transaction.get(key.encode())
        except lmdb.Error as error:
            raise LmdbError(f"{self._file}: damaged where {key} should be ({error}): copy or make it again") from error
        return value

    def close(self) -> None:
        """Close the file in this process, also for others who read it; whoever reads on opens it again."""
        with _lock:
            environment = _environments.pop(self._identity, None)
            if environment is not None:
                environment.close()

    def samples(self) -> Iterator[Sample]:
        """All samples. A missing key or a text that is not UTF-8 is the sample's problem."""
        for index in range(len(self)):
            text, problem = "", None
            try:
                text = self.text(index)
                if self.get(self.name(index)) is None:
                    problem = Problem(self.name(index), MISSING_KEY, str(self._missing(self.name(index))))
            except LmdbError as error:
                kind = NOT_UTF8 if isinstance(error.__cause__, UnicodeDecodeError) else MISSING_KEY
                problem = Problem(self.name(index), kind, str(error))
            yield LmdbSample(self.folder, text, self.name(index), problem, store=self, index=index)

    def _checked_count(self) -> int:
        value = self.get(COUNT_KEY)
        if value is None:
            raise LmdbError(
                f"{self._file}: there is no key {COUNT_KEY}: this LMDB holds something else, or was not written to "
                "its end. Make it again, for example with minicrnn data to-lmdb"
            )
        try:
            count = int(value)
        except ValueError:
            raise LmdbError(f"{self._file}: {COUNT_KEY} is {value[:20]!r}, not a number: make it again") from None
        if count < 1:
            raise LmdbError(f"{self._file}: {COUNT_KEY} is {count}: there is nothing to read")
        if self.get(key_of("image", count - 1)) is None and self.get(key_of("label", count - 1)) is None:
            raise LmdbError(
                f"{self._file}: {COUNT_KEY} is {count:,}, but there is no {key_of('image', count - 1)}: it was not "
                f"written to its end, or {COUNT_KEY} is wrong. Make it again"
            )
        if self.get(key_of("image", count)) is not None:
            raise LmdbError(
                f"{self._file}: {COUNT_KEY} is {count:,}, but there is {key_of('image', count)}, too: {COUNT_KEY} is "
                "wrong. Write the right number there, or make it again"
            )
        return count

    def _require(self, key: str) -> bytes:
        value = self.get(key)
        if value is None:
            raise self._missing(key)
        return value

    def _missing(self, key: str) -> LmdbError:
        return LmdbError(f"{self._file}: there is no key {key}: make it again, or leave the sample out")

    def _text(self, key: str) -> str:
        try:
            return self._require(key).decode("utf-8")
        except UnicodeDecodeError as error:
            raise LmdbError(f"{self._file}: {key} is not UTF-8 ({error.reason}): make it again") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LmdbSample(Sample):
    """A sample that is in an LMDB; ``path`` is the LMDB."""

    store: LmdbImages
    index: int

    def read_bytes(self) -> bytes:
        """The image's file. Raises LmdbError when it is missing."""
        return self.store.image(self.index)

    def load(self) -> UInt8[np.ndarray, "h w"]:
        """The image, grey, at its own size. Raises ImageError when it cannot be read."""
        return load_image(self.read_bytes(), name=f"{self.path / DATA_FILE}: {self.name}")

    def lexicon(self) -> tuple[str, ...] | None:
        """The words among which the text is to be found, if there are any."""
        return self.store.lexicon(self.index)


def key_of(kind: str, index: int) -> str:
    """The key of a sample; the layout counts from 1.

    >>> key_of("image", 0)
    'image-000000001'
    """
    return f"{kind}-{index + 1:09d}"


# By what the file is, not by its name: lmdb refuses to open one file twice in a process, under any name.
_Identity: TypeAlias = tuple[int, int]
_environments: dict[_Identity, "lmdb.Environment"] = {}
_lock = threading.RLock()


def _identity(folder: Path) -> _Identity:
    try:
        found = (folder / DATA_FILE).stat()
    except OSError as error:
        raise LmdbError(f"{printable(str(folder))} is no LMDB: it has no {DATA_FILE} ({error.strerror})") from error
    return found.st_dev, found.st_ino


def _environment(folder: Path, identity: _Identity) -> "lmdb.Environment":
    """This process's environment of an LMDB."""
    with _lock:
        if identity not in _environments:
            _environments[identity] = _opened(folder)
        return _environments[identity]


def _opened(folder: Path) -> "lmdb.Environment":
    try:
        import lmdb
    except ImportError as error:
        raise LmdbError(f"{printable(str(folder))} is an LMDB: to read it, pip install 'minicrnn[lmdb]'") from error
    file = folder / DATA_FILE
    shown = printable(str(file))
    try:
        size = file.stat().st_size
        # Data that nobody writes to need no lock file, and can be read from a disk that is read-only.
        environment = lmdb.open(
            str(folder), readonly=True, lock=False, readahead=False, meminit=False, map_size=max(size, 1)
        )
    except (lmdb.Error, OSError) as error:
        raise LmdbError(f"{shown}: cannot be opened as an LMDB ({error}): copy or make it again") from error
    # Reading a page behind the file's end would kill the process.
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        environment.close()
        raise LmdbError(f"{shown}: truncated: it has {size:,} bytes of {needed:,}. Copy or make it again")
    return environment


def _forget_environments() -> None:
    """In a process that forked off: close the parent's environments here; each LMDB is opened again when needed."""
    global _lock
    _lock = threading.RLock()
    for environment in _environments.values():
        environment.close()
    _environments.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_environments)
