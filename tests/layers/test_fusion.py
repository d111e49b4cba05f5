"""Groups of layers that run as one: which there are, and that they compute what the layers compute."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minicrnn import CRNN, layers, use_backend
from minicrnn.layers.fusion import groups
from tests.strategies import seeds, tensors

CONV, NORM, RELU, POOL = layers.Conv2d, layers.BatchNorm2d, layers.ReLU, layers.MaxPool2d
IMAGE = torch.zeros(1, 4, 8, 8)


def sizes_of(*modules, x=IMAGE):
    """How many layers each group has."""
    return [len(group.layers) for group in groups(nn.Sequential(*modules), x)]


def in_groups(stack, x):
    for group in groups(stack, x):
        x = group.run(x)
    return x


@pytest.mark.parametrize(
    ("modules", "sizes"),
    [
        ([CONV(4, 4, 3), RELU(), POOL(2)], [3]),
        ([CONV(4, 4, 3), RELU()], [2]),
        ([CONV(4, 4, 3), POOL(2)], [2]),
        ([CONV(4, 4, 3), CONV(4, 4, 3)], [1, 1]),
        ([CONV(4, 4, 3), NORM(4), RELU(), POOL(2)], [1, 3]),
        ([NORM(4), RELU()], [2]),
        ([RELU(), POOL(2)], [2]),
        ([RELU(), RELU()], [1, 1]),
        ([POOL(2), RELU(), CONV(4, 4, 3), RELU()], [1, 1, 2]),
        ([CONV(4, 4, 3), layers.Dropout(0.5), RELU()], [1, 1, 1]),
        ([CONV(4, 4, 3), POOL(2), RELU()], [2, 1]),
        ([CONV(4, 4, 3), POOL(2, padding=1)], [1, 1]),
        ([CONV(4, 4, 3), POOL(3, stride=2)], [1, 1]),
        ([CONV(4, 4, 3), POOL(2, dilation=2)], [1, 1]),
        ([CONV(4, 4, 3), POOL(2, ceil_mode=True)], [1, 1]),
        ([CONV(4, 4, 3), POOL(2, return_indices=True)], [1, 1]),
        ([CONV(4, 4, 3), POOL(12)], [1, 1]),  # 144 places do not fit into a byte
        ([nn.Conv2d(4, 4, 3), RELU()], [1, 1]),
        ([], []),
    ],
)
def test_which_layers_are_grouped(modules, sizes):
    assert sizes_of(*modules) == sizes


def test_a_constant_normalisation_belongs_to_its_convolution():
    modules = [CONV(4, 4, 3), NORM(4).eval(), RELU(), POOL(2)]
    assert sizes_of(*modules) == [1, 3]  # somebody may want the gradient of its scale
    with torch.no_grad():
        assert sizes_of(*modules) == [4]
        assert sizes_of(CONV(4, 4, 3), NORM(4, track_running_stats=False).eval()) == [1, 1]
        assert sizes_of(CONV(4, 4, 3), NORM(4)) == [1, 1]


def test_nothing_is_grouped_where_there_are_no_kernels():
    with use_backend("torch"):
        assert sizes_of(CONV(4, 4, 3), RELU()) == [1, 1]
    assert sizes_of(CONV(4, 4, 3), RELU(), x=IMAGE.half()) == [1, 1]
    assert sizes_of(CONV(4, 4, 3), RELU(), x=IMAGE.to("meta")) == [1, 1]
    with torch.autocast("cpu", torch.bfloat16):
        assert sizes_of(CONV(4, 4, 3), RELU()) == [1, 1]


class Doubled(layers.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_layer_that_was_changed_runs_by_itself():
    stack = nn.Sequential(CONV(4, 4, 3), Doubled())
    assert sizes_of(*stack) == [1, 1]
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(in_groups(stack, x), stack(x))


@pytest.mark.parametrize("watch", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_layer_that_is_watched_runs_by_itself(watch, which):
    stack, calls = nn.Sequential(CONV(4, 4, 3), RELU()), []
    getattr(stack[which], watch)(lambda *args: calls.append(args))
    in_groups(stack, torch.randn(1, 4, 5, 5, requires_grad=True)).sum().backward()
    assert len(calls) == 1


def test_a_hook_on_all_modules_is_called_for_each():
    calls = []
    with nn.modules.module.register_module_forward_hook(lambda *args: calls.append(args)):
        in_groups(nn.Sequential(CONV(4, 4, 3), RELU()), torch.randn(1, 4, 5, 5))
    assert len(calls) == 2


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("preset", ["vgg", "paper", "tiny", "music"])
@given(data=st.data(), widths=st.lists(st.integers(20, 90), min_size=1, max_size=3), seed=seeds)
@settings(max_examples=4)
def test_a_model_computes_the_same_in_groups(preset, training, data, widths, seed):
    torch.manual_seed(seed)
    model = CRNN.from_preset(preset, 7, out_channels=16, hidden_size=8).double().train(training)
    x = data.draw(tensors(len(widths), 1, 32, max(widths)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    results = {}
    for backend in ("auto", "torch"):
        model.load_state_dict(state)
        model.zero_grad()
        with use_backend(backend):
            logits, _ = model(x, widths)
            generator = torch.Generator().manual_seed(1)
            logits.backward(torch.randn(logits.shape, generator=generator, dtype=logits.dtype))
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        results[backend] = {"logits": logits.detach()} | gradients | dict(model.named_buffers())
        results[backend] = {name: value.clone() for name, value in results[backend].items()}
    for name, value in results["torch"].items():
        torch.testing.assert_close(results["auto"][name], value, atol=1e-9, rtol=1e-7, msg=name)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_constants_of_a_normalisation(with_bias, affine):
    stack = nn.Sequential(CONV(4, 6, 3, bias=with_bias), NORM(6, affine=affine), RELU()).double().eval()
    stack[1].running_mean.normal_()
    stack[1].running_var.uniform_(0.5, 2)
    for parameter in stack[1].parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    with torch.no_grad():
        assert len(list(groups(stack, x))) == 1
        torch.testing.assert_close(in_groups(stack, x), stack(x), atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("first", [CONV(4, 4, 3), NORM(4)])
def test_a_map_too_small_for_the_pool_gives_the_pools_own_error(first):
    stack = nn.Sequential(first, RELU(), POOL(5))
    x = torch.randn(2, 4, 4, 4)
    with pytest.raises(RuntimeError) as alone:
        stack(x)
    with pytest.raises(RuntimeError) as grouped:
        in_groups(stack, x)
    assert str(grouped.value) == str(alone.value)


def test_a_wrong_number_of_channels_is_named():
    with pytest.raises(RuntimeError, match="expects 4 channels"):
        in_groups(nn.Sequential(CONV(4, 4, 3), RELU()), torch.zeros(1, 3, 8, 8))
