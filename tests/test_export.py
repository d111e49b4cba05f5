"""The torch.nn twin: the same weights, the same losses, the same gradients, and the same learning."""

import pytest
import torch
from torch import nn

from minicrnn import export, layers
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss_from_logits
from minicrnn.export import to_torch
from minicrnn.layers import LSTM, AvgPool2d, Conv2d, Dropout, Linear, LocalResponseNorm, MapToSequence, ReLU

SMALL = {"out_channels": 16, "hidden_size": 8}
PRESETS = ["vgg", "paper", "tiny", "music"]


def words(seed, N=4, K=7):
    """A batch of noise images of several widths, with labels that fit."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(N, 1, 32, 80, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, K, (N, 5), generator=generator)
    return images, [80, 64, 72, 60], targets, torch.tensor([5, 3, 4, 5])


def torch_loss(logits, lengths, targets, target_lengths):
    return nn.functional.ctc_loss(logits.log_softmax(2), targets, lengths, target_lengths)


def our_loss(logits, lengths, targets, target_lengths):
    return ctc_loss_from_logits(logits, targets, lengths, target_lengths)


def step_of(model, loss_function, batch):
    images, widths, targets, target_lengths = batch
    model.zero_grad()
    loss = loss_function(*model(images, widths), targets, target_lengths)
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("preset", PRESETS)
def test_one_training_step_has_the_same_loss_and_gradients(preset):
    torch.manual_seed(0)
    ours = CRNN.from_preset(preset, num_classes=7, **SMALL).double()
    theirs = to_torch(ours)
    batch = words(seed=1)
    torch.testing.assert_close(
        step_of(ours, our_loss, batch), step_of(theirs, torch_loss, batch), atol=1e-10, rtol=1e-8
    )
    for (name, a), (other, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(a.grad, b.grad, atol=1e-8, rtol=1e-8, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("preset", ["tiny", "vgg"])
def test_fifty_steps_have_the_same_loss_curve(preset):
    torch.manual_seed(0)
    ours = CRNN.from_preset(preset, num_classes=7, **SMALL).double()
    theirs = to_torch(ours)
    batches = [words(seed=s) for s in range(5)]
    curves = []
    for model, loss_function in ((ours, our_loss), (theirs, torch_loss)):
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        curve = []
        for step in range(50):
            curve.append(step_of(model, loss_function, batches[step % 5]))
            optimiser.step()
        curves.append(torch.stack(curve))
    torch.testing.assert_close(curves[0], curves[1], atol=1e-6, rtol=1e-6)  # rounding grows over 50 steps
    assert curves[0][-1] < 0.8 * curves[0][0], "nothing was learnt, so the curves say little"


@pytest.mark.parametrize("preset", PRESETS)
def test_weights_interchange_both_ways(preset):
    ours = CRNN.from_preset(preset, num_classes=7, **SMALL)
    theirs = to_torch(ours)
    assert {type(layer).__module__.partition(".")[0] for layer in theirs.features} == {"torch"}
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)


def test_the_twin_shares_no_memory_with_the_model_and_keeps_its_mode():
    ours = CRNN.from_preset("tiny", num_classes=7, **SMALL).eval()
    theirs = to_torch(ours)
    assert not any(module.training for module in theirs.modules())
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    assert all(p.abs().max() > 0 for p in ours.features.parameters() if p.dim() > 1)


def test_options_survive():
    stack = nn.Sequential(
        Conv2d(1, 4, (3, 5), stride=(1, 2), padding=(1, 0), groups=1, bias=False, padding_mode="replicate"),
        LocalResponseNorm(3, alpha=0.1, beta=0.5, k=2.0),
        AvgPool2d((8, 1), stride=(8, 1), count_include_pad=False),
        Dropout(0.3),
    )
    model = CRNN(stack, nn.Sequential(Linear(4, 3, bias=False)), height=8).eval()
    images = torch.randn(2, 1, 8, 20)
    twin = to_torch(model)
    assert twin.recurrent[0].bias is None
    assert twin.features[3].p == 0.3
    torch.testing.assert_close(model(images)[0], twin(images)[0])


def test_nested_containers_have_twins_all_the_way_down():
    shared = ReLU()
    stack = nn.Sequential(
        nn.Sequential(Conv2d(1, 4, 3, padding=1), shared), nn.ModuleList([Conv2d(4, 4, (8, 1)), shared])
    )
    model = CRNN(stack, nn.Sequential(nn.Sequential(LSTM(4, 3)), Linear(3, 5)), height=8)
    twin = to_torch(model)
    assert not any(type(module).__module__.startswith("minicrnn.layers") for module in twin.features.modules())
    assert not any(type(module).__module__.startswith("minicrnn.layers") for module in twin.recurrent.modules())
    assert twin.features[0][1] is twin.features[1][1]
    images = torch.randn(2, 1, 8, 20)
    torch.testing.assert_close(model(images, [20, 12])[0], twin(images, [20, 12])[0])
    assert isinstance(model.features[0][0], Conv2d)


def test_frozen_parameters_stay_frozen():
    model = CRNN.from_preset("tiny", num_classes=7, **SMALL)
    for parameter in model.features.parameters():
        parameter.requires_grad_(False)
    twin = to_torch(model)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {name: parameter.requires_grad for name, parameter in twin.named_parameters()} == flags
    assert len(set(flags.values())) == 2


def test_an_option_that_an_older_torch_lacks_is_not_passed(monkeypatch):
    class OlderBatchNorm2d(nn.BatchNorm2d):
        def __init__(
            self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None
        ):
            super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    monkeypatch.setitem(export._TWINS, layers.BatchNorm2d, OlderBatchNorm2d)
    twin = to_torch(CRNN.from_preset("tiny", num_classes=7, **SMALL))
    assert isinstance(twin.features.norm1, OlderBatchNorm2d)


def test_a_layer_without_a_twin_is_named():
    model = CRNN.from_preset("tiny", num_classes=7, **SMALL)
    model.features.add_module("odd", MapToSequence())
    with pytest.raises(NotImplementedError, match="MapToSequence"):
        to_torch(model)
