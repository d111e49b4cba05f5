"""Files, functions and commands that a chapter names are there."""

import re
from pathlib import Path

import pytest
import typer

import minicrnn
from minicrnn.cli.program import app

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "tutorials" / "sources").glob("[0-9]*.py"))
FILE = re.compile(r"`([\w/]+(?:\.py|\.md|/))`")
# "`minicrnn/shapes.py` (`receptive_field`, `min_width_for`)", and the same behind a colon
NAMES_IN_FILE = re.compile(r"`([\w/]+\.py)`(?::| \() ?((?:`\w+`(?:,| and)? ?)+)")
OF_THE_PACKAGE = re.compile(r"\bmc\.(\w+)")
COMMAND = re.compile(r"(?:`|# or: )minicrnn (\w+)")

chapters = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)


def prose(path: Path) -> str:
    """What stands behind # in a source, as one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line[1:].strip() for line in lines if line.startswith("#"))


def find(name: str) -> Path:
    """A file by its path from the root, or by its name alone."""
    if "/" in name:
        return ROOT / name
    found = [path for folder in ("minicrnn", "kernels") for path in (ROOT / folder).rglob(name)]
    return found[0] if found else ROOT / name


@chapters
def test_files_that_a_chapter_names_exist(path):
    named = set(FILE.findall(prose(path)))
    assert named, "each chapter says where to read on"
    assert [name for name in sorted(named) if not find(name).exists()] == []


@chapters
def test_functions_that_a_chapter_sends_the_reader_to_are_in_their_files(path):
    for name, functions in NAMES_IN_FILE.findall(prose(path)):
        text = find(name).read_text(encoding="utf-8")
        for function in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^(def|class) {function}\b", text, re.MULTILINE), f"{function} is not in {name}"


@chapters
def test_names_of_the_package_exist(path):
    named = set(OF_THE_PACKAGE.findall(path.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not hasattr(minicrnn, name)] == []


@chapters
def test_commands_exist(path):
    known = typer.main.get_command(app).commands
    assert [name for name in COMMAND.findall(prose(path)) if name not in known] == []
