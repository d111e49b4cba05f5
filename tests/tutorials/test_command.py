"""``minicrnn tutorials`` copies the notebooks, keeps what has been solved, and says how to open them."""

from pathlib import Path

import pytest

import minicrnn
from tests.commands import run


@pytest.fixture
def stored():
    """The notebooks in the package."""
    return sorted((Path(minicrnn.__file__).parent / "tutorials" / "notebooks").glob("*.ipynb"))


def test_copies_every_notebook(stored, tmp_path, capsys):
    assert run("tutorials", tmp_path / "deep" / "mine") == 0
    copies = sorted((tmp_path / "deep" / "mine").iterdir())
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in stored]
    assert [path.name for path in copies] == [path.name for path in stored]
    said = capsys.readouterr().out
    assert f"{len(stored)} chapters" in said
    assert f"jupyter lab {tmp_path}" in said


def test_keeps_what_was_changed_unless_forced(stored, tmp_path, capsys):
    run("tutorials", tmp_path)
    changed = tmp_path / stored[0].name
    changed.write_text("solved")
    capsys.readouterr()
    assert run("tutorials", tmp_path) == 0
    assert changed.read_text() == "solved"
    said = capsys.readouterr().out
    assert f"Kept, because they have changed: {stored[0].name}" in said
    assert f"{len(stored) - 1} chapters" in said
    assert run("tutorials", tmp_path, "--force") == 0
    assert changed.read_bytes() == stored[0].read_bytes()


def test_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("tutorials", tmp_path / "file") == 2
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize("missing", [True, False])
def test_says_what_to_install(missing, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if missing else object())
    run("tutorials", tmp_path)
    assert ("minicrnn[tutorials]" in capsys.readouterr().out) == missing
