"""The record of a run: rows in a file that is whole at any time, none of them twice."""

import math

import pytest

from minicrnn.checkpoint import CheckpointError
from minicrnn.training.log import MetricsRow, RunLog, read_rows


def row(step, loss=1.0):
    return MetricsRow(step // 3, step, 1e-3, loss, math.inf, 0.5, 0.25, 99.5, 0, 1.5, 0.75)


def log_of(folder, *rows, from_step=0):
    log = RunLog(folder, from_step)
    for one in rows:
        log.add(one)
    log.close()
    return log


def test_rows_come_back_as_they_were(tmp_path):
    assert read_rows(tmp_path) == []
    assert log_of(tmp_path).last_step == -1
    assert log_of(tmp_path, row(3), row(6)).last_step == 6
    assert read_rows(tmp_path) == [row(3), row(6)]


def test_rows_after_the_saved_state_are_dropped(tmp_path):
    log_of(tmp_path, row(3), row(6), row(9))
    log_of(tmp_path, row(9, loss=0.5), from_step=6)
    assert read_rows(tmp_path) == [row(3), row(6), row(9, loss=0.5)]


def test_a_step_is_recorded_once(tmp_path):
    log_of(tmp_path, row(3), row(6))
    log_of(tmp_path, row(6, loss=0.5), from_step=6)
    assert read_rows(tmp_path) == [row(3), row(6, loss=0.5)]


def test_a_file_that_cannot_be_written_stays_whole(tmp_path, monkeypatch):
    log = log_of(tmp_path, row(3))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"metrics\.csv: cannot write"):
        log.add(row(6))
    assert read_rows(tmp_path) == [row(3)]


@pytest.mark.parametrize("content", ["name,price\napple,3\n", "epoch,step\n1,2\n", "epoch,step\n1,x\n", "a\n1,2\n"])
def test_a_table_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(CheckpointError, match=r"metrics\.csv: not the metrics of a minicrnn run"):
        RunLog(tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == content
