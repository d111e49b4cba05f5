"""The record of a run: a CSV file to read anywhere, TensorBoard events, and a picture of the curves."""

import csv
import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from minicrnn.plots import plot_curves

DRAW_EVERY_SECONDS = 30.0  # drawing takes half a second, an epoch of a small folder less


@dataclass(frozen=True)
class Row:
    """One validation, and the training since the last one.

    Attributes:
        epoch, step: epochs and steps done.
        rate: the learning rate of the last step.
        train_loss: mean CTC loss per character since the epoch began, in nats.
        val_loss, val_word_accuracy, val_cer: on the validation set; NaN without one.
        images_per_second: trained on since the run began, without validation.
        skipped_steps: since the run began, because loss or gradients were not finite.
        seconds: of training since the run began, over all sittings and without validation.
    """

    epoch: int
    step: int
    rate: float
    train_loss: float
    val_loss: float
    val_word_accuracy: float
    val_cer: float
    images_per_second: float
    skipped_steps: int
    seconds: float


class RunLog:
    """Appends rows to ``metrics.csv`` and ``tensorboard/`` in a run's folder and redraws ``curves.png``.

    Args:
        folder: the run's folder.
        from_step: rows after this step are left from a sitting that was cut short, and are dropped.
    """

    def __init__(self, folder: Path, from_step: int = 0) -> None:
        self.path = folder / "metrics.csv"
        self.picture = folder / "curves.png"
        self.rows = [row for row in read_rows(folder) if row.step <= from_step]
        self._write()
        self._drawn_at = time.monotonic()
        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=from_step + 1 if self.rows else None)

    def add(self, row: Row) -> None:
        """Record a row everywhere."""
        self.rows.append(row)
        self._write()
        for name, value in dataclasses.asdict(row).items():
            if name not in ("epoch", "step") and not math.isnan(value):
                self.events.add_scalar(name, value, row.step)
        self.events.flush()
        if time.monotonic() - self._drawn_at > DRAW_EVERY_SECONDS:
            self._draw()

    def close(self) -> None:
        """Close the TensorBoard file and draw the curves a last time."""
        self.events.close()
        if self.rows:
            self._draw()

    def _draw(self) -> None:
        plot_curves([dataclasses.asdict(row) for row in self.rows], self.picture)
        self._drawn_at = time.monotonic()

    def _write(self) -> None:
        """The file is short: write it anew, and a reader never sees half a line."""
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)])
            writer.writeheader()
            writer.writerows(dataclasses.asdict(row) for row in self.rows)
        temporary.replace(self.path)


def read_rows(folder: Path) -> list[Row]:
    """The rows of a run's ``metrics.csv``; none if there is no such file."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    types: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(Row)}
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(**{name: types[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]
