"""The scene-text benchmark: how well a model reads each of several test sets, beside what the paper published.

The protocol is the literature's: texts are compared after lower-casing and keeping only a–z and 0–9; images whose truth
is then empty do not count. Without a lexicon the reading is greedy. With one, each image comes with words of which its
text is one, and the most probable of them is read; a word may stand there in capitals, small letters or as a title.

Source of the published row: Shi, Bai and Yao, arXiv 1507.05717, table 2.
"""

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minicrnn.ctc import Lexicon
from minicrnn.data import DataError, Sample, read_samples
from minicrnn.data.folder import LABEL_FILES, LMDB_FILE, is_lmdb
from minicrnn.data.lexicon_files import lexicon_files, read_words
from minicrnn.evaluation import EACH, Evaluation, compare
from minicrnn.reader import Reader
from minicrnn.scores import scene_text_form
from minicrnn.text import Alphabet, printable

NO_LEXICON = ""
# Word accuracy in percent, by set and lexicon.
PUBLISHED = {
    ("IIIT5K", NO_LEXICON): 78.2,
    ("IIIT5K", "50"): 97.6,
    ("IIIT5K", "1k"): 94.4,
    ("SVT", NO_LEXICON): 80.8,
    ("SVT", "50"): 96.4,
    ("IC03", NO_LEXICON): 89.4,
    ("IC03", "50"): 98.7,
    ("IC03", "Full"): 97.6,
    ("IC13", NO_LEXICON): 86.7,
}
# Folders are called iiit5k_3000, SVT, icdar2003, IC13_857, …; SVTP is another set than SVT.
_NAMES = {
    "IIIT5K": r"iiit5?k",
    "SVT": r"svt(?!p|perspective)",
    "IC03": r"(ic|icdar)(20)?03",
    "IC13": r"(ic|icdar)(20)?13",
}


@dataclass(frozen=True)
class Row:
    """The scores of a set, in the protocol's form.

    Attributes:
        name: of the set, below the folder of all sets.
        lexicon: which lexicon, such as "50"; empty without one.
        images: how many count.
        left_out: images that could not be read, and those whose truth has no letter and no digit.
        accuracy: share of words read right.
        one_minus_ned: mean of 1 − edit distance / longer text.
        calibration_error: ECE over ten bins of confidence.
        milliseconds: for an image: opening it, the network, and decoding.
        published_as: the paper's name of the set, None where it is none of the paper's.
        published: the paper's word accuracy, 0 to 1, None where it has none.
        words_left_out: words of lexicons that the alphabet cannot spell.
    """

    name: str
    lexicon: str
    images: int
    left_out: int
    accuracy: float
    one_minus_ned: float
    calibration_error: float
    milliseconds: float
    published_as: str | None
    published: float | None
    words_left_out: int = 0


def benchmark(
    reader: Reader,
    sets: str | Path,
    *,
    batch_size: int = 32,
    max_bad_share: float = 0.01,
    progress: Callable[[str, int, int], Any] | None = None,
) -> list[Row]:
    """Score every set below a folder: a row for greedy reading, and one for each lexicon it has.

    Args:
        reader: the model.
        sets: a folder; each folder below it that has a label file, or is an LMDB, is a set.
        batch_size: images that go through the network at once.
        max_bad_share: the share of a set's samples, 0 to 1, that may be left out.
        progress: called with the set's name, images done, images in all.

    Raises:
        DataError: there is no set, or one cannot be used; its name is in the message.
    """
    rows: list[Row] = []
    for name, folder in find_sets(Path(sets)).items():
        try:
            rows += _score_set(reader, name, folder, batch_size, max_bad_share, progress)
        except DataError as error:
            raise DataError(f"set {printable(name)}: {error}", error.report) from error
    return rows


