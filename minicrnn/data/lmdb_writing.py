"""From a folder of labelled images to an LMDB, and back; see ``lmdb_reading.py`` for the layout.

The image files go in as they are, byte by byte. The result is written beside its place, read back, compared, and only
then renamed: what is there under its own name is whole.
"""

import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from minicrnn.data.dataset import in_threads
from minicrnn.data.folder import Sample
from minicrnn.data.images import ImageError
from minicrnn.data.lmdb_reading import COUNT_KEY, DATA_FILE, LmdbError, LmdbImages, key_of
from minicrnn.data.report import EMPTY_LABEL, UNKNOWN_CHARACTER, UNREADABLE_IMAGE, Problem, Report, image_problem
from minicrnn.files import replace_file
from minicrnn.text import Alphabet, UnknownCharacterError, label_row, printable

if TYPE_CHECKING:
    import lmdb

_RECORDS = 3000  # in a transaction
_FIRST_MAP_SIZE = 1 << 24
LEXICON_FILE = "lexicon50.tsv"


def write_lmdb(
    samples: Sequence[Sample],
    out: str | Path,
    *,
    alphabet: Alphabet | None = None,
    lexicons: Mapping[str, Sequence[str]] | None = None,
    max_bad_share: float = 0.01,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Write samples into a new LMDB.

    Left out, counted and named are samples with a problem of their own, an empty text, a character that is not in the
    alphabet, or an image that cannot be read. The others keep their order; their names are not kept.

    Args:
        samples: from :func:`minicrnn.data.read_samples`.
        out: the LMDB's folder; it must not exist yet.
        alphabet: what the labels may hold; None takes any character.
        lexicons: for each sample's name, the words among which its text is to be found.
        max_bad_share: the share of samples, 0 to 1, that may be left out.
        progress: called as ``progress(done, total)`` after each sample.

    Raises:
        LmdbError: ``out`` exists, or cannot be written.
        DataError: more samples are bad than ``max_bad_share`` allows, or none is left; it holds the report.
    """
    problems: list[Problem] = []
    checksums: list[int] = []

    def look(sample: Sample) -> Problem | bytes:
        return _checked(sample, alphabet)

    def records() -> Iterator[tuple[str, bytes]]:
        for done, (sample, found) in enumerate(in_threads(look, samples), start=1):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                index, label = len(checksums), sample.text.encode()
                checksums.append(zlib.crc32(label, zlib.crc32(found)))
                yield key_of("image", index), found
                yield key_of("label", index), label
                if lexicons is not None:
                    yield key_of("lexicon", index), " ".join(lexicons[sample.name]).encode()
            if progress is not None:
                progress(done, len(samples))
        yield COUNT_KEY, str(len(checksums)).encode()

    with _new_folder(Path(out)) as folder:
        _write(folder, records())
        report = Report(len(samples), tuple(problems))
        report.check(max_bad_share)
        _compare(folder, checksums)
    return report


def write_folder(store: LmdbImages, out: str | Path) -> Report:
    """Write the samples of an LMDB as image files with a label file, and a lexicon file where there are lexicons.

    The files are the bytes that the LMDB holds; their names are the keys. Samples with a problem, and those whose
    image has no format that can be recognised, are left out and counted.

    Raises:
        LmdbError: ``out`` exists, or cannot be written.
    """
    samples = list(store.samples())
    problems: list[Problem] = []
    labels, lexicons = [], []
    with _new_folder(Path(out)) as folder:
        for index, sample in enumerate(samples):
            try:
                name = f"{sample.name}.{_suffix(sample)}"
            except ImageError as error:
                problems.append(sample.problem or image_problem(sample.name, error))
                continue
            (folder / name).write_bytes(sample.read_bytes())
            labels.append(label_row(name, sample.text) + "\n")
            if words := store.lexicon(index):
                lexicons.append(name + "\t" + "\t".join(words) + "\n")
        replace_file(folder / "labels.tsv", "".join(labels).encode())
        if lexicons:
            replace_file(folder / LEXICON_FILE, "".join(lexicons).encode())
    return Report(len(samples), tuple(problems))


def _checked(sample: Sample, alphabet: Alphabet | None) -> Problem | bytes:
    """The bytes of a good sample's image."""
    if sample.problem is not None:
        return sample.problem
    if not sample.text.strip():
        return Problem(sample.name, EMPTY_LABEL, "its text is empty")
    try:
        if alphabet is not None:
            alphabet.encode(alphabet.normalise(sample.text))
        sample.text.encode()
    except UnknownCharacterError as error:
        return Problem(sample.name, UNKNOWN_CHARACTER, str(error))
    except UnicodeEncodeError:
        return Problem(sample.name, UNKNOWN_CHARACTER, "its text holds a lone surrogate, which UTF-8 cannot write")
    try:
        sample.load()
        return sample.read_bytes()
    except ImageError as error:
        return image_problem(sample.name, error)
    except OSError as error:
        return Problem(sample.name, UNREADABLE_IMAGE, f"cannot be read again: {error}")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its name at the end; it is removed after an error."""
    shown = printable(str(out))
    if out.exists():
        raise LmdbError(f"{shown} exists already: remove it, or choose another place")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise LmdbError(f"{shown}: cannot be written: {error.strerror or error}; choose another place") from error
    try:
        yield folder
        folder.chmod(0o755)  # a temporary folder is private; the result should not be
        folder.rename(out)
    except OSError as error:
        raise LmdbError(f"{shown}: cannot be written: {error.strerror or error}; nothing was left there") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, records: Iterator[tuple[str, bytes]]) -> None:
    try:
        import lmdb
    except ImportError as error:
        raise LmdbError("to write an LMDB, pip install 'minicrnn[lmdb]'") from error
    try:
        environment = lmdb.open(str(folder), map_size=_FIRST_MAP_SIZE, lock=False, sync=False)
        try:
            while chunk := list(islice(records, _RECORDS)):
                _put(environment, chunk)
            environment.sync(True)
        finally:
            environment.close()
    except lmdb.Error as error:
        raise LmdbError(f"{printable(str(folder / DATA_FILE))}: cannot be written: {error}") from error


def _put(environment: "lmdb.Environment", records: Sequence[tuple[str, bytes]]) -> None:
    """Write some records at once, after enlarging the map where they do not fit."""
    import lmdb

    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in records:
                    transaction.put(key.encode(), value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _compare(folder: Path, checksums: Sequence[int]) -> None:
    """Read everything back.

    Raises:
        LmdbError: something is not what was written.
    """
    store = LmdbImages(folder)
    found = [zlib.crc32(store.get(key_of("label", i)) or b"", zlib.crc32(store.image(i))) for i in range(len(store))]
    store.close()
    if found != list(checksums):
        wrong = next((i for i, (a, b) in enumerate(zip(found, checksums, strict=False)) if a != b), len(found))
        raise LmdbError(f"sample {wrong + 1} was read back changed: is the disk full or broken? Nothing was left there")


def _suffix(sample: Sample) -> str:
    """The usual suffix of the format that an image's bytes are in."""
    if sample.problem is not None:
        raise ImageError(sample.problem.reason)
    sample.load()
    from io import BytesIO

    with Image.open(BytesIO(sample.read_bytes())) as image:
        return {"JPEG": "jpg"}.get(image.format or "", (image.format or "image").lower())
