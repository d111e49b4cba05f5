"""The report: counts, names, and a file that any spreadsheet reads."""

import pytest

from minicrnn.data.report import EMPTY_LABEL, MISSING_FILE, Problem, Report

PROBLEMS = (
    Problem("tab\there.png", EMPTY_LABEL, "its text is empty"),
    *(Problem(f"{i}.png", MISSING_FILE, "line 1\nline 2") for i in range(5)),
)


def test_counts_come_most_frequent_first():
    report = Report(8, PROBLEMS)
    assert list(report.counts.items()) == [(MISSING_FILE, 5), (EMPTY_LABEL, 1)]
    assert report.bad_share == pytest.approx(6 / 8)
    assert Report(0).bad_share == 0


def test_the_text_names_the_first_few():
    text = str(Report(1008, PROBLEMS))
    assert text.splitlines() == [
        "1,002 of 1,008 samples are usable.",
        "  5 × missing file",
        r"      0.png: line 1\nline 2",
        r"      1.png: line 1\nline 2",
        r"      2.png: line 1\nline 2",
        "      … and 2 more",
        "  1 × empty label",
        r"      tab\there.png: its text is empty",
    ]


def test_the_file_has_every_problem_on_a_line(tmp_path):
    Report(8, (*PROBLEMS, Problem("\udce9.png", MISSING_FILE, "名前"))).write(tmp_path / "report.tsv")
    lines = (tmp_path / "report.tsv").read_bytes().decode("utf-8").split("\n")
    assert lines[:3] == [
        "name\tkind\treason",
        "tab\\there.png\tempty label\tits text is empty",
        "0.png\tmissing file\tline 1\\nline 2",
    ]
    assert lines[-2:] == ["\\udce9.png\tmissing file\t名前", ""]
    assert len(lines) == 1 + 7 + 1
