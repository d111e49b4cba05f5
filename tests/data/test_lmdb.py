"""LMDBs: what goes in comes out; what is broken is named, with its file and its key."""

import io
import multiprocessing
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from minicrnn.data import collate, prepare, read_samples
from minicrnn.data.folder import Sample
from minicrnn.data.lmdb_reading import LmdbError, LmdbImages, key_of
from minicrnn.data.lmdb_writing import write_folder, write_lmdb
from minicrnn.data.report import (
    EMPTY_LABEL,
    MISSING_FILE,
    MISSING_KEY,
    NOT_UTF8,
    UNKNOWN_CHARACTER,
    UNREADABLE_IMAGE,
    DataError,
)
from minicrnn.text import Alphabet
from tests.samples import WORDS, word_folder

lmdb = pytest.importorskip("lmdb")
ALPHABET = Alphabet("abcdef")


@pytest.fixture
def words(tmp_path):
    return word_folder(tmp_path / "words")


@pytest.fixture
def store(words, tmp_path):
    write_lmdb(read_samples(words), tmp_path / "lmdb")
    return tmp_path / "lmdb"


def change(folder, values):
    """Put values into an LMDB; None takes a key out."""
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            if value is None:
                assert transaction.delete(key.encode())
            else:
                transaction.put(key.encode(), value)


def test_what_goes_in_comes_out(words, store):
    before, after = read_samples(words), read_samples(store)
    assert [sample.text for sample in after] == WORDS
    assert [sample.read_bytes() for sample in after] == [sample.path.read_bytes() for sample in before]
    assert all(np.array_equal(a.load(), b.load()) for a, b in zip(after, before, strict=True))
    assert [sample.name for sample in after[:2]] == ["image-000000001", "image-000000002"]
    assert [path.name for path in store.iterdir()] == ["data.mdb"]
    assert [path.name for path in store.parent.iterdir() if path.name.startswith(".")] == []


def test_the_layout_is_the_communitys(words, store):
    with lmdb.open(str(store), readonly=True, lock=False) as environment, environment.begin() as transaction:
        found = dict(transaction.cursor())
    assert found[b"num-samples"] == b"12"
    assert found[b"label-000000002"] == b"abba"
    assert found[b"image-000000012"] == (words / "11.png").read_bytes()
    assert len(found) == 25


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t"), min_size=1, max_size=20)


@given(st.lists(st.tuples(texts.filter(str.strip), st.integers(1, 60)), min_size=1, max_size=8))
def test_any_texts_and_files_come_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    samples = []
    for i, (text, width) in enumerate(rows):
        Image.new("L", (width, 9), i).save(folder / f"{i}.bmp")
        samples.append(Sample(folder / f"{i}.bmp", text, f"{i}.bmp"))
    write_lmdb(samples, folder / "out")
    assert [(s.text, s.read_bytes()) for s in read_samples(folder / "out")] == [
        (s.text, s.read_bytes()) for s in samples
    ]


def test_a_map_that_is_too_small_grows(words, tmp_path, monkeypatch):
    monkeypatch.setattr("minicrnn.data.lmdb_writing._FIRST_MAP_SIZE", 1 << 15)
    monkeypatch.setattr("minicrnn.data.lmdb_writing._RECORDS", 5)
    write_lmdb(read_samples(words), tmp_path / "lmdb")
    assert len(read_samples(tmp_path / "lmdb")) == 12


