"""What a person sees while a run goes on: a progress bar, and a line for each validation."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minicrnn.training.log import MetricsRow


class Display:
    """A progress bar on ``console``; silent when there is none."""

    def __init__(self, console: Console | None) -> None:
        self.console = console or Console(quiet=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, visible=False, loss="")

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @contextmanager
    def checking(self, part: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Show a bar while the samples of a part are checked; gives a callback of (done, total)."""
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task(f"checking {part}", total=total)
            yield lambda done, _: bar.update(task, completed=done)

    def begin(self, steps: int, done: int) -> None:
        """Show a bar of so many steps."""
        self._bar.update(self._task, total=steps, completed=done, visible=True)

    def step(self, loss: float) -> None:
        """Move on by one step."""
        self._bar.update(self._task, advance=1, loss=f"loss {loss:.3f}")

    def row(self, row: MetricsRow) -> None:
        """Print what a validation found."""
        validation = "no validation"
        if not math.isnan(row.val_loss):
            validation = f"val loss {row.val_loss:6.3f}   words {row.val_word_accuracy:6.1%}   CER {row.val_cer:6.1%}"
            if math.isfinite(row.val_protocol_accuracy) and row.val_protocol_accuracy != row.val_word_accuracy:
                validation += f"   protocol {row.val_protocol_accuracy:6.1%}"
        skipped = f"   {row.skipped_steps} steps skipped" if row.skipped_steps else ""
        epoch = f"epoch {row.epoch:4d}   " if row.epoch else ""  # a stream has none
        if row.step == 0:
            self.say(f"before the first step: {validation}")
            return
        self.say(
            f"{epoch}step {row.step:6d}   loss {row.train_loss:6.3f}   {validation}   "
            f"{row.images_per_second:5.0f} img/s{skipped}"
        )

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)
