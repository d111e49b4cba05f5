"""What the tests of runs without end share: a renderer with a font that is always there, and short options."""

from pathlib import Path

import matplotlib

from minicrnn.data.rendering import LOOKS

FONT = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
RENDER = {"fonts": [FONT], "max_length": 6, "looks": dict.fromkeys(LOOKS, 0.0)}
STREAM = {
    "preset": "tiny",
    "out_channels": 32,
    "hidden_size": 16,
    "batch_size": 2,
    "steps": 14,
    "validate_every_steps": 6,
    "alphabet": "abcdefghijklmnopqrstuvwxyz",
}
