"""Replays: the numbers of the network itself, whatever changes between two images."""

import threading
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import minicrnn as mc
from minicrnn import replay
from minicrnn.crnn import CRNN
from minicrnn.layers import LSTM, BatchNorm2d, Conv2d, Dropout, Linear, ReLU
from minicrnn.layers.prepared_weights import are_kept
from minicrnn.replay import RECORD_AT, Replays
from minicrnn.threads import kernel_threads
from tests.strategies import dtypes, seeds

SMALL = {"out_channels": 32, "hidden_size": 8}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def model():
    return small("tiny")


@pytest.fixture
def recorded():
    """The sizes that were recorded, in order."""
    sizes = []

    class Noted(replay.Recording):
        def __init__(self, function, x, memory):
            sizes.append(tuple(x.shape))
            super().__init__(function, x, memory)

    with mock.patch.object(replay, "Recording", Noted):
        yield sizes


def small(name, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    model = CRNN.from_preset(name, num_classes=7, **SMALL).to(dtype).eval()
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def image(width=60, seed=0, dtype=torch.float32):
    return torch.randn(1, 1, 32, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_reads(replays, model, x, widths=None):
    """As the model does; in float32 weights that are kept are multiplied by other products."""
    logits, lengths = replays(model, x, widths)
    expected, expected_lengths = model(x, widths)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(lengths, expected_lengths)


def read_often(replays, model, x):
    for _ in range(RECORD_AT + 1):
        assert_reads(replays, model, x)


@pytest.mark.parametrize("preset", ["vgg", "paper", "tiny", "music"])
@given(st.lists(st.integers(20, 200), min_size=1, max_size=3), dtypes, seeds)
@settings(max_examples=5)
def test_reads_as_the_model_does(preset, widths, dtype, seed):
    model, replays = small(preset, dtype, seed), Replays()
    with torch.no_grad():
        for i in range(RECORD_AT + 2):
            for width in widths:
                assert_reads(replays, model, image(width, seed + i, dtype))


def test_from_the_third_image_of_a_size_on_nothing_but_calls(model, recorded):
    replays = Replays()
    for i in range(1, RECORD_AT + 1):
        assert_reads(replays, model, image(seed=i))
        assert recorded == [(1, 1, 32, 60)] * (i == RECORD_AT)
    expected = model(image(seed=9))
    with mock.patch.object(CRNN, "forward", side_effect=AssertionError):
        logits, lengths = replays(model, image(seed=9))
        with pytest.raises(AssertionError):
            replays(model, image(width=61))
    torch.testing.assert_close(logits, expected[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(lengths, expected[1])


@pytest.mark.parametrize("widths", [[60], torch.tensor([60])])
def test_a_width_that_is_the_images_own_may_be_given(model, recorded, widths):
    replays = Replays()
    for _ in range(RECORD_AT):
        assert_reads(replays, model, image(), widths)
    assert recorded


def add_to_a_weight(model):
    model.features.conv1.weight.add_(0.1)


def train_a_little(model):
    model.train()(image())
    model.eval()


def other_memory(model):
    model.recurrent.lstm1.weight_hh_l0.data = model.recurrent.lstm1.weight_hh_l0 + 0.1


def other_layer(model):
    last = model.recurrent[-1]
    model.recurrent[-1] = Linear(last.in_features, last.out_features)


def without_a_relu(model):
    model.features.relu1 = Dropout().eval()


def other_parameter_in_the_same_memory(model):
    """Its changes are counted anew, and come to as many as before; what is prepared of it lies elsewhere."""
    layer = model.features.conv2
    counted, layer.weight = layer.weight._version, nn.Parameter(layer.weight.data)
    for _ in range(counted):
        layer.weight.add_(0.1)


def other_weights(model):
    model.load_state_dict(small("tiny", seed=1).state_dict())


def other_parameter(model):
    layer = model.features.conv1
    layer.weight = nn.Parameter(layer.weight + 0.1)


def in_training(model):
    model.features.norm2.train()


def hook_that_changes(model):
    model.features.conv1.register_forward_hook(lambda layer, args, y: y + 1)


def own_forward(model):
    layer = model.features.conv1
    layer.forward = lambda x: Conv2d.forward(layer, x) + 1


CHANGES = [
    add_to_a_weight, train_a_little, other_memory, other_layer, without_a_relu, other_weights, other_parameter,
    other_parameter_in_the_same_memory, in_training, hook_that_changes, own_forward,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_of_the_model_are_noticed(model, change):
    replays = Replays()
    read_often(replays, model, image())
    before = model(image())[0]
    change(model)
    frozen = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for i in range(RECORD_AT + 1):
        logits, _ = replays(model, image())
        model.load_state_dict(frozen, strict=False)  # a layer in training has moved its averages
        expected = model(image())[0]
        model.load_state_dict(frozen, strict=False)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4, msg=f"{i}")
    assert not torch.allclose(before, expected, atol=1e-3)


def test_another_model_is_another(model):
    replays, other = Replays(), small("tiny", seed=1)
    for _ in range(RECORD_AT):
        assert_reads(replays, model, image())
    for _ in range(RECORD_AT):
        assert_reads(replays, other, image())


class Louder(Conv2d):
    """A layer of somebody's own: it looks at the numbers, which no recording would see."""

    def forward(self, input):
        return super().forward(input) * (2 if input.numpy().mean() > 0 else 1)


def test_layers_of_ones_own_are_not_recorded(recorded):
    features = nn.Sequential(Louder(1, 4, (32, 3)), ReLU())
    model, replays = CRNN(features, nn.Sequential(LSTM(4, 3), Linear(3, 2))).eval(), Replays()
    for i in range(2 * RECORD_AT):
        assert_reads(replays, model, image() + (-1) ** i)
    assert not recorded


def test_models_of_ones_own_are_not_recorded(recorded):
    class Doubled(CRNN):
        def forward(self, images, widths=None):
            logits, lengths = super().forward(images, widths)
            return 2 * logits, lengths

    layers = nn.Sequential(Conv2d(1, 4, (32, 3)), ReLU()), nn.Sequential(LSTM(4, 3), Linear(3, 2))
    read_often(Replays(), Doubled(*layers).eval(), image())
    assert not recorded


def several(model):
    return torch.cat([image(), image(seed=1)]), None


def narrower_than_its_tensor(model):
    return image(), [40]


def large(model):
    return image(replay.MOST_PIXELS // 32 + 1), None


@pytest.mark.parametrize("case", [several, narrower_than_its_tensor, large], ids=lambda case: case.__name__)
def test_what_is_not_one_small_image_is_not_recorded(model, recorded, case):
    replays = Replays()
    for _ in range(RECORD_AT + 1):
        assert_reads(replays, model, *case(model))
    assert not recorded


def test_gradients_are_not_lost(model, recorded):
    replays = Replays()
    with torch.enable_grad():
        for _ in range(RECORD_AT + 1):
            assert replays(model, image())[0].requires_grad
    assert not recorded


def test_levels_and_autocast_are_honoured(model, recorded):
    replays = Replays()
    read_often(replays, model, image())
    recorded.clear()
    with mc.use_backend("torch"):
        read_often(replays, model, image())
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(RECORD_AT + 1):
            assert replays(model, image())[0].dtype == torch.bfloat16
    assert not recorded
    with mc.use_backend("numba"):
        read_often(replays, model, image())
    assert len(recorded) == 1


def test_weights_of_inference_mode_do_not_count_their_changes(recorded):
    with torch.inference_mode():
        model, replays = small("tiny"), Replays()
        for _ in range(RECORD_AT + 1):
            assert_reads(replays, model, image())
            add_to_a_weight(model)
    assert not recorded


def test_inference_mode_and_no_grad_take_turns(model):
    replays = Replays()
    for _ in range(RECORD_AT + 1):
        with torch.inference_mode():
            assert_reads(replays, model, image())
        assert_reads(replays, model, image())


@pytest.mark.parametrize(
    ("x", "widths", "message"),
    [
        (torch.zeros(1, 32, 60), None, "batch of images"),
        (torch.zeros(1, 32, 60), [60], "batch of images"),
        (torch.zeros(1, 1, 31, 60), None, "32 high, not 31"),
        (torch.zeros(1, 2, 32, 60), None, "images of 1 channels"),
        (torch.zeros(1, 1, 32, 60), [0], "not in 1..60"),
        (torch.zeros(1, 1, 32, 60), [60, 60], "1 images but 2 widths"),
        (torch.zeros(1, 1, 32, 2), None, "gives no frame"),
    ],
)
def test_errors_are_those_of_the_model(model, x, widths, message):
    replays = Replays()
    for _ in range(RECORD_AT + 1):
        with pytest.raises(ValueError, match=message):
            replays(model, x, widths)


def test_an_image_of_another_type_is_refused_as_ever(model):
    replays = Replays()
    read_often(replays, model, image())
    with pytest.raises(RuntimeError, match="float64"):
        replays(model, image(dtype=torch.float64))


def test_a_tensor_that_is_more_is_not_recorded(model, recorded):
    replays, x = Replays(), image().as_subclass(nn.Parameter)
    for _ in range(RECORD_AT + 1):
        replays(model, x)
    assert not recorded


def test_as_many_threads_as_torch_uses(model, recorded):
    replays, threads, different = Replays(), torch.get_num_threads(), set()
    try:
        for count in (2, 1):
            torch.set_num_threads(count)
            different.add(kernel_threads())  # Numba may have fewer
            read_often(replays, model, image())
    finally:
        torch.set_num_threads(threads)
    assert len(recorded) == len(different)


def test_weights_are_kept(model):
    kept = []
    model.features.conv1.register_forward_hook(lambda layer, args, y: kept.append(are_kept(layer.weight)))
    Replays()(model, image())
    assert kept == [True]


def test_only_so_many_pixels_are_kept(model, recorded):
    replays = Replays()
    with mock.patch.object(replay, "MOST_PIXELS_KEPT", 2 * 32 * 60):
        for width in (60, 58, 59):
            read_often(replays, model, image(width))
        recorded.clear()
        assert_reads(replays, model, image(59))
        assert_reads(replays, model, image(58))
        assert not recorded
        for _ in range(RECORD_AT):  # forgotten
            assert_reads(replays, model, image(60))
        assert recorded == [(1, 1, 32, 60)]


def test_threads_read_at_the_same_time(model):
    replays, wrong = Replays(), []
    expected = {i: model(image(seed=i))[0] for i in range(4)}

    def read(seed):
        with torch.no_grad():
            for _ in range(50):
                logits, _ = replays(model, image(seed=seed))
                if not torch.allclose(logits, expected[seed], atol=1e-4):
                    wrong.append(seed)

    threads = [threading.Thread(target=read, args=[i]) for i in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
