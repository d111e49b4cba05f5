"""Every check of an exercise passes its solution, fails the stub, and rejects each wrong answer with its own hint."""

import re
from pathlib import Path

import pytest

from minicrnn.checks.audit import all_checks, audit

CHECKS = dict(all_checks())
SOURCES = Path(__file__).parents[2] / "tutorials" / "sources"


@pytest.mark.parametrize("name", CHECKS)
def test_check_does_its_work(name):
    assert audit(CHECKS[name]).faults == []


def test_every_chapter_has_a_check_and_every_check_a_chapter():
    used = {
        path.stem: set(re.findall(r"^(check_\w+)\(", path.read_text("utf-8"), re.M)) for path in SOURCES.glob("*.py")
    }
    assert [stem for stem, names in used.items() if not names] == []
    assert set().union(*used.values()) == {name.rpartition(".")[2] for name in CHECKS}
