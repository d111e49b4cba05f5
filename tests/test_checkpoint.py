"""Model files: what is written is read back, and whatever is not a model is refused by name."""

import errno
import json
import os
import threading

import pytest
import safetensors.torch
import torch

from minicrnn.checkpoint import CheckpointError, load_model, save_model, write_atomically
from minicrnn.crnn import CRNN
from minicrnn.layers import Conv2d, Linear
from minicrnn.text import Alphabet

ALPHABET = Alphabet("abc é中")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CRNN.from_preset("tiny", ALPHABET.num_classes, out_channels=16, hidden_size=8)


def test_round_trip(tmp_path, model):
    save_model(tmp_path / "m.safetensors", model, ALPHABET, {"step": 3})
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.alphabet == ALPHABET
    assert loaded.notes == {"step": 3}
    assert loaded.model.preset == model.preset
    assert not loaded.model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name


def test_half_rounds_matrices_alone(tmp_path, model):
    save_model(tmp_path / "whole.safetensors", model, ALPHABET)
    save_model(tmp_path / "half.safetensors", model, ALPHABET, half=True)
    loaded = load_model(tmp_path / "half.safetensors").model.state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        if tensor.dim() > 1:
            torch.testing.assert_close(loaded[name], tensor, rtol=2**-11, atol=2**-25)  # half of the last bit
            assert not torch.equal(loaded[name], tensor), name
        else:
            assert torch.equal(loaded[name], tensor), name
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.65 * whole


@pytest.mark.parametrize("value", [1e5, float("nan")])
def test_a_weight_too_large_for_half_is_named(tmp_path, model, value):
    with torch.no_grad():
        model.features.conv1.weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=r"features.conv1.weight: a weight is beyond 65,504"):
        save_model(tmp_path / "m.safetensors", model, ALPHABET, half=True)
    assert not list(tmp_path.iterdir())


def test_a_model_of_ones_own_stack_cannot_be_saved(tmp_path):
    stack = torch.nn.Sequential(Conv2d(1, 4, (8, 3)))
    own = CRNN(stack, torch.nn.Sequential(Linear(4, 3)), height=8)
    with pytest.raises(CheckpointError, match="from_preset"):
        save_model(tmp_path / "m.safetensors", own, ALPHABET)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95", bytes(1000), b"PK\x03\x04" * 100])
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_model(tmp_path / "m.safetensors")


def test_a_truncated_model(tmp_path, model):
    path = tmp_path / "m.safetensors"
    save_model(path, model, ALPHABET)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(path)


def test_safetensors_of_another_project(tmp_path):
    safetensors.torch.save_file({"w": torch.zeros(2)}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="not a minicrnn model"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preset", json.dumps({"name": "vgg", "num_classes": 7})),
        ("preset", json.dumps({"name": "nothing", "num_classes": 7})),
        ("preset", json.dumps({"unknown": 1})),
        ("preset", "{"),
        ("alphabet", "[]"),
        ("alphabet", Alphabet("ab").to_json()),
    ],
)
def test_metadata_that_does_not_fit(tmp_path, model, key, value):
    metadata = {
        "format": "minicrnn-1",
        "preset": json.dumps(model.preset),
        "alphabet": ALPHABET.to_json(),
        "notes": "{}",
    } | {key: value}
    safetensors.torch.save_file(model.state_dict(), tmp_path / "m.safetensors", metadata)
    with pytest.raises(CheckpointError, match=r"m\.safetensors"):
        load_model(tmp_path / "m.safetensors")


def test_a_full_disk_leaves_the_old_file(tmp_path, model, monkeypatch):
    path = tmp_path / "m.safetensors"
    save_model(path, model, ALPHABET)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_model(path, model, ALPHABET, {"new": True})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "a temporary file was left behind"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="cannot write 3 bytes"):
        write_atomically(tmp_path / "none" / "m.bin", b"abc")


def test_a_symbolic_link_is_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "m.bin", tmp_path / "link.bin"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, b"abc")
    reader.join(10)
    assert read == [b"abc"]
    assert pipe.is_fifo()


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "m.bin", b"abc")
    assert list(tmp_path.iterdir()) == []


def test_the_umask_holds_and_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "plain").touch()
    monkeypatch.setattr("os.umask", lambda mask: pytest.fail("the umask was changed"))
    write_atomically(tmp_path / "m.bin", b"abc")
    assert (tmp_path / "m.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode
