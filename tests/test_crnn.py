"""CRNN: shapes, widths, and readings that do not depend on their neighbours in a batch."""

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import minicrnn
from minicrnn.crnn import CRNN
from minicrnn.layers import LSTM, AvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, ReLU
from minicrnn.layers.geometry import windows_of
from minicrnn.shapes import frames_for_width
from tests.strategies import feature_stacks, seeds

SMALL = {"out_channels": 16, "hidden_size": 8}


def small(name, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return with_statistics(CRNN.from_preset(name, num_classes=7, **SMALL).to(dtype))


def with_statistics(model):
    """The model in evaluation, with statistics of BatchNorm that are not the identity."""
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def side_by_side(images):
    """Images [C, H, w_i] in one batch, with noise where padding is: nobody promises that it is clean."""
    widest = max(image.shape[2] for image in images)
    batch = torch.randn(len(images), *images[0].shape[:2], widest, dtype=images[0].dtype)
    for n, image in enumerate(images):
        batch[n, :, :, : image.shape[2]] = image
    return batch, [image.shape[2] for image in images]


@pytest.mark.parametrize("preset", ["vgg", "paper", "tiny", "music"])
@given(widths=st.lists(st.integers(20, 400), min_size=1, max_size=5), seed=seeds)
@settings(max_examples=8)
def test_a_reading_does_not_depend_on_its_neighbours(preset, widths, seed):
    model = small(preset, seed=seed)
    images = [torch.randn(1, 32, w) for w in widths]
    logits, lengths = model(*side_by_side(images))
    for n, image in enumerate(images):
        alone, length = model(image[None])
        assert length[0] == lengths[n] == len(alone)
        # float32: sums of the same products in another order.
        torch.testing.assert_close(logits[: lengths[n], n], alone[:, 0], atol=1e-4, rtol=1e-4)


def assert_batch_invariant(model, channels, height, widths):
    """Logits are those of each image alone; gradients are numbers, and none reaches the padding."""
    images = [torch.randn(channels, height, w, dtype=torch.float64) for w in widths]
    batch, widths = side_by_side(images)
    logits, lengths = model(batch.requires_grad_(), widths)
    for n, (image, width) in enumerate(zip(images, widths, strict=True)):
        alone, length = model(image[None])
        assert length[0] == lengths[n] == len(alone)
        own = logits[: lengths[n], n]
        torch.testing.assert_close(own, alone[:, 0], atol=1e-9, rtol=1e-9)
        (grad,) = torch.autograd.grad((own * torch.randn_like(own)).sum(), batch, retain_graph=True)
        assert grad.isfinite().all()
        assert grad[:n].count_nonzero() + grad[n, :, :, width:].count_nonzero() + grad[n + 1 :].count_nonzero() == 0


def reading(stack, channels, height):
    """A CRNN around a feature stack: a convolution takes off what height is left."""
    left = frames_for_width(windows_of(stack, 0), height)
    outputs = [layer.out_channels for layer in stack.modules() if hasattr(layer, "out_channels")]
    features = nn.Sequential(stack, nn.Conv2d([channels, *outputs][-1], 3, (left, 1)))
    return with_statistics(CRNN(features, nn.Sequential(LSTM(3, 2), Linear(2, 4)), height).double())


@given(feature_stacks(2), st.lists(st.integers(8, 30), min_size=2, max_size=3), st.integers(10, 16), seeds)
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_drawn_stacks_read_each_image_as_if_it_were_alone(stack, widths, height, seed):
    torch.manual_seed(seed)
    try:
        model = reading(stack, 2, height)
        model(torch.zeros(1, 2, height, min(widths), dtype=torch.float64))
    except (NotImplementedError, ValueError, RuntimeError):  # refused, or too small for the drawn stack
        assume(False)
    # A dilated window of torch's max pool that lies wholly in the padding gives −∞; ours raises.
    pools = [layer for layer in stack if isinstance(layer, nn.MaxPool2d)]
    assume(not any(max(pool.dilation) > 1 and max(pool.padding) > 0 for pool in pools))
    assert_batch_invariant(model, 2, height, widths)


OUR_STACKS = {
    "max pool with padding": [MaxPool2d(3, 2, padding=1)],
    "max pool with ceil_mode": [MaxPool2d(2, ceil_mode=True)],
    "max pool over the edge, then normalised": [MaxPool2d(3, 2, padding=1, ceil_mode=True), BatchNorm2d(2)],
    "max pools in turn": [MaxPool2d(3, 2, padding=1), MaxPool2d(3, 1, padding=1), ReLU()],
    "1x1 convolution with padding": [Conv2d(2, 3, 1, padding=1), Conv2d(3, 2, 3, padding=2), BatchNorm2d(2)],
    "strided 1x1 convolution with padding": [Conv2d(2, 2, 1, stride=2, padding=3)],
    "mean with padding": [AvgPool2d(3, 2, padding=1), BatchNorm2d(2)],
    "mean with its own divisor": [AvgPool2d(3, 2, 1, True, False, divisor_override=5), BatchNorm2d(2)],
    "mean without padding": [AvgPool2d(2, count_include_pad=False)],
    "mean over the lower edge": [AvgPool2d((3, 1), (2, 1), (1, 0), ceil_mode=True, count_include_pad=False)],
    "replicated rows": [Conv2d(2, 2, 3, padding=(1, 0), padding_mode="replicate")],
    "nested": [nn.Sequential(Conv2d(2, 2, 3, padding=1), nn.Sequential(ReLU(), MaxPool2d(2))), ReLU()],
}


@pytest.mark.parametrize("name", OUR_STACKS)
@pytest.mark.parametrize("widths", [[20, 13], [9, 16, 8], [11, 12, 10, 15]])
def test_our_stacks_read_each_image_as_if_it_were_alone(name, widths):
    torch.manual_seed(0)
    assert_batch_invariant(reading(nn.Sequential(*OUR_STACKS[name]), 2, 12), 2, 12, widths)


def test_training_after_a_max_pool_over_the_edge_stays_finite():
    stack = nn.Sequential(Conv2d(1, 3, 1), MaxPool2d(3, 2, padding=1, ceil_mode=True), BatchNorm2d(3))
    model = reading(stack, 3, 8).train()
    logits, _ = model(torch.randn(2, 1, 8, 30, dtype=torch.float64), [30, 9])
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Conv2d(1, 1, 3, padding=1, padding_mode="replicate"), r"features\.0\.1 \(Conv2d\) .*padding_mode='replicate'"),
        (Conv2d(1, 1, 3, padding="same", padding_mode="reflect"), "padding_mode='reflect' along the width"),
        (nn.Conv2d(1, 1, 3, padding=(0, 1), padding_mode="circular"), "padding_mode='circular' along the width"),
        (AvgPool2d(2, ceil_mode=True), r"features\.0\.1 \(AvgPool2d\) .*ceil_mode=True"),
        (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), "count_include_pad=False"),
    ],
)
def test_layers_that_cannot_be_made_invariant_are_refused(layer, message):
    with pytest.raises(NotImplementedError, match=message):
        reading(nn.Sequential(ReLU(), layer), 1, 12)


