"""Training: options, the loop, its records, and ``minicrnn.train``, which puts them together."""

from minicrnn.training.loop import Trainer, TrainingError
from minicrnn.training.options import TrainOptions
from minicrnn.training.run import RunResult, train

__all__ = ["RunResult", "TrainOptions", "Trainer", "TrainingError", "train"]