def test_what_cannot_be_used_is_counted_and_named(words, tmp_path):
    (words / "0.png").unlink()
    (words / "1.png").write_bytes(b"\x89PNG")
    (words / "labels.tsv").write_text(
        (words / "labels.tsv").read_text().replace("2.png\tbead", "2.png\t ").replace("3.png\tfade", "3.png\tfaxe")
    )
    seen = []
    report = write_lmdb(
        read_samples(words),
        tmp_path / "lmdb",
        alphabet=ALPHABET,
        max_bad_share=0.5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [(problem.name, problem.kind) for problem in report.problems] == [
        ("0.png", MISSING_FILE),
        ("1.png", UNREADABLE_IMAGE),
        ("2.png", EMPTY_LABEL),
        ("3.png", UNKNOWN_CHARACTER),
    ]
    assert seen == [(i, 12) for i in range(1, 13)]
    assert [sample.text for sample in read_samples(tmp_path / "lmdb")] == WORDS[4:]


def test_too_much_that_cannot_be_used_leaves_nothing(words, tmp_path):
    (words / "0.png").unlink()
    with pytest.raises(DataError, match=r"8\.3% of the samples"):
        write_lmdb(read_samples(words), tmp_path / "out" / "lmdb")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_leaves_nothing(words, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_lmdb(read_samples(words), tmp_path / "out" / "lmdb", progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_read_back_changed_is_not_kept(words, tmp_path, monkeypatch):
    real = LmdbImages.image
    monkeypatch.setattr(LmdbImages, "image", lambda self, i: real(self, i)[: -1 if i == 3 else None])
    with pytest.raises(LmdbError, match="sample 4 was read back changed"):
        write_lmdb(read_samples(words), tmp_path / "lmdb")
    assert not (tmp_path / "lmdb").exists()


def test_nothing_is_overwritten(words, store):
    before = (store / "data.mdb").read_bytes()
    with pytest.raises(LmdbError, match="exists already"):
        write_lmdb(read_samples(words), store)
    assert (store / "data.mdb").read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_named(store, share):
    size = (store / "data.mdb").stat().st_size
    os.truncate(store / "data.mdb", int(size * share))
    with pytest.raises(LmdbError, match=r"data\.mdb: (truncated: it has [\d,]+ bytes of|cannot be opened).*[Cc]opy"):
        read_samples(store)


def test_a_file_that_is_no_lmdb(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(LmdbError, match=r"data\.mdb: cannot be opened as an LMDB"):
        read_samples(tmp_path)
    with pytest.raises(LmdbError, match=r"nowhere is no LMDB"):
        LmdbImages(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (None, r"data\.mdb: there is no key num-samples: this LMDB holds something else"),
        (b"twelve", r"num-samples is b'twelve', not a number"),
        (b"0", r"num-samples is 0: there is nothing"),
        (b"13", r"num-samples is 13, but there is no image-000000013: it was not written to its end"),
        (b"11", r"num-samples is 11, but there is image-000000012, too"),
    ],
)
def test_a_wrong_number_of_samples_is_told(store, count, message):
    change(store, {"num-samples": count})
    with pytest.raises(LmdbError, match=message):
        read_samples(store)


def test_missing_keys_are_problems_of_their_samples(store):
    change(store, {"image-000000003": None, "label-000000005": None, "label-000000007": b"\xff"})
    problems = {sample.name: sample.problem for sample in read_samples(store) if sample.problem}
    assert {name: problem.kind for name, problem in problems.items()} == {
        "image-000000003": MISSING_KEY,
        "image-000000005": MISSING_KEY,
        "image-000000007": NOT_UTF8,
    }
    assert "data.mdb: there is no key image-000000003: make it again" in problems["image-000000003"].reason
    assert "label-000000005" in problems["image-000000005"].reason
    with pytest.raises(DataError, match=r"25\.0% of the samples .*(.|\n)*2 × missing key"):
        prepare(read_samples(store), ALPHABET, frames_for_width=lambda width: width // 4)
    with pytest.raises(LmdbError, match="no key image-000000003"):
        LmdbImages(store).image(2)


def test_broken_images_are_problems_too(store):
    change(store, {"image-000000003": b"\x89PNG"})
    words, report = prepare(read_samples(store), ALPHABET, frames_for_width=lambda width: width // 4, max_bad_share=0.1)
    assert len(words) == 11
    assert report.problems[0].kind == UNREADABLE_IMAGE
    assert "data.mdb: image-000000003" in report.problems[0].reason


@pytest.mark.parametrize("options", [{"labels": "x.tsv"}, {"labels": "filename", "pattern": "(?P<text>.*)"}])
def test_an_lmdb_has_its_own_labels(store, options):
    with pytest.raises(DataError, match="its own labels"):
        read_samples(store, **options)


def test_an_extra_that_is_not_installed_is_named(store, monkeypatch):
    shutil.copytree(store, store.parent / "copy")
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(LmdbError, match=r"pip install 'minicrnn\[lmdb\]'"):
        read_samples(store.parent / "copy")
    with pytest.raises(LmdbError, match=r"pip install 'minicrnn\[lmdb\]'"):
        write_lmdb(read_samples(word_folder(store.parent / "w")), store.parent / "new")


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_open_their_own_environment(words, store, workers):
    """Nothing is cached, so that every image is read in a worker that forked off with an open LMDB."""
    made = [
        prepare(read_samples(place), ALPHABET, frames_for_width=lambda width: width // 4, memory_budget=0)[0]
        for place in (words, store)
    ]
    loaders = [DataLoader(one, batch_size=4, num_workers=workers, collate_fn=collate) for one in made]
    for a, b in zip(*loaders, strict=True):
        assert torch.equal(a.images, b.images)
        assert a.texts == b.texts
    assert len(made[1].pixels(0)) == 32  # and this process still has its own


def identity_of_environment(store, queue):
    from minicrnn.data.lmdb_reading import _environments

    before = len(_environments)
    queue.put((before, store.image(0), len(_environments)))


def test_a_forked_process_shares_no_environment(words, store):
    images = LmdbImages(store)
    images.image(0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=identity_of_environment, args=(images, queue))
    process.start()
    found = queue.get(timeout=60)
    process.join()
    assert found == (0, (words / "0.png").read_bytes(), 1)
    assert images.image(1) == (words / "1.png").read_bytes()


def test_threads_and_copies_share_one_environment(words, store, tmp_path):
    (tmp_path / "link").symlink_to(store)
    stores = [LmdbImages(store), LmdbImages(tmp_path / "link"), pickle.loads(pickle.dumps(LmdbImages(store)))]
    found = []

    def look(i):
        found.extend(s.image(i) for s in stores)

    threads = [threading.Thread(target=look, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted((words / f"{i}.png").read_bytes() for i in range(8) for _ in stores)
    stores[0].close()
    assert stores[1].text(0) == WORDS[0]


def test_a_new_file_in_the_old_place_is_read(words, store):
    assert read_samples(store)[0].text == "cab"
    shutil.rmtree(store)
    write_lmdb(read_samples(words)[1:], store)
    assert read_samples(store)[0].text == "abba"


def test_lexicons_go_with_their_images(words, tmp_path):
    lexicons = {f"{i}.png": (word, "zebra") for i, word in enumerate(WORDS)}
    (words / "0.png").unlink()
    write_lmdb(read_samples(words), tmp_path / "lmdb", lexicons=lexicons, max_bad_share=0.1)
    store = LmdbImages(tmp_path / "lmdb")
    assert [store.lexicon(i) for i in range(len(store))] == [(word, "zebra") for word in WORDS[1:]]
    write_folder(store, tmp_path / "folder")
    assert (tmp_path / "folder" / "lexicon50.tsv").read_text().startswith("image-000000001.png\tabba\tzebra\n")


def test_a_folder_comes_out_of_an_lmdb(words, store, tmp_path):
    jpeg = io.BytesIO()
    Image.new("L", (40, 20), 99).save(jpeg, "JPEG")
    change(store, {"image-000000003": jpeg.getvalue(), "image-000000004": b"junk"})
    report = write_folder(LmdbImages(store), tmp_path / "folder")
    assert [problem.name for problem in report.problems] == ["image-000000004"]
    samples = read_samples(tmp_path / "folder")
    assert [sample.text for sample in samples] == WORDS[:3] + WORDS[4:]
    assert [sample.name for sample in samples[1:3]] == ["image-000000002.png", "image-000000003.jpg"]
    assert samples[1].read_bytes() == (words / "1.png").read_bytes()
    with pytest.raises(LmdbError, match="exists already"):
        write_folder(LmdbImages(store), tmp_path / "folder")


def test_keys_count_from_one():
    assert key_of("label", 41) == "label-000000042"