def find_sets(folder: Path) -> dict[str, Path]:
    """The sets below a folder by their paths in it, sorted; the folder itself, by its name, if it is a set.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {printable(str(folder))}: give the folder of the sets")
    if _is_set(folder):
        return {folder.absolute().name: folder}
    found: dict[str, Path] = {}
    for place in sorted(path for path in folder.rglob("*") if path.is_dir() and _is_set(path)):
        if not any(place.is_relative_to(other) for other in found.values()):
            found[place.relative_to(folder).as_posix()] = place
    if not found:
        raise DataError(
            f"{printable(str(folder))} has no test sets: each is a folder below it with {' or '.join(LABEL_FILES)}, "
            f"or an LMDB ({LMDB_FILE})"
        )
    return found


def published_name(name: str) -> str | None:
    """The paper's name of a set, by the name of its folder; None where it is none of the paper's.

    >>> published_name("IC13_857"), published_name("svtp"), published_name("evaluation/iiit5k_3000")
    ('IC13', None, 'IIIT5K')
    """
    plain = re.sub("[^a-z0-9]", "", name.rpartition("/")[2].lower())
    if "train" in plain:
        return None  # the paper scored test sets
    return next((known for known, pattern in _NAMES.items() if re.match(pattern, plain)), None)


def in_protocol_form(scores: Evaluation) -> Evaluation:
    """The same readings, as the protocol compares them; those whose truth is then empty are left out."""
    predictions = (replace(p, text=scene_text_form(p.text), truth=scene_text_form(p.truth)) for p in scores.predictions)
    return replace(scores, predictions=tuple(p for p in predictions if p.truth))


def spellings(words: Iterable[str], alphabet: Alphabet) -> tuple[list[str], int]:
    """The words in capitals, small letters, as titles and as they are, so far as the alphabet has their characters.

    Returns:
        them, each once; and how many words cannot be spelled in any way.

    >>> spellings(["Bar", "7", "é"], Alphabet("abrBAR7"))
    (['Bar', 'bar', 'BAR', '7'], 1)
    """
    known, found, lost = set(alphabet.characters), dict[str, None](), 0
    for word in words:
        ways = [way for way in (word, word.lower(), word.upper(), word.title()) if way and known.issuperset(way)]
        found.update(dict.fromkeys(ways))
        lost += not ways
    return list(found), lost


def _is_set(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*LABEL_FILES, LMDB_FILE))


def _score_set(
    reader: Reader,
    name: str,
    folder: Path,
    batch_size: int,
    max_bad_share: float,
    progress: Callable[[str, int, int], Any] | None,
) -> list[Row]:
    samples = read_samples(folder)

    def read(mode: dict[str, Any], lexicons: dict[str, Lexicon] | None = None) -> Evaluation:
        found = compare(
            reader,
            samples,
            {"": mode},
            batch_size=batch_size,
            max_bad_share=max_bad_share,
            lexicons=lexicons,
            progress=None if progress is None else lambda done, total: progress(name, done, total),
        )
        return found[""]

    rows = [_row(name, NO_LEXICON, read({}), len(samples))]
    for lexicon, words in _lexicons(folder, samples).items():
        own, lost = {}, 0
        for sample, listed in words.items():
            ways, unspelled = spellings(listed, reader.alphabet)
            if not ways:
                raise DataError(f"lexicon {lexicon}: the model's alphabet cannot spell any word of {printable(sample)}")
            own[sample], lost = Lexicon(ways, reader.alphabet), lost + unspelled
        rows.append(replace(_row(name, lexicon, read({"lexicon": EACH}, own), len(samples)), words_left_out=lost))
    return rows


def _row(name: str, lexicon: str, scores: Evaluation, samples: int) -> Row:
    compared = in_protocol_form(scores)
    known = published_name(name)
    published = PUBLISHED.get((known or "", lexicon))
    return Row(
        name,
        lexicon,
        len(compared.predictions),
        samples - len(compared.predictions),
        compared.word_accuracy,
        compared.one_minus_ned,
        compared.calibration_error,
        1000 * scores.seconds / max(1, len(scores.predictions)),
        known,
        None if published is None else published / 100,
    )


def _lexicons(folder: Path, samples: Sequence[Sample]) -> dict[str, dict[str, tuple[str, ...]]]:
    """The words of each image, for each of the set's lexicons.

    Raises:
        DataError: a lexicon file cannot be used, or an LMDB has words for some of its images only.
    """
    names = [sample.name for sample in samples]
    if not is_lmdb(folder):
        return {_usual(tag): read_words(path, names) for tag, path in lexicon_files(folder).items()}
    from minicrnn.data.lmdb_reading import LmdbImages  # needs the extra lmdb

    store = LmdbImages(folder)
    found = {store.name(i): words for i in range(len(store)) if (words := store.lexicon(i))}
    if not found:
        return {}
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{len(missing):,} images have no lexicon, first {missing[0]}, and the others have")
    return {_usual(str(round(statistics.median(map(len, found.values()))))): found}


def _usual(tag: str) -> str:
    """A lexicon's name as in the paper's table."""
    return {"1000": "1k", "1K": "1k", "full": "Full"}.get(tag.strip("-_ "), tag.strip("-_ ")) or "own"
