"""Folders of images: label files as people write them, and names that are labels."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicrnn.data.folder import Sample, read_samples
from minicrnn.data.report import LISTED_TWICE, NO_TEXT_IN_NAME, PATH_OUTSIDE, UNREADABLE_IMAGE, DataError
from minicrnn.text import label_row


def write(folder, data, name="labels.tsv"):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return folder


def rows(folder, **options):
    return [(sample.name, sample.text) for sample in read_samples(folder, **options)]


def test_rows_become_samples(tmp_path):
    write(tmp_path, "a.png\thello\nsub/b.png\tworld\n")
    assert read_samples(tmp_path) == [
        Sample(tmp_path / "a.png", "hello", "a.png"),
        Sample(tmp_path / "sub/b.png", "world", "sub/b.png"),
    ]


def test_text_is_kept_as_it_is(tmp_path):
    text = '"quoted"\t second tab \u2028\x0b עברית 中文 '
    write(tmp_path, f"a b.png\t{text}\r\n\r\n   \nb.png\t\n")
    assert rows(tmp_path) == [("a b.png", text), ("b.png", "")]


lines = st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=8)


@given(st.lists(lines, min_size=1, max_size=5), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_text_comes_back(tmp_path_factory, texts, bom, end, last_end):
    folder = tmp_path_factory.mktemp("data")
    body = end.join(f"{i}.png\t{text}" for i, text in enumerate(texts)) + (end if last_end else "")
    write(folder, ("\ufeff" if bom else "") + body)
    assert rows(folder) == [(f"{i}.png", text) for i, text in enumerate(texts)]


def test_gt_txt_is_second_choice(tmp_path):
    write(tmp_path, "a.png\tgt", "gt.txt")
    assert rows(tmp_path) == [("a.png", "gt")]
    write(tmp_path, "a.png\ttsv")
    assert rows(tmp_path) == [("a.png", "tsv")]


def test_another_label_file_by_name_or_path(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    write(data, "a.png\tinside", "other.tsv")
    write(elsewhere, f"a.png\toutside\n{tmp_path}/b.png\tabsolute", "labels.tsv")
    assert rows(data, labels="other.tsv") == [("a.png", "inside")]
    samples = read_samples(data, labels=elsewhere / "labels.tsv")
    assert [sample.path for sample in samples] == [data / "a.png", tmp_path / "b.png"]
    assert [sample.problem for sample in samples] == [None, None]


def test_paths_that_leave_the_folder_and_duplicates_are_collected(tmp_path):
    write(tmp_path, "a.png\tx\n../b.png\tx\nsub/../a.png\tx\nsub/../../c.png\tx\n..b.png\tx\n./a.png\ty\n")
    problems = [sample.problem for sample in read_samples(tmp_path)]
    kinds = [problem and problem.kind for problem in problems]
    assert kinds == [None, PATH_OUTSIDE, LISTED_TWICE, PATH_OUTSIDE, None, LISTED_TWICE]
    assert "line 3 names the image of line 1" in problems[2].reason
    assert problems[1].name == "../b.png"


@pytest.mark.parametrize("name", [".", "a/..", "./"])
def test_the_folder_itself_is_no_image(tmp_path, name):
    write(tmp_path, f"{name}\tx\na.png\tx\n")
    problems = [sample.problem for sample in read_samples(tmp_path)]
    assert problems == [(name, UNREADABLE_IMAGE, f"line 1: {name} is the folder itself, not an image in it"), None]


paths = st.text(st.characters(exclude_characters="/\0\n\t\ufeff", exclude_categories=("Cs",)), min_size=1).filter(
    str.strip
)
texts_of_rows = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",))).filter(
    lambda text: not text.endswith("\r")
)


@given(st.lists(st.tuples(paths, texts_of_rows), min_size=1, max_size=4))
def test_label_rows_come_back(tmp_path_factory, pairs):
    """``eval --labels RUN/val.tsv`` reads what training wrote."""
    folder = write(tmp_path_factory.mktemp("data"), "".join(label_row(*pair) + "\n" for pair in pairs))
    assert rows(folder) == pairs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a.png\tx\n\nb.png x\n", r"labels\.tsv:3 has no tab: 'b\.png x'"),
        ("\tx\n", r"labels\.tsv:1 has no path"),
        ("", "has no rows"),
        ("\ufeff\n\n", "has no rows"),
        (b"a.png\tx\nb.png\t\xe9t\xe9\n", r"labels\.tsv:2 is not UTF-8 \(byte 0xe9"),
        ("a.png\tx".encode("utf-16"), r"labels\.tsv:1 is not UTF-8 .*UTF-16"),
    ],
)
def test_bad_label_files_are_named_with_the_line(tmp_path, data, message):
    write(tmp_path, data)
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path)


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        read_samples(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is empty"):
        read_samples(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"1 images .*labels\.tsv and gt\.txt.*--labels filename"):
        read_samples(tmp_path)
    with pytest.raises(DataError, match=r"a\.png is a file"):
        read_samples(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"no label file .*/x\.tsv or x\.tsv"):
        read_samples(tmp_path, labels="x.tsv")


def test_file_names_as_texts(tmp_path):
    for name in ("b/word.JPG", "a.b.png", "b/.hidden.png", ".cache/x.png", "notes.txt", "b/c/粤B12345.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [("a.b.png", "a.b"), ("b/c/粤B12345.jpeg", "粤B12345"), ("b/word.JPG", "word")]
    assert rows(tmp_path, labels="filename") == expected


def test_a_pattern_takes_the_text_out_of_the_name(tmp_path):
    for name in ("cat_1.png", "dog_22.png", "dog.png", "_3.png", "ox_4b.png"):
        (tmp_path / name).touch()
    samples = read_samples(tmp_path, labels="filename", pattern=r"(?P<text>[^_]*)_\d+")
    found = {sample.name: (sample.text, sample.problem and sample.problem.kind) for sample in samples}
    assert found == {
        "_3.png": ("", None),
        "cat_1.png": ("cat", None),
        "dog_22.png": ("dog", None),
        "dog.png": ("", NO_TEXT_IN_NAME),
        "ox_4b.png": ("", NO_TEXT_IN_NAME),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "filename", "pattern": "("}, "not a regular expression"),
        ({"labels": "filename", "pattern": r"\w+"}, "no group called text"),
        ({"pattern": "(?P<text>.*)"}, "reads texts from file names"),
    ],
)
def test_bad_patterns_are_refused(tmp_path, options, message):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path, **options)


def test_names_without_images(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no images \(looked for \.bmp"):
        read_samples(tmp_path, labels="filename")


def test_names_that_are_not_utf8_are_listed(tmp_path):
    try:
        Path(str(tmp_path) + "/\udce9.png").touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (sample,) = read_samples(tmp_path, labels="filename")
    assert sample.text == "\udce9"
