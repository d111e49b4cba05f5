"""First weights keep the size of a signal, and the forget gates open."""

import pytest
import torch

from minicrnn.crnn import CRNN
from minicrnn.layers import LSTM, Conv2d, Linear


@pytest.mark.parametrize("preset", ["vgg", "paper", "tiny", "music"])
def test_signals_keep_their_size(preset):
    torch.manual_seed(0)
    model = CRNN.from_preset(preset, num_classes=37)
    x = torch.randn(8, 1, 32, 100)
    for layer in model.features:
        x = layer(x)
    assert 0.3 < x.square().mean().sqrt() < 3


def test_forget_gates_start_open():
    lstm = CRNN.from_preset("tiny", num_classes=5).recurrent.lstm1
    for suffix in ("l0", "l0_reverse"):
        i, f, g, o = (getattr(lstm, f"bias_ih_{suffix}") + getattr(lstm, f"bias_hh_{suffix}")).chunk(4)
        assert torch.equal(f, torch.ones_like(f))
        assert not torch.cat((i, g, o)).any()


def test_recurrent_weights_are_orthogonal_gate_by_gate():
    lstm = CRNN.from_preset("tiny", num_classes=5).recurrent.lstm1
    for gate in lstm.weight_hh_l0.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(lstm.hidden_size), atol=1e-5, rtol=0)


def test_every_layer_with_weights_is_known():
    kinds = (Conv2d, LSTM, Linear)
    for preset in ("vgg", "paper", "tiny", "music"):
        for module in CRNN.from_preset(preset, num_classes=5, out_channels=16, hidden_size=8).modules():
            if any(p.dim() > 1 for p in module.parameters(recurse=False)):
                assert isinstance(module, kinds)


def test_the_seed_decides():
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(CRNN.from_preset("tiny", num_classes=5).features.conv1.weight)
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])