@pytest.mark.parametrize("preset", ["vgg", "paper", "tiny", "music"])
def test_gradients_do_not_reach_the_padding(preset):
    model = small(preset)
    images, widths = side_by_side([torch.randn(1, 32, 60), torch.randn(1, 32, 100)])
    images.requires_grad_()
    logits, lengths = model(images, widths)
    (logits[: lengths[0], 0] * torch.randn(int(lengths[0]), 7)).sum().backward()
    assert images.grad[0, :, :, 60:].abs().max() == 0
    assert images.grad[0, :, :, :60].abs().max() > 0
    assert images.grad[1].abs().max() == 0


def test_padding_keeps_the_memory_layout():
    """Else each layer would turn its input back, and its gradient again: a tenth of a training step."""
    seen = []
    model = CRNN.from_preset("tiny", 5)
    for layer in model.features:
        if isinstance(layer, Conv2d) and layer.in_channels > 1:
            layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    model(torch.randn(2, 1, 32, 40), [40, 30])
    assert seen
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


def test_vgg_has_the_published_size_and_frames():
    model = CRNN.from_preset("vgg", num_classes=37)
    assert sum(p.numel() for p in model.parameters()) == 8_329_765
    assert model.frames_for_width(100) == 24
    logits, lengths = model(torch.zeros(1, 1, 32, 100))
    assert logits.shape == (24, 1, 37)
    assert lengths.tolist() == [24]


def test_music_is_unidirectional_and_shorter():
    model = CRNN.from_preset("music", num_classes=20, **SMALL)
    assert sum(isinstance(layer, Conv2d) for layer in model.features) == 5
    lstms = [layer for layer in model.recurrent if not isinstance(layer, Linear)]
    assert len(lstms) == 2
    assert not any(lstm.bidirectional for lstm in lstms)


def test_paper_normalises_after_convolutions_5_and_6():
    names = [name for name, _ in CRNN.from_preset("paper", num_classes=37, **SMALL).features.named_children()]
    assert [name for name in names if name.startswith("norm")] == ["norm5", "norm6"]


@given(st.integers(1, 300), st.lists(st.integers(1, 3), max_size=12))
def test_min_width_is_the_least_that_fits(width, labels):
    model = small("tiny")
    needed = max(1, len(labels) + sum(a == b for a, b in itertools.pairwise(labels)))
    least = model.min_width_for(labels)
    assert (model.frames_for_width(width) >= needed) == (width >= least)


def test_no_images_give_no_logits():
    logits, lengths = small("tiny")(torch.zeros(0, 1, 32, 100))
    assert logits.shape == (24, 0, 7)
    assert lengths.shape == (0,)


