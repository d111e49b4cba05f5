"""CRNN: shapes, widths, and readings that do not depend on their neighbours in a batch."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import minicrnn
from minicrnn.crnn import CRNN
from minicrnn.layers import Conv2d, Linear, ReLU
from tests.strategies import seeds

SMALL = {"out_channels": 16, "hidden_size": 8}


def small(name, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    model = CRNN.from_preset(name, num_classes=7, **SMALL).to(dtype)
    for module in model.modules():  # statistics of BatchNorm that are not the identity
        if hasattr(module, "running_var"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def side_by_side(images):
    """Images [1, 32, w_i] in one batch, with noise where padding is: nobody promises that it is clean."""
    batch = torch.randn(len(images), 1, 32, max(image.shape[2] for image in images), dtype=images[0].dtype)
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
        ({"name": "tiny", "num_classes": 3, "hidden_size": 0}, "hidden_size"),
    ],
)
def test_bad_presets_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CRNN.from_preset(**arguments)


def test_a_stack_that_keeps_height_is_refused():
    stack = nn.Sequential(Conv2d(1, 4, 3, padding=1), ReLU())
    with pytest.raises(ValueError, match="turns height 32 into 32"):
        CRNN(stack, nn.Sequential(Linear(4, 3)))


def test_a_stack_of_ones_own():
    stack = nn.Sequential(Conv2d(3, 4, (16, 3), padding=(0, 1)), ReLU())
    model = CRNN(stack, nn.Sequential(Linear(4, 5)), height=16)
    logits, lengths = model(torch.randn(2, 3, 16, 30), torch.tensor([30, 12]))
    assert logits.shape == (30, 2, 5)
    assert lengths.tolist() == [30, 12]


def test_the_public_names_are_there():
    assert minicrnn.CRNN is CRNN
