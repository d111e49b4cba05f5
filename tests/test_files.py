"""Files are written whole or not at all."""

import os

import pytest

from minicrnn import files
from minicrnn.errors import OptionError


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "words.txt"
    for data in (b"one", b"two"):
        files.replace_file(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~files._UMASK


def test_a_link_stays(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    files.replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_an_older_file_stays_whole(tmp_path, monkeypatch):
    path = tmp_path / "words.txt"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "none" / "words.txt"
    with pytest.raises(FileNotFoundError, match="the folder does not exist: make it, or choose another") as caught:
        files.replace_file(path, b"new")
    assert caught.value.filename == str(path)


def test_what_is_read_is_not_written_over(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "labels.tsv").write_text("a.png\ta\n")
    (tmp_path / "words.txt").write_text("a\n")
    (tmp_path / "link.txt").symlink_to(tmp_path / "words.txt")
    inputs = [None, tmp_path / "data", tmp_path / "words.txt", tmp_path / "gone.txt"]
    for path in ("words.txt", "link.txt", "data/labels.tsv", "data/../data/labels.tsv"):
        with pytest.raises(OptionError, match="choose another file to write"):
            files.require_no_input(tmp_path / path, inputs)
    (tmp_path / "other.txt").write_text("")
    for path in ("other.txt", "new.txt", "data/new.tsv", "gone.txt"):
        files.require_no_input(tmp_path / path, inputs)
