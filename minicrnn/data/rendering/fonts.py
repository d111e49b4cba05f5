"""Fonts: where they are found, what each can draw, and which one draws a word.

A font file gives one face, or many where its weight or width varies. Faces are drawn by kind (half of the words in
sans serif, and so on), then by family, then by weight, so that a family of eighteen weights counts as much as one of
a single weight.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np

from minicrnn.data.rendering.faces import Face, FontError, built_in_faces, read_faces
from minicrnn.text import describe, printable

# Names of sources: the fonts of the extra "render", those of the computer, and the one inside Pillow.
PACKAGED, SYSTEM, PILLOW = "packaged", "system", "pillow"
SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
SHARES = {"SANS_SERIF": 0.5, "SERIF": 0.24, "DISPLAY": 0.16, "HANDWRITING": 0.06, "MONOSPACE": 0.04}
_DRAWS = 40  # faces tried at random for a word, before those that have its characters are listed
_PACKAGE_GROUP = "fontpkg.family"


@dataclass
class FontBook:
    """Faces to draw with.

    Attributes:
        faces: all of them.
        left_out: why a file is not used, by its path.
        skipped: how often each family was drawn for a text that it lacks a character of, in this process.
        undrawn: how many texts no face has all characters of, in this process.

    Raises:
        FontError: there is no face.
    """

    faces: Sequence[Face]
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    undrawn: int = 0

    def __post_init__(self) -> None:
        if not self.faces:
            reasons = "".join(f"\n  {printable(path)}: {why}" for path, why in list(self.left_out.items())[:5])
            raise FontError(f"there is no font to draw with: name another folder, or install minicrnn[render]{reasons}")
        self._cumulative = np.cumsum(_shares(self.faces))

    @cached_property
    def characters(self) -> frozenset[str]:
        """All that some face can draw."""
        return frozenset().union(*(face.characters for face in self.faces))

    def check(self, characters: Iterable[str]) -> None:
        """Make sure that there is a face for every character.

        Raises:
            FontError: naming those that no face has.
        """
        missing = [c for c in characters if c not in self.characters]
        if missing:
            listed = ", ".join(describe(c) for c in missing[:10]) + ", …" * (len(missing) > 10)
            raise FontError(
                f"none of {len(self.faces):,} faces can draw {listed}: leave the characters out of the alphabet, "
                "or name a folder with a font that has them"
            )

    def draw(self, rng: np.random.Generator, text: str) -> Face | None:
        """A random face that has all characters of a text; None if there is none. What is passed over is counted."""
        needed = set(text)
        for _ in range(_DRAWS):
            place = self._cumulative.searchsorted(rng.random() * self._cumulative[-1], side="right")
            face = self.faces[min(int(place), len(self.faces) - 1)]
            if needed <= face.characters:
                return face
            self.skipped[face.family] += 1
        able = [face for face in self.faces if needed <= face.characters]
        if not able:
            self.undrawn += 1
            return None
        return able[int(rng.integers(len(able)))]


def find_fonts(sources: Sequence[str | Path], characters: Iterable[str]) -> FontBook:
    """Read the fonts of some sources.

    Args:
        sources: folders, searched with all below them, or font files; ``"packaged"`` stands for the fonts of the extra
            ``render``, ``"system"`` for those fonts of the computer that have all the characters, and ``"pillow"`` for
            Pillow's own font. If there is none, it is the first two, and the last where both are empty. A folder of
            such a name is written as ``"./system"``.
        characters: what is to be drawn. A font of a folder that lacks some of them still draws texts without them.

    Raises:
        FontError: a folder that does not exist or has no font, or no font at all.
    """
    wanted = frozenset(characters)
    faces: list[Face] = []
    left_out: dict[str, str] = {}
    for source in sources or (PACKAGED, SYSTEM):
        found = list(_faces_of(source, wanted, left_out))
        if sources and not found:
            raise FontError(_nothing_found(source, left_out))
        faces += found
    return FontBook(faces or built_in_faces(wanted), left_out)


def _faces_of(source: str | Path, wanted: frozenset[str], left_out: dict[str, str]) -> Iterator[Face]:
    """The faces of one source; files that cannot be used are noted with the reason."""
    if source == PILLOW:
        yield from built_in_faces(wanted)
        return
    for path, kind in _files(source):
        try:
            faces = list(read_faces(path, kind, wanted))
        except FontError as error:
            left_out[str(path)] = str(error)
            continue
        if source == SYSTEM and not all(wanted <= face.characters for face in faces):
            left_out[str(path)] = "lacks characters of the alphabet"
        else:
            yield from faces


def _files(source: str | Path) -> list[tuple[Path, str]]:
    """The font files of a source, sorted, each with its kind or ""."""
    if source == PACKAGED:
        return _packaged_files()
    if source == SYSTEM:
        from matplotlib.font_manager import findSystemFonts  # slow to import, and rarely needed

        return [(Path(path), "") for path in sorted(findSystemFonts())]
    folder = Path(source)
    if folder.is_file():
        return [(folder, "")]
    if not folder.is_dir():
        raise FontError(f"{printable(str(folder))}: there is no such folder of fonts")
    return [(path, "") for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


def _packaged_files() -> list[tuple[Path, str]]:
    """The files of all installed ``fontpkg-*`` families, by family; each package says what kind it is of."""
    files = []
    for point in sorted(entry_points(group=_PACKAGE_GROUP), key=lambda point: point.name):
        root = Path(point.load().ROOT)
        about = json.loads((root / "metadata.json").read_text(encoding="utf-8"))
        kind = next((kind for kind in about["category"] if kind in SHARES), "")
        files += [(root / path, kind) for path in sorted(file["path"] for file in about["files"])]
    return files


def _shares(faces: Sequence[Face]) -> np.ndarray:
    """How often each face is drawn: shares of kinds, the same for each family of a kind, then by weight.

    Families of unknown kind have the share that their number gives.
    """
    families = {(face.family, face.kind) for face in faces}
    per_kind = Counter(kind for _, kind in families)
    known = len(families) - per_kind[""]
    total = sum(SHARES[kind] for kind in per_kind if kind) or 1.0
    family_share = {
        kind: 1 / len(families) if not kind else SHARES[kind] / total * known / len(families) / count
        for kind, count in per_kind.items()
    }
    liking = np.array([_liking(face) for face in faces])
    per_family: Counter[tuple[str, str]] = Counter()
    for face, value in zip(faces, liking, strict=True):
        per_family[face.family, face.kind] += value
    return np.array(
        [
            family_share[face.kind] * value / per_family[face.family, face.kind]
            for face, value in zip(faces, liking, strict=True)
        ]
    )


def _liking(face: Face) -> float:
    """How common a style is on signs: hairlines are rare, regular and bold are not, half as many letters lean."""
    return (0.25 if face.weight <= 200 else 0.6 if face.weight <= 300 else 1.0) * (0.5 if face.italic else 1.0)


def _nothing_found(source: str | Path, left_out: dict[str, str]) -> str:
    if source == PACKAGED:
        return "no packaged fonts are installed: pip install minicrnn[render]"
    if source == SYSTEM:
        return "no font of this computer has all characters of the alphabet: use fewer, or another source of fonts"
    if source == PILLOW:
        return "Pillow's own font has none of the characters of the alphabet: use another source of fonts"
    reasons = "".join(f"\n  {printable(path)}: {why}" for path, why in list(left_out.items())[:5])
    return f"{printable(str(source))}: holds no font ({', '.join(sorted(SUFFIXES))}) that can be used{reasons}"
