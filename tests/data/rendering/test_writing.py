"""A written folder: what ``minicrnn train`` reads, whatever the number of processes; and the sheet of looks."""

import multiprocessing

import numpy as np
import pytest
from PIL import Image

from minicrnn.data import DataError, read_samples
from minicrnn.data.rendering import Renderer, draw_sheet, write_folder
from minicrnn.text import Alphabet
from tests.data.rendering.made_fonts import make_font
from tests.data.rendering.renderers import make_renderer


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_read_back_as_it_was_rendered(tmp_path):
    renderer, seen = make_renderer(seed=5), []
    written = write_folder(renderer, tmp_path / "new" / "out", 150, progress=lambda *done: seen.append(done))
    samples = read_samples(tmp_path / "new" / "out")
    assert seen == [(100, 150), (150, 150)]
    assert [sample.name for sample in samples[:2]] == ["0000/0000000.png", "0000/0000001.png"]
    assert len(samples) == written.families.total() == 150
    for index in (0, 101, 149):
        np.testing.assert_array_equal(samples[index].load(), renderer.render(index).image)
        assert samples[index].text == renderer.render(index).text


def test_files_are_the_same_for_any_number_of_workers(tmp_path):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("a worker that starts anew imports everything, which takes long")
    make_font(tmp_path / "fonts" / "a.ttf", "ABC", family="Letters")
    make_font(tmp_path / "fonts" / "b.ttf", "123", family="Digits")
    (tmp_path / "words.txt").write_text("A B CAB 123 1A", encoding="utf-8")
    results = []
    for workers in (0, 2):
        renderer = Renderer.of(Alphabet("ABC123"), fonts=[tmp_path / "fonts"], words=tmp_path / "words.txt")
        renderer.render(0)  # what was skipped before does not count
        results.append(write_folder(renderer, tmp_path / f"{workers}", 120, workers=workers))
    assert results[0] == results[1]
    assert set(results[0].families) == {"Letters", "Digits"}
    assert results[0].skipped["Letters"] > 20
    assert results[0].undrawn > 0
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


def test_an_older_folder_is_not_written_over(tmp_path):
    (tmp_path / "labels.tsv").write_text("a.png\ta\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds a labels\.tsv already"):
        write_folder(make_renderer(), tmp_path, 1)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written to"):
        write_folder(make_renderer(), tmp_path / "file", 1)


def test_no_labels_are_written_before_all_images(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(make_renderer(), tmp_path, 101, progress=stop)
    assert not (tmp_path / "labels.tsv").exists()


def test_the_sheet_shows_looks_and_samples():
    renderer = make_renderer(seed=6)
    sheet = draw_sheet(renderer)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 1280
    assert sheet.shape[0] > 800
    np.testing.assert_array_equal(sheet, draw_sheet(make_renderer(seed=6)))
    sample = renderer.render(0).image
    places = [y for y in range(sheet.shape[0] - 32) if np.array_equal(sheet[y : y + 32, : sample.shape[1]], sample)]
    assert len(places) == 1
    assert Image.fromarray(sheet).mode == "L"
