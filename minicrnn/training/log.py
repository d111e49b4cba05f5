"""The record of a run: a CSV file to read anywhere, TensorBoard events, and a picture of the curves."""

import csv
import dataclasses
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicrnn.checkpoint import CheckpointError, write_atomically

DRAW_EVERY_SECONDS = 30.0  # drawing takes half a second, an epoch of a small folder less


@dataclass(frozen=True)
class MetricsRow:
    """One validation, and the training since the last one.

    Attributes:
        epoch, step: epochs and steps done.
        rate: the learning rate of the last step.
        train_loss: mean CTC loss per character since the epoch began, in nats; NaN before the first step.
        val_loss, val_word_accuracy, val_cer: on the validation set; NaN without one.
        images_per_second: trained on since the run began, without validation.
        skipped_steps: since the run began, because loss or gradients were not finite.
        seconds: of training since the run began, over all sittings and without validation.
        val_protocol_accuracy: words right after lower-casing and keeping only a–z and 0–9; NaN where there are none.
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
    val_protocol_accuracy: float = math.nan


class RunLog:
    """Appends rows to ``metrics.csv`` and ``tensorboard/`` in a run's folder and redraws ``curves.png``.

    Args:
        folder: the run's folder.
        from_step: rows after this step are left from a sitting that was cut short, and are dropped.
        warn: called with a message, once, if the curves cannot be drawn: the run goes on without them.

    Raises:
        CheckpointError: ``metrics.csv`` cannot be written, or is not a run's.
    """

    def __init__(self, folder: Path, from_step: int = 0, warn: Callable[[str], None] | None = None) -> None:
        self.path = folder / "metrics.csv"
        self.picture = folder / "curves.png"
        self.rows = [row for row in read_rows(folder) if row.step <= from_step]
        self._write()
        self._warn = warn
        self._drawn_at = time.monotonic()
        from tensorboardX import SummaryWriter  # here and below: what training needs, others should not wait for

        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=from_step + 1 if self.rows else None)

    @property
    def last_step(self) -> int:
        """The step of the last row, −1 without one."""
        return self.rows[-1].step if self.rows else -1

    def add(self, row: MetricsRow) -> None:
        """Record a row everywhere; it replaces rows of the same step and later ones."""
        self.rows = [*(old for old in self.rows if old.step < row.step), row]
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
        from minicrnn.plots import plot_curves

        try:
            plot_curves([dataclasses.asdict(row) for row in self.rows], self.picture)
        except (CheckpointError, OSError) as error:
            if self._warn is not None:
                self._warn(f"the curves cannot be drawn, and training goes on: {error}")
                self._warn = None
        self._drawn_at = time.monotonic()

    def _write(self) -> None:
        """The file is short: write it anew, and a reader never sees half a line."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(MetricsRow)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in self.rows)
        write_atomically(self.path, text.getvalue().encode())


def read_rows(folder: Path) -> list[MetricsRow]:
    """The rows of a run's ``metrics.csv``; none if there is no such file.

    Raises:
        CheckpointError: the file is not a run's.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    types: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(MetricsRow)}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                MetricsRow(**{name: types[name](value) for name, value in row.items()}) for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not the metrics of a minicrnn run: {error!r}; move it away") from error
