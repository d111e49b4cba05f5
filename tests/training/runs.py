"""What the tests of training share: options of a run of a second, and a way to interrupt it."""

import os
import signal

from minicrnn.checkpoint import read_tensors
from minicrnn.training import loop

FAST = {"preset": "tiny", "out_channels": 32, "hidden_size": 16, "batch_size": 4, "val_share": 0.25}


def weights(folder):
    return read_tensors(folder / "last.safetensors")[0]


def interrupt_after(step, monkeypatch):
    """Send this process the Ctrl-C signal when a trainer has done so many steps."""
    real_step = loop.Trainer._step

    def step_then_interrupt(self, batch):
        loss = real_step(self, batch)
        if self.progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    monkeypatch.setattr(loop.Trainer, "_step", step_then_interrupt)
