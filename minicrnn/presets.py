"""Presets: the networks by name, as tables.

``vgg``
    The feature extractor used in practice: 8.33 M parameters with 37 classes.
``paper``
    Table 1 of Shi, Bai and Yao (arXiv 1507.05717). Three things are told in more than one way. The paper
    puts batch normalisation after convolutions 5 and 6, and so do we; the authors' released Torch code puts
    it after 3, 5 and 7. The paper's rectangular pools have a window 1 wide and 2 high and no padding, and so
    have ours; the released code makes them 2×2 with stride 1 and padding 1 along the width, so that an image
    100 wide gives 26 frames. The paper speaks of 25; its own table, and this preset, give 24.
``tiny``
    For a laptop and for tests: 0.3 M parameters.
``music``
    The paper's score reader: convolutions 4 and 6 removed, a two-layer unidirectional LSTM.

All expect images 32 high. Channels are given for ``out_channels=512`` and scale with it.
"""

from typing import NamedTuple

from torch import nn

from minicrnn.layers import LSTM, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, ReLU


class Block(NamedTuple):
    """Convolution, then batch normalisation if ``norm``, ReLU, and max-pooling if ``pool``."""

    channels: int
    kernel_size: int = 3
    padding: int = 1
    norm: bool = False
    pool: tuple[int, int] | None = None  # window and stride: (height, width)


class Preset(NamedTuple):
    """A feature stack and what reads its frames."""

    blocks: tuple[Block, ...]
    out_channels: int
    hidden_size: int
    lstms: int = 2
    bidirectional: bool = True
    bridge: bool = False  # a linear layer between two LSTMs, back to hidden_size features
    conv_bias_with_norm: bool = False


VGG_BLOCKS = (
    Block(64, pool=(2, 2)),
    Block(128, pool=(2, 2)),
    Block(256),
    Block(256, pool=(2, 1)),
    Block(512, norm=True),
    Block(512, norm=True, pool=(2, 1)),
    Block(512, kernel_size=2, padding=0),
)

PRESETS = {
    "vgg": Preset(
        blocks=VGG_BLOCKS,
        out_channels=512,
        hidden_size=256,
        bridge=True,
    ),
    "paper": Preset(
        blocks=VGG_BLOCKS,
        out_channels=512,
        hidden_size=256,
        conv_bias_with_norm=True,
    ),
    "tiny": Preset(
        blocks=(
            Block(64, norm=True, pool=(2, 2)),
            Block(128, norm=True, pool=(2, 2)),
            Block(256, norm=True, pool=(2, 1)),
            Block(512, norm=True, pool=(2, 1)),
            Block(512, norm=True, kernel_size=2, padding=0),
        ),
        out_channels=128,
        hidden_size=96,
        lstms=1,
    ),
    "music": Preset(
        blocks=(
            Block(64, pool=(2, 2)),
            Block(128, pool=(2, 2)),
            Block(256, pool=(2, 1)),
            Block(512, norm=True, pool=(2, 1)),
            Block(512, kernel_size=2, padding=0),
        ),
        out_channels=512,
        hidden_size=256,
        bidirectional=False,
        conv_bias_with_norm=True,
    ),
}


def build_features(preset: Preset, in_channels: int, out_channels: int) -> nn.Sequential:
    """The convolutions of a preset: images [N, in_channels, 32, W] -> features [N, out_channels, 1, T]."""
    features = nn.Sequential()
    for i, block in enumerate(preset.blocks, start=1):
        channels = block.channels * out_channels // 512
        bias = preset.conv_bias_with_norm or not block.norm
        conv = Conv2d(in_channels, channels, block.kernel_size, padding=block.padding, bias=bias)
        features.add_module(f"conv{i}", conv)
        if block.norm:
            features.add_module(f"norm{i}", BatchNorm2d(channels))
        features.add_module(f"relu{i}", ReLU())
        if block.pool:
            features.add_module(f"pool{i}", MaxPool2d(block.pool))
        in_channels = channels
    return features


def build_recurrent(
    preset: Preset, in_features: int, hidden_size: int, num_classes: int, dropout: float
) -> nn.Sequential:
    """The recurrent part of a preset: frames [T, N, in_features] -> logits [T, N, num_classes].

    ``dropout`` is the probability that a feature is dropped, before each LSTM and before the classes; with 0 there
    are no such layers.
    """
    recurrent = nn.Sequential()
    directions = 2 if preset.bidirectional else 1
    for i in range(1, preset.lstms + 1):
        if dropout:
            recurrent.add_module(f"dropout{i}", Dropout(dropout))
        recurrent.add_module(f"lstm{i}", LSTM(in_features, hidden_size, bidirectional=preset.bidirectional))
        in_features = directions * hidden_size
        if preset.bridge and i < preset.lstms:
            recurrent.add_module(f"linear{i}", Linear(in_features, hidden_size))
            in_features = hidden_size
    if dropout:
        recurrent.add_module(f"dropout{preset.lstms + 1}", Dropout(dropout))
    recurrent.add_module("classes", Linear(in_features, num_classes))
    return recurrent
