"""Whether the exercises' checks do their work: they pass the solution, fail the stub, and recognise wrong answers."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import minicrnn.checks
from minicrnn.checks.exercise import UNSOLVED, Check, Compared, Judged, Verdict


def all_checks() -> Iterator[tuple[str, Check]]:
    """Every check of the modules ``exercises_*``, with the name it is imported by.

    >>> "minicrnn.checks.exercises_sizes.check_frames" in dict(all_checks())
    True
    """
    for module in pkgutil.iter_modules(minicrnn.checks.__path__):
        if module.name.startswith("exercises_"):
            path = f"minicrnn.checks.{module.name}"
            for name, value in vars(importlib.import_module(path)).items():
                if name.startswith("check_") and isinstance(value, (Compared, Judged)):
                    yield f"{path}.{name}", value


@dataclass(frozen=True)
class Audit:
    """What a check says of its own solution, of the stub, and of each wrong answer (by name, with its hint)."""

    solution: Verdict
    stub: Verdict
    wrong: dict[str, tuple[Verdict, str]]

    @property
    def faults(self) -> list[str]:
        """What is not as it should be; empty for a good check."""
        faults = [] if self.solution else [f"it rejects its solution: {self.solution}"]
        faults += ["it passes the stub"] if self.stub else []
        faults += [] if len(self.wrong) >= 2 else ["it knows fewer than two wrong answers"]
        for name, (verdict, hint) in self.wrong.items():
            if verdict:
                faults.append(f"it passes the wrong answer {name!r}")
            elif not hint or hint not in verdict.hint:
                faults.append(f"it says {verdict.hint!r} of the wrong answer {name!r}, not {hint!r}")
        return faults


def audit(check: Check) -> Audit:
    """Put the stored answers to a check.

    >>> from minicrnn.checks.exercises_sizes import check_frames
    >>> audit(check_frames).faults
    []
    """
    wrong = {one.name: (check(one.answer), one.hint) for one in check.wrong}
    return Audit(check(check.solution), check(UNSOLVED), wrong)
