"""After training: the best model's confidences are calibrated on the images that it was validated on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minicrnn.calibration import MOST_IMAGES, calibrate, save_calibration
from minicrnn.reader import Reader


def calibrate_best(path: Path, val_set: Any, device: torch.device, say: Callable[[str], None]) -> None:
    """Fit the temperature of a model file on a validation set, keep it in the file's notes, and say what came of it.

    The same images chose the best model, so that confidences on others are a little less exact.

    Raises:
        CheckpointError: the file cannot be written.
    """
    reader = Reader.load(path, device)
    chosen = np.unique(np.linspace(0, len(val_set) - 1, min(MOST_IMAGES, len(val_set))).round().astype(int)).tolist()
    items = [val_set[i] for i in chosen]
    images = [((item.image[0] + 1) * 127.5).round().to(torch.uint8).numpy() for item in items]
    calibration = calibrate(reader, images, [item.text for item in items])
    save_calibration(path, calibration)
    say(f"{path.name}: {calibration}")
