"""``minicrnn render``: folder, sheet, report and errors."""

from PIL import Image

from minicrnn.data import read_samples
from tests.commands import run
from tests.data.rendering.made_fonts import make_font


def test_render_writes_a_folder_and_a_sheet(tmp_path, capsys):
    make_font(tmp_path / "fonts" / "a.ttf", "abcABC123", family="Whole")
    make_font(tmp_path / "fonts" / "b.ttf", "abc", family="Half")
    (tmp_path / "fonts" / "c.ttf").write_bytes(b"no font")
    (tmp_path / "words.txt").write_text("cab 3\nabba 2\n", encoding="utf-8")
    common = ("--fonts", tmp_path / "fonts", "--words", tmp_path / "words.txt", "--alphabet", "abcABC123")
    assert run("render", tmp_path / "out", "--count", 30, "--seed", 4, "--height", 24, "--workers", 0,
               "--sheet", tmp_path / "sheet.png", *common) == 0  # fmt: skip
    samples = read_samples(tmp_path / "out")
    assert len(samples) == 30
    assert all(set(sample.text) <= set("abcABC123") for sample in samples)
    assert {sample.load().shape[0] for sample in samples} == {24}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] == 1280
    output = capsys.readouterr()
    assert "30 images and labels.tsv" in output.out
    assert "2 faces of 2 families, 2 of them used" in output.out
    assert "words.txt" in output.out
    assert "passed over, as it lacks a character of the word: Half" in output.out
    assert "c.ttf is not used: not a font that can be read" in output.err
    assert run("render", tmp_path / "out", *common) == 1
    assert "holds a labels.tsv already" in capsys.readouterr().err


def test_what_cannot_be_rendered_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    make_font(tmp_path / "fonts" / "a.ttf", "abc")
    (tmp_path / "words.txt").write_text("xyz\n", encoding="utf-8")
    out = tmp_path / "out"
    for arguments, code, message in (
        (("--fonts", tmp_path / "empty"), 1, "holds no font"),
        (("--fonts", tmp_path / "gone"), 1, "no such folder of fonts"),
        (("--fonts", tmp_path / "fonts", "--alphabet", "abcd"), 1, "can draw 'd'"),
        (("--words", tmp_path / "words.txt", "--alphabet", "abc"), 1, "none has at most 20 characters"),
        (("--words", tmp_path / "gone.txt"), 1, "No such file"),
        (("--alphabet", "aa"), 1, "in the alphabet twice"),
        (("--count", 0), 2, "nothing to do"),
    ):
        assert run("render", out, *arguments) == code
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    assert not (out / "labels.tsv").exists()
