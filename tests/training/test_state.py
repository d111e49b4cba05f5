"""The saved state: all of it comes back, and whatever is not one is refused by name."""

import json

import pytest
import torch

from minicrnn.checkpoint import CheckpointError, read_tensors, write_tensors
from minicrnn.layers import Linear
from minicrnn.training.state import Progress, load_state, read_identity, save_state

CPU = torch.device("cpu")


def pair():
    model = Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters())


@pytest.fixture
def saved(tmp_path):
    """A state after one step, with the model and the optimiser that it is of."""
    model, optimiser = pair()
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    path = tmp_path / "state.safetensors"
    save_state(path, model, optimiser, Progress(step=1, best=[0.5, -0.1]), {"options": {"seed": 1}}, CPU)
    return path, model, optimiser


def test_everything_comes_back(saved):
    path, model, optimiser = saved
    expected = torch.rand(3)
    other, other_optimiser = pair()
    torch.rand(7)
    assert load_state(path, other, other_optimiser, CPU) == Progress(step=1, best=[0.5, -0.1])
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(other.weight, model.weight)
    ours, theirs = other_optimiser.state_dict()["state"], optimiser.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[i][name], theirs[i][name]) for i in ours for name in ours[i])
    assert read_identity(path) == {"options": {"seed": 1}}


def test_the_random_state_is_that_of_the_device_trained_on(tmp_path, monkeypatch):
    second, restored = torch.device("cuda:1"), []
    state = torch.arange(16, dtype=torch.uint8)
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: state if device == second else None)
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda *args: restored.append(args))
    path = tmp_path / "state.safetensors"
    save_state(path, *pair(), Progress(), {}, second)
    load_state(path, *pair(), CPU)
    assert restored == []
    load_state(path, *pair(), second)
    assert torch.equal(restored[0][0], state)
    assert restored[0][1] == second


def change(path, drop_tensor=None, **metadata):
    tensors, old = read_tensors(path)
    tensors.pop(drop_tensor, None)
    write_tensors(path, tensors, {name: value for name, value in (old | metadata).items() if value is not None})


@pytest.mark.parametrize(
    "damage",
    [
        {"drop_tensor": "model.weight"},
        {"drop_tensor": "random.cpu"},
        {"progress": "{"},
        {"progress": json.dumps({"stride": 3})},
        {"optimiser": None},
    ],
)
def test_a_state_that_does_not_fit(saved, damage):
    path, _, _ = saved
    change(path, **damage)
    with pytest.raises(CheckpointError, match=r"state\.safetensors: does not fit this run"):
        load_state(path, *pair(), CPU)


def test_a_state_of_another_model(saved):
    model = Linear(4, 2)
    with pytest.raises(CheckpointError, match="does not fit this run"):
        load_state(saved[0], model, torch.optim.AdamW(model.parameters()), CPU)


@pytest.mark.parametrize("identity", [None, "{", "3"])
def test_a_state_that_does_not_say_whose_it_is(saved, identity):
    change(saved[0], identity=identity)
    with pytest.raises(CheckpointError, match="does not say what run it belongs to"):
        read_identity(saved[0])


def test_a_file_of_another_kind(saved, tmp_path):
    change(saved[0], format="something else")
    with pytest.raises(CheckpointError, match="not the state of a minicrnn training run"):
        read_identity(saved[0])
    with pytest.raises(CheckpointError, match="no run to resume"):
        read_identity(tmp_path / "none.safetensors")
