"""The options of a training run: checked at once, saved with the run, compared on resume."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minicrnn.presets import PRESETS

OPTIMISERS = ("adamw", "adadelta")
SCHEDULES = ("cosine", "constant")
DEFAULT_EPOCHS = 100
MAY_CHANGE = ("workers", "device", "max_bad_share")  # in a run that goes on: they change nothing that is learnt
OF_THE_RATE = ("epochs", "steps", "schedule", "warmup", "cooldown")  # they may change what is not yet done
DEFAULT_RATES = {"adamw": 3e-3, "adadelta": 1.0}


@dataclass(frozen=True)
class TrainOptions:
    """How to train; every field is an option of ``minicrnn train``.

    Attributes:
        preset: the network, by name.
        out_channels, hidden_size: sizes that replace the preset's own.
        dropout: the probability that a feature is dropped, before each LSTM and before the classes.
        epochs: passes over the data; or
        steps: optimiser steps. One of the two is given; where neither is, :func:`minicrnn.train` gives 100 epochs.
        batch_size: images in a step.
        optimiser: ``"adamw"``, or ``"adadelta"`` with ρ = 0.9, the paper's choice.
        rate: learning rate at its highest; None takes 3e-3 for AdamW and 1 for Adadelta.
        weight_decay: AdamW's.
        schedule: ``"cosine"`` falls to zero at the end, ``"constant"`` stays until the cooldown.
        warmup: the share of all steps, 0 to 1, over which the rate rises from zero.
        cooldown: the share of all steps, 0 to 1, at the end of a constant schedule, over which the rate falls to zero.
        clip: the largest norm of all gradients together; larger ones are scaled down to it. 0 turns it off.
        augment: how strongly to vary the images, 1 as meant, 0 not at all.
        val_share: the share of the images held out for validation, where no folder is given for it.
        validate_every: epochs between two validations; or
        validate_every_steps: steps between two validations.
        seed: of weights, split, order and augmentation.
        workers: processes that prepare batches; 0 prepares them in the training process.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        amp: bfloat16 for convolutions, LSTMs and linear layers, where the device has it in hardware.
        max_bad_share: the share of samples, 0 to 1, that may be unusable before the run stops.

    Raises:
        ValueError: an option out of its range; the message names it.
    """

    preset: str = "vgg"
    out_channels: int | None = None
    hidden_size: int | None = None
    dropout: float = 0.0
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 32
    optimiser: str = "adamw"
    rate: float | None = None
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup: float = 0.05
    cooldown: float = 0.0
    clip: float = 5.0
    augment: float = 1.0
    val_share: float = 0.1
    validate_every: int = 1
    validate_every_steps: int | None = None
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    amp: bool = False
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        for name in ("epochs", "steps", "batch_size", "validate_every", "validate_every_steps"):
            self._require(name, lambda value: value is None or value >= 1, "at least 1")
        for name in ("weight_decay", "clip", "augment", "workers", "seed"):
            self._require(name, lambda value: 0 <= value < math.inf, "at least 0")
        for name in ("dropout", "warmup", "cooldown", "val_share", "max_bad_share"):
            self._require(name, lambda value: 0 <= value <= 1, "a share from 0 to 1")
        self._require("rate", lambda value: value is None or 0 < value < math.inf, "positive")
        self._require("augment", lambda value: value <= 2, "at most 2")
        self._require("preset", lambda value: value in PRESETS, f"one of {', '.join(PRESETS)}")
        self._require("optimiser", lambda value: value in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}")
        self._require("schedule", lambda value: value in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        if self.cooldown and self.schedule != "constant":
            raise ValueError(f"a cooldown is of the constant schedule, not of the {self.schedule}: leave one out")
        if self.warmup + self.cooldown > 1:
            raise ValueError(f"warmup {self.warmup:g} and cooldown {self.cooldown:g} are more than all steps together")

    def _require(self, name: str, holds: Any, expected: str) -> None:
        value = getattr(self, name)
        if not holds(value):
            raise ValueError(f"{name} must be {expected}, not {value!r}")

    @property
    def peak_rate(self) -> float:
        """The learning rate at its highest."""
        return DEFAULT_RATES[self.optimiser] if self.rate is None else self.rate

    def forbidden_changes(self, given: Mapping[str, Any]) -> list[str]:
        """Which of the options given for going on with a run differ from its own, and may not; one line each.

        Those that make the learning rates pass here: they may change as long as the rates of the steps already taken
        stay what they were, and the trainer, who knows all steps, looks at that.
        """
        return [
            f"{name} is {value!r} now and was {getattr(self, name)!r}"
            for name, value in given.items()
            if name not in MAY_CHANGE
            and value != (own := getattr(self, name, value))
            and (name not in OF_THE_RATE or own is None)  # epochs do not turn into steps
        ]