@pytest.mark.parametrize(
    ("images", "widths", "message"),
    [
        (torch.zeros(1, 1, 48, 100), None, "32 high, not 48"),
        (torch.zeros(1, 32, 100), None, r"\[N, C, H, W\], not \[1, 32, 100\]; .*unsqueeze\(0\)"),
        (torch.zeros(1, 3, 32, 100), None, "images of 1 channels, not 3"),
        (torch.zeros(2, 1, 32, 100), [100], "2 images but 1 widths"),
        (torch.zeros(2, 1, 32, 100), [100, 101], r"image 1: width 101 is not in 1..100"),
        (torch.zeros(2, 1, 32, 100), [0, 100], "image 0: width 0"),
        (torch.zeros(2, 1, 32, 100), [100, 5], "image 1: width 5 gives no frame; the least is 8"),
        (torch.zeros(1, 1, 32, 5), None, "image 0: width 5 gives no frame"),
    ],
)
def test_bad_input_is_named(images, widths, message):
    with pytest.raises(ValueError, match=message):
        small("tiny")(images, widths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "huge", "num_classes": 3}, "no preset 'huge'; there are vgg, paper, tiny, music"),
        ({"name": "tiny", "num_classes": 0}, "at least 1"),
        ({"name": "tiny", "num_classes": 3, "out_channels": 12}, "multiple of 8"),
        ({"name": "tiny", "num_classes": 3, "hidden_size": 0}, "hidden_size is at least 1, not 0"),
        ({"name": "tiny", "num_classes": 3, "in_channels": 0}, "in_channels is at least 1 .* not 0"),
        ({"name": "tiny", "num_classes": 3, "dropout": 1.0}, r"dropout is a probability in \[0, 1\), not 1.0"),
        ({"name": "tiny", "num_classes": 3, "dropout": float("nan")}, "dropout is a probability"),
    ],
)
def test_bad_presets_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CRNN.from_preset(**arguments)


def test_a_stack_that_keeps_height_is_refused():
    stack = nn.Sequential(Conv2d(1, 4, 3, padding=1), ReLU())
    with pytest.raises(ValueError, match="turns height 32 into 32"):
        CRNN(stack, nn.Sequential(Linear(4, 3)))


@pytest.mark.parametrize("recurrent", [[], [LSTM(4, 3)], [Linear(4, 3), Dropout(0.1)]])
def test_a_recurrent_stack_without_classes_is_refused(recurrent):
    with pytest.raises(ValueError, match="must end in a Linear layer that gives one logit per class"):
        CRNN(nn.Sequential(Conv2d(1, 4, (8, 1))), nn.Sequential(*recurrent), height=8)


def test_nested_containers_are_one_stack():
    torch.manual_seed(0)
    convs, pools = [Conv2d(1, 4, 3, padding=1), ReLU()], [MaxPool2d((2, 1)), Conv2d(4, 4, (4, 1))]
    lstm, classes = LSTM(4, 3), Linear(3, 5)
    flat = CRNN(nn.Sequential(*convs, *pools), nn.Sequential(lstm, classes), height=8)
    nested = CRNN(
        nn.Sequential(nn.Sequential(*convs), nn.ModuleList(pools)), nn.Sequential(nn.Sequential(lstm, classes)), 8
    )
    images, widths = torch.randn(2, 1, 8, 20), [20, 11]
    assert torch.equal(nested(images, widths)[0], flat(images, widths)[0])
    assert nested.num_classes == 5
    assert nested(images[:0])[0].shape == (20, 0, 5)
    assert [row.shape for row in minicrnn.describe(nested, 8, 20).rows][-1] == (20, 5)


def test_a_container_with_a_forward_of_its_own_is_not_taken_apart():
    class Residual(nn.Sequential):
        def forward(self, input):
            return input + super().forward(input)

    with pytest.raises(TypeError, match=r"features\.1: Residual is not a layer known here"):
        CRNN(nn.Sequential(Conv2d(1, 4, (8, 1)), Residual(ReLU())), nn.Sequential(Linear(4, 3)), height=8)


def test_a_stack_of_ones_own():
    stack = nn.Sequential(Conv2d(3, 4, (16, 3), padding=(0, 1)), ReLU())
    model = CRNN(stack, nn.Sequential(Linear(4, 5)), height=16)
    logits, lengths = model(torch.randn(2, 3, 16, 30), torch.tensor([30, 12]))
    assert logits.shape == (30, 2, 5)
    assert lengths.tolist() == [30, 12]


@pytest.mark.parametrize("lstm", [LSTM, nn.LSTM])
def test_frames_come_first_whatever_a_layer_says(lstm):
    """A packed sequence is never batch first; one that needs no packing is not taken for it either."""
    features = nn.Sequential(Conv2d(1, 4, (8, 3)))
    first = CRNN(features, nn.Sequential(lstm(4, 3, batch_first=True), Linear(3, 2)), height=8)
    second = CRNN(features, nn.Sequential(lstm(4, 3), Linear(3, 2)), height=8)
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 1, 8, 9)
    for widths in (None, [9, 5]):
        torch.testing.assert_close(first(images, widths)[0], second(images, widths)[0])


def test_the_public_names_are_there():
    assert minicrnn.CRNN is CRNN
