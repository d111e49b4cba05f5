"""The second process that compiles while the first does: what it runs, and when it is started."""

import subprocess
import sys

import pytest
import torch

from minicrnn import threads, use_backend
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss_from_logits
from minicrnn.training import compile_ahead
from minicrnn.training.compile_ahead import compiling_ahead, run_layers

CPU = torch.device("cpu")


@pytest.fixture
def kernels_run(monkeypatch):
    """The kernels that are called, each with what it is compiled for anew."""
    called = set()

    def first_call(kernel, variant, *arguments):
        called.add((kernel.__module__, kernel.__name__, str(variant)))
        threads._called.add((kernel, variant))
        return kernel(*arguments)

    monkeypatch.setattr(threads, "_called", set())
    monkeypatch.setattr(threads, "_first_call", first_call)
    return called


@pytest.mark.parametrize("preset", ["vgg", "tiny"])
def test_compiles_what_a_training_step_needs_but_the_loss(preset, kernels_run):
    model = CRNN.from_preset(preset, 5, out_channels=128, hidden_size=8)
    logits, lengths = model(torch.rand(4, 1, 32, 60))
    loss = ctc_loss_from_logits(logits, torch.ones(4, 1, dtype=torch.int64), lengths, torch.ones(4, dtype=torch.int64))
    loss.backward()
    of_a_step = {kernel for kernel in kernels_run if "ctc" not in kernel[0]}
    assert len(of_a_step) > 5
    kernels_run.clear()
    threads._called.clear()
    run_layers(model.preset)
    assert kernels_run >= of_a_step


@pytest.fixture
def started(monkeypatch):
    """The processes that are started, which do nothing for a minute; as if nothing had ever been compiled."""
    processes, real = [], subprocess.Popen

    def start(*command, **options):
        processes.append(real(*command, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(compile_ahead, "_command", lambda preset: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr("minicrnn_kernels.compiling.must_be_compiled", lambda kernel: True)
    return processes


def test_ends_with_the_run_however_that_ends(started):
    def run():
        with compiling_ahead(CRNN.from_preset("tiny", 5), CPU):
            assert [process.poll() for process in started] == [None]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert started[0].returncode is not None


def test_is_not_started_where_it_would_not_help(started, monkeypatch):
    model, own = CRNN.from_preset("tiny", 5), CRNN.from_preset("tiny", 5)
    own.preset = None
    for arguments in [(model, torch.device("meta")), (model, CPU, True), (own, CPU)]:
        with compiling_ahead(*arguments):
            pass
    with use_backend("torch"), compiling_ahead(model, CPU):
        pass
    monkeypatch.setattr("minicrnn_kernels.compiling.must_be_compiled", lambda kernel: False)
    with compiling_ahead(model, CPU):
        pass
    assert started == []


def test_a_run_goes_on_without_it(started, monkeypatch):
    monkeypatch.setattr(compile_ahead, "_command", lambda preset: ["/no/such/python"])
    with compiling_ahead(CRNN.from_preset("tiny", 5), CPU):
        pass
    assert started == []


def test_the_command_comes_to_the_preset():
    """One that there is not, so that it ends at once and says so; to run the layers would take it seconds."""
    command = compile_ahead._command({"name": "no such"} | dict.fromkeys(["num_classes", "in_channels"], 1))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no preset 'no such'" in done.stderr
