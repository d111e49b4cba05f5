"""The training loop: one step after another, validated, recorded, saved, and resumable at any step."""

import math
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minicrnn.checkpoint import save_model
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss_from_logits
from minicrnn.data import Batch, WidthBatchSampler, WordStream
from minicrnn.evaluation import Evaluation, score
from minicrnn.layers.autocast import has_bfloat16
from minicrnn.reader import Reader, Reading, choose_device
from minicrnn.text import Alphabet
from minicrnn.training.compile_ahead import compiling_ahead
from minicrnn.training.display import Display
from minicrnn.training.feed import EpochFeed, Feed, StreamFeed, WordSet, word_loader
from minicrnn.training.interrupt import interruptible
from minicrnn.training.log import MetricsRow, RunLog
from minicrnn.training.optimiser import build_optimiser, check_rates, rate_factor
from minicrnn.training.options import TrainOptions
from minicrnn.training.state import Progress, load_state, save_state

MOST_SKIPS_IN_A_ROW = 20
SAVE_EVERY_SECONDS = 300.0


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


class Trainer:
    """Trains a model on one data set and validates it on another.

    Args:
        model, alphabet: what to train, and the characters of its classes.
        train_set: what to learn from; a stream needs ``steps`` and ``validate_every_steps``.
        val_set: what to validate on; without one nothing is validated.
        options: see :class:`TrainOptions`.
        folder: where models, state and records go; it exists.
        display: what a person sees.
        identity: what the run is, in plain values: its ``options``, and all else that a resumed run must share.
    """

    def __init__(
        self,
        model: CRNN,
        alphabet: Alphabet,
        train_set: WordSet | WordStream,
        val_set: WordSet | None,
        options: TrainOptions,
        folder: Path,
        display: Display,
        identity: dict[str, Any],
    ) -> None:
        self.options, self.folder, self.display, self.identity = options, folder, display, identity
        self.device = choose_device(options.device)
        self.amp = options.amp and has_bfloat16(self.device)
        if options.amp and not self.amp:
            display.say("amp: this CPU has no instructions for bfloat16, and float32, which it has, is used instead")
        self.model = model.to(self.device)
        self.alphabet = alphabet
        self.val_set = val_set
        self.optimiser = build_optimiser(self.model, options)
        self.feed: Feed
        if isinstance(train_set, WordStream):
            self.feed = StreamFeed(train_set, alphabet, options)
        else:
            self.feed = EpochFeed(train_set, options, self.device)
        self.total_steps = self._steps(options)
        self.progress = Progress()
        self._saved_at = time.monotonic()

    def resume(self, began_with: TrainOptions) -> None:
        """Go on from the folder's ``state.safetensors``.

        Args:
            began_with: the options that the state was saved with.

        Raises:
            CheckpointError: there is none, it does not fit, or the steps done would now have other learning rates.
        """
        self.progress = load_state(self.folder / "state.safetensors", self.model, self.optimiser, self.device)
        check_rates(self.progress.step, (self._steps(began_with), began_with), (self.total_steps, self.options))

    def _steps(self, options: TrainOptions) -> int:
        return options.steps or (self.feed.batches_per_epoch or 0) * (options.epochs or 0)

    def run(self) -> bool:
        """Train to the end. Returns False when an interrupt (Ctrl-C) ended it early.

        However it ends, the state is saved, and the last model too unless an error ended it.

        Raises:
            TrainingError: too many steps in a row had a loss or gradients that are not finite.
            CheckpointError: a file cannot be written.
        """
        self._save()  # from here on the folder is known to hold a run, however soon it ends
        log = RunLog(self.folder, self.progress.step, self.display.say)
        try:
            ahead = compiling_ahead(self.model, self.device, self.amp)
            with self.display, ahead, interruptible(self.display.say) as stop:
                self.display.begin(self.total_steps, self.progress.step)
                self._epochs(stop, log)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._save()
            raise
        finally:
            log.close()
            self.feed.close()
        return self._finished

    @property
    def _finished(self) -> bool:
        return self.progress.step >= self.total_steps

    def _epochs(self, stop: threading.Event, log: RunLog) -> None:
        """Train epochs and validate between, until all steps are done or an interrupt comes."""
        while True:
            if self._validation_due(log):
                self._validate(log)
            if self._finished or stop.is_set():
                break
            self._epoch(stop)
        if log.last_step < self.progress.step:  # interrupted within an epoch
            self._save_model("last.safetensors", self._notes())
        self._save()

    def _validation_due(self, log: RunLog) -> bool:
        """Decided from what is saved, so that a run resumed after a crash in a validation repeats it."""
        if self.progress.step == 0:
            return self._start is not None
        return (self._between_validations or self._finished) and log.last_step < self.progress.step

    @property
    def _start(self) -> str | None:
        """The trained model that the run began with."""
        start: str | None = self.identity.get("source", {}).get("start")
        return start

    @property
    def _between_validations(self) -> bool:
        """Whether what lies between two validations ends here: so many epochs, or so many steps."""
        progress, options = self.progress, self.options
        if options.validate_every_steps is not None:
            return progress.step > 0 and progress.step % options.validate_every_steps == 0
        return progress.epoch > 0 and progress.batch == 0 and progress.epoch % options.validate_every == 0

    def _epoch(self, stop: threading.Event) -> None:
        """Train from the progress's batch to the epoch's end, to a validation, or to an interrupt."""
        progress = self.progress
        self.model.train()
        began = time.perf_counter()
        for batch in self.feed.batches(progress.epoch, progress.batch):
            loss = self._step(batch.to(self.device))
            now = time.perf_counter()
            progress.seconds, began = progress.seconds + now - began, now
            self.display.step(loss)
            if self._finished or self._between_validations or stop.is_set():
                break
            if time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS:
                self._save()

    def _step(self, batch: Batch) -> float:
        """One optimiser step; returns its loss. A loss or gradient that is not finite changes no part of the model."""
        progress = self.progress
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(progress.step)
        buffers = [buffer.clone() for buffer in self.model.buffers()]  # small: the means and variances of BatchNorm
        loss, norm = self._backward(batch)
        self._count(batch)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)
            progress.skipped += 1
            progress.skipped_in_a_row += 1
            if progress.skipped_in_a_row >= MOST_SKIPS_IN_A_ROW:
                raise TrainingError(
                    f"{MOST_SKIPS_IN_A_ROW} steps in a row had a loss or gradients that are not finite (the last: "
                    f"loss {loss}, gradient norm {norm}): try a lower --rate, or a longer --warmup"
                )
            return loss
        progress.skipped_in_a_row = 0
        self.optimiser.step()
        progress.loss_sum += loss
        progress.loss_count += 1
        return loss

    def _rate(self, step: int) -> float:
        return self.options.peak_rate * rate_factor(step, self.total_steps, self.options)

    def _count(self, batch: Batch) -> None:
        progress = self.progress
        progress.step += 1
        progress.batch += 1
        progress.images += len(batch)
        if progress.batch == self.feed.batches_per_epoch:
            progress.epoch, progress.batch = progress.epoch + 1, 0

    def _backward(self, batch: Batch) -> tuple[float, float]:
        """Compute gradients, clipped. Returns the loss and the norm of the gradients before clipping."""
        self.optimiser.zero_grad(set_to_none=True)
        logits, lengths = self._logits(batch)
        if not torch.isfinite(logits).all():  # the CTC loss would refuse them
            return math.nan, math.nan
        loss = ctc_loss_from_logits(logits, batch.targets, lengths, batch.target_lengths)
        loss.backward()
        clip = self.options.clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        return loss.item(), norm.item()

    def _logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits, lengths = self.model(batch.images, batch.widths)
        return logits.float(), lengths

    def _validate(self, log: RunLog) -> None:
        """Measure, record, and save the model: as the last one, and as the best one if it is."""
        progress = self.progress
        val_loss, scores = math.nan, None
        if self.val_set is not None:
            val_loss, scores = self._measure(self.val_set)
        row = MetricsRow(
            epoch=progress.epoch,
            step=progress.step,
            rate=self._rate(max(0, progress.step - 1)),
            train_loss=progress.loss_sum / progress.loss_count if progress.loss_count else math.nan,
            val_loss=val_loss,
            val_word_accuracy=scores.word_accuracy if scores else math.nan,
            val_cer=scores.cer if scores else math.nan,
            images_per_second=progress.images / max(progress.seconds, 1e-9),
            skipped_steps=progress.skipped,
            seconds=progress.seconds,
            val_protocol_accuracy=scores.protocol_accuracy if scores else math.nan,
        )
        notes = self._notes()
        if scores:
            notes |= {"val_images": len(scores.predictions), "val_word_accuracy": row.val_word_accuracy}
            rank = [scores.word_accuracy, -scores.cer, -val_loss]
            if rank > progress.best:
                self._save_model("best.safetensors", notes)
                progress.best = rank
        self._save_model("last.safetensors", notes)
        log.add(row)
        progress.loss_sum, progress.loss_count = 0.0, 0
        self.display.row(row)

    @torch.inference_mode()
    def _measure(self, words: WordSet) -> tuple[float, Evaluation]:
        """Mean loss per character, and scores, on a validation set."""
        reader = Reader(self.model, self.alphabet, self.device)
        sampler = WidthBatchSampler(words.widths, self.options.batch_size, shuffle=False)
        names: list[str] = []
        truths: list[str] = []
        readings: list[Reading] = []
        loss_sum, began = 0.0, time.perf_counter()
        for batch in word_loader(words, sampler, self.options.workers, self.device):
            batch = batch.to(self.device)
            logits, lengths = self._logits(batch)
            if not torch.isfinite(logits).all():
                raise TrainingError("the model's outputs are not finite in validation: try a lower --rate")
            loss = ctc_loss_from_logits(logits, batch.targets, lengths, batch.target_lengths)
            loss_sum += loss.item() * len(batch)
            readings += reader.decode(logits.log_softmax(2), lengths)
            names += batch.names
            truths += batch.texts
        self.model.train()
        return loss_sum / len(words), score(names, truths, readings, time.perf_counter() - began)

    def _notes(self) -> dict[str, Any]:
        notes = {"step": self.progress.step, "epoch": self.progress.epoch, "options": self.identity["options"]}
        of_the_start = {"start": self._start, "calibration": self.identity.get("calibration")}
        return notes | {name: value for name, value in of_the_start.items() if value is not None}

    def _save_model(self, name: str, notes: dict[str, Any]) -> None:
        save_model(self.folder / name, self.model, self.alphabet, notes)

    def _save(self) -> None:
        path = self.folder / "state.safetensors"
        save_state(path, self.model, self.optimiser, self.progress, self.identity, self.device)
        self._saved_at = time.monotonic()
