"""What is wrong with a data set: each problem by kind and name, and the error when there are too many."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from minicrnn.data.images import ImageError, MissingImageError
from minicrnn.text import printable, tsv_row

MISSING_FILE = "missing file"
UNREADABLE_IMAGE = "unreadable image"
EMPTY_LABEL = "empty label"
UNKNOWN_CHARACTER = "unknown character"
LABEL_TOO_LONG = "label too long for its image"
PATH_OUTSIDE = "path outside the folder"
LISTED_TWICE = "listed twice"
MISSING_KEY = "missing key"
NOT_UTF8 = "label that is not UTF-8"
NO_TEXT_IN_NAME = "file name without a text"

NAMES_PER_KIND = 3


class Problem(NamedTuple):
    """Why a sample is left out: ``kind`` is one of this module's constants, ``reason`` a sentence."""

    name: str
    kind: str
    reason: str


def image_problem(name: str, error: ImageError) -> Problem:
    """The problem of a sample whose image did not open."""
    return Problem(name, MISSING_FILE if isinstance(error, MissingImageError) else UNREADABLE_IMAGE, str(error))


class DataError(ValueError):
    """A data set cannot be used; ``report`` lists its problems where samples were looked at one by one."""

    def __init__(self, message: str, report: "Report | None" = None) -> None:
        self.report = report
        super().__init__(message)


@dataclass(frozen=True)
class Report:
    """What was found in ``total`` samples: a :class:`Problem` for each sample that is left out.

    >>> print(Report(3, (Problem("a.png", EMPTY_LABEL, "its text is empty"),)))
    2 of 3 samples are usable.
      1 × empty label
          a.png: its text is empty
    """

    total: int
    problems: tuple[Problem, ...] = ()

    @property
    def bad_share(self) -> float:
        """The share of samples that are left out, 0 to 1."""
        return len(self.problems) / self.total if self.total else 0.0

    @property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def check(self, max_bad_share: float) -> None:
        """Refuse a data set of which too much is left out.

        Raises:
            DataError: more than ``max_bad_share`` of the samples, or all of them, are left out. Its text holds this
                report; its ``report`` is this report.
        """
        if len(self.problems) == self.total:
            raise DataError(f"there is nothing to read. {self}", self)
        if self.bad_share > max_bad_share:
            raise DataError(
                f"{self.bad_share:.1%} of the samples cannot be used, and at most {max_bad_share:.1%} may be left "
                f"out. Mend them, or allow more with max_bad_share (--max-bad-share). {self}",
                self,
            )

    def __str__(self) -> str:
        lines = [f"{self.total - len(self.problems):,} of {self.total:,} samples are usable."]
        for kind, count in self.counts.items():
            lines.append(f"  {count:,} × {kind}")
            named = [problem for problem in self.problems if problem.kind == kind][:NAMES_PER_KIND]
            lines += [f"      {printable(problem.name)}: {printable(problem.reason)}" for problem in named]
            if count > NAMES_PER_KIND:
                lines.append(f"      … and {count - NAMES_PER_KIND:,} more")
        return "\n".join(lines)

    def write(self, path: str | Path) -> None:
        """Write every problem as a line of name, kind and reason, with tabs between; UTF-8.

        Tabs, line ends and lone surrogates are written as escapes.

        Raises:
            OSError: the file cannot be written.
        """
        rows = [("name", "kind", "reason"), *self.problems]
        text = "".join(tsv_row(*row) + "\n" for row in rows)
        Path(path).write_text(text, encoding="utf-8", newline="\n")
