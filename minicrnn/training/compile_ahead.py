"""Kernels compiled in a second process while the run begins: Numba compiles one at a time in each.

The first training step of a new installation compiles for a minute, in the order in which it needs the kernels: the
convolutions', the LSTM's, the CTC loss's, and all their ways back. Meanwhile a second process compiles the LSTM's and
then the ways back of the convolutions. Both keep the machine code in one folder, where the step finds what is done.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import DEVNULL
from typing import Any

import torch

from minicrnn.backend import choose
from minicrnn.crnn import CRNN
from minicrnn.layers import LSTM
from minicrnn.layers.fusion import groups

WIDTH = 100  # of an image: enough for the same kernels as for any other


@contextmanager
def compiling_ahead(model: CRNN, device: torch.device, amp: bool = False) -> Iterator[None]:
    """Compile the kernels for training a preset on the CPU, unless that was done; stop on leaving.

    The layers of other models, and those of other types than float32, are compiled when they are needed.
    """
    process = None
    if model.preset is not None and not amp and _kernels_run(device) and _must_be_compiled():
        with suppress(OSError):  # without a second process it takes longer, no more
            process = subprocess.Popen(_command(model.preset), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield
    finally:
        if process is not None:
            process.terminate()
            process.wait()


def _kernels_run(device: torch.device) -> bool:
    return device.type == "cpu" and choose("lstm", torch.empty(0)) == "numba"


def _must_be_compiled() -> bool:
    from minicrnn_kernels import lstm
    from minicrnn_kernels.compiling import must_be_compiled

    return must_be_compiled(lstm.backward)


def _command(preset: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "minicrnn.training.compile_ahead", json.dumps(preset)]


def run_layers(preset: dict[str, Any]) -> None:
    """Run all layers of a preset forward and backward, once, on little."""
    y, _ = LSTM(1, 1, bidirectional=True)(torch.zeros(1, 2, 1))
    y.sum().backward()
    model = CRNN.from_preset(**preset)
    x = torch.zeros(2, preset["in_channels"], model.height, WIDTH)
    for group in groups(model.features, x):
        x = group.run(x)
    x.sum().backward()


if __name__ == "__main__":
    run_layers(json.loads(sys.argv[1]))
