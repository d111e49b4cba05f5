"""CRNN: convolutions turn an image into frames, LSTMs give each frame its context, CTC reads them.

    image [N, C, 32, W] → features [N, D, 1, T] → frames [T, N, D] → logits [T, N, K]

Source: Shi, Bai and Yao, *An End-to-End Trainable Neural Network for Image-based Sequence Recognition*,
arXiv 1507.05717, section 2.

**Widths.** Images of several widths share a batch: each is padded on its right to the widest. A reading
must not depend on its neighbours, and an image alone meets zeros beyond its edge, those of the convolutions'
own padding. So in a batch, what lies beyond an image's own width is set to zero again before every layer
that looks sideways, and the LSTMs run over packed sequences, each as long as its own image.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from minicrnn.layers import MapToSequence
from minicrnn.layers.geometry import window_of, windows_of
from minicrnn.presets import PRESETS, build_features, build_recurrent
from minicrnn.shapes import Window, frames_for_width, min_width_for


class CRNN(nn.Module):
    """A feature stack, map-to-sequence, and a recurrent stack that ends in one logit per class and frame.

        logits, frame_lengths = model(images, widths)

    Args:
        features: layers that take images [N, C, height, W] to features [N, D, 1, T].
        recurrent: LSTMs (frames first) and linear layers that take [T, N, D] to [T, N, K].
        height: the height of images, in pixels.

    Raises:
        ValueError: the stack does not bring ``height`` down to 1.

    >>> model = CRNN.from_preset("tiny", num_classes=11)
    >>> logits, frame_lengths = model(torch.zeros(2, 1, 32, 100), widths=[100, 60])
    >>> logits.shape, frame_lengths
    (torch.Size([24, 2, 11]), tensor([24, 14]))
    """

    def __init__(self, features: nn.Sequential, recurrent: nn.Sequential, height: int = 32) -> None:
        super().__init__()
        self.features = features
        self.to_sequence = MapToSequence()
        self.recurrent = recurrent
        self.height = height
        self.preset: dict[str, Any] | None = None  # from_preset's arguments: they travel in checkpoints
        left = frames_for_width(self.windows(axis=0), height)
        if left != 1:
            raise ValueError(
                f"the feature stack turns height {height} into {left}, but a frame has height 1: add or remove "
                f"pooling, or use images of another height"
            )

    @classmethod
    def from_preset(
        cls,
        name: str,
        num_classes: int,
        in_channels: int = 1,
        out_channels: int | None = None,
        hidden_size: int | None = None,
        dropout: float = 0.0,
    ) -> "CRNN":
        """Build ``"vgg"``, ``"paper"``, ``"tiny"`` or ``"music"`` (see :mod:`minicrnn.presets`).

        ``out_channels`` and ``hidden_size`` replace the preset's own: the channels of the last convolution,
        with which all others scale, and the size of the LSTMs. ``dropout`` is the probability that a feature is
        dropped in training, before each LSTM and before the classes.

        Raises:
            ValueError: an unknown name, fewer than 1 class, or ``out_channels`` that 8 does not divide.
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        preset = PRESETS[name]
        out_channels = preset.out_channels if out_channels is None else out_channels
        hidden_size = preset.hidden_size if hidden_size is None else hidden_size
        if num_classes < 1:
            raise ValueError(f"num_classes counts the blank, so it is at least 1, not {num_classes}")
        if out_channels < 8 or out_channels % 8:
            raise ValueError(f"out_channels must be a positive multiple of 8, not {out_channels}")
        features = build_features(preset, in_channels, out_channels)
        recurrent = build_recurrent(preset, out_channels, hidden_size, num_classes, dropout)
        model = cls(features, recurrent)
        model.preset = {
            "name": name,
            "num_classes": num_classes,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "hidden_size": hidden_size,
            "dropout": dropout,
        }
        return model

    @property
    def num_classes(self) -> int:
        """Classes that the last layer tells apart, the blank among them."""
        return int(self.recurrent[-1].out_features)  # type: ignore[arg-type]  # a Linear, ours or torch's

    def windows(self, axis: int = 1) -> list[Window]:
        """The windows of the feature stack along the height (axis 0) or the width (axis 1)."""
        return windows_of(self.features, axis)

    def frames_for_width(self, width: int) -> int:
        """Frames that an image of this width gives; 0 when it is too narrow for one."""
        windows = self.windows()
        return frames_for_width(windows, width) if width >= min_width_for(windows, []) else 0

    def min_width_for(self, labels: Sequence[int]) -> int:
        """The least width whose frames can hold these labels."""
        return min_width_for(self.windows(), labels)

    def forward(
        self, images: Float[Tensor, "N C H W"], widths: Int[Tensor, "N"] | Sequence[int] | None = None
    ) -> tuple[Float[Tensor, "T N K"], Int[Tensor, "N"]]:
        """Logits for every frame, and how many frames of each image count.

        Args:
            images: padded on the right to one width.
            widths: each image's own width in pixels; all W when None.

        Raises:
            ValueError: a wrong height, a width outside 1..W, or an image too narrow for one frame.
        """
        own_widths = self._check(images, widths)
        x, lengths = self._extract(images, own_widths)
        frames = self.to_sequence(x)
        return self._read(frames, lengths), torch.tensor(lengths, dtype=torch.int64, device=images.device)

    def _check(self, images: Tensor, widths: Tensor | Sequence[int] | None) -> list[int]:
        count, _, height, width = images.shape
        if height != self.height:
            raise ValueError(f"the model reads images {self.height} high, not {height}: resize them first")
        own_widths = [width] * count if widths is None else [int(w) for w in widths]
        if len(own_widths) != count:
            raise ValueError(f"{count} images but {len(own_widths)} widths")
        for i, own in enumerate(own_widths):
            if not 1 <= own <= width:
                raise ValueError(f"image {i}: width {own} is not in 1..{width}, the width of the batch")
            if self.frames_for_width(own) < 1:
                least = self.min_width_for([])
                raise ValueError(f"image {i}: width {own} gives no frame; the least is {least}: pad or stretch it")
        return own_widths

    def _extract(self, x: Tensor, widths: list[int]) -> tuple[Tensor, list[int]]:
        """Run the feature stack. Returns the features and each image's own width in them."""
        for layer in self.features:
            window = window_of(layer, axis=1)
            if window is None:  # works on each position alone
                x = layer(x)
                continue
            if window.kernel_size > 1:
                # A pool's own padding is −∞, but it comes after a ReLU here: zero beyond the edge never wins
                # over a value inside, so zero serves both kinds of layer.
                x = _zero_beyond(x, widths)
            x = layer(x)
            widths = [frames_for_width([window], w) for w in widths]
        return x, widths

    def _read(self, frames: Tensor, lengths: list[int]) -> Tensor:
        """Run the recurrent stack over packed frames; what lies beyond a sequence's own length is zero."""
        total, count = frames.shape[:2]
        if count == 0:  # a packed sequence cannot be empty
            return frames.new_zeros(total, 0, self.num_classes)
        packed = pack_padded_sequence(frames, torch.tensor(lengths), enforce_sorted=False)
        for layer in self.recurrent:
            packed = layer(packed)[0] if hasattr(layer, "hidden_size") else _on_data(layer, packed)
        return pad_packed_sequence(packed, total_length=total)[0]


def _zero_beyond(x: Tensor, widths: list[int]) -> Tensor:
    """Zero x [N, C, H, W] from each image's own width on."""
    if all(w == x.shape[3] for w in widths):
        return x
    columns = torch.arange(x.shape[3], device=x.device)
    beyond = columns >= torch.tensor(widths, device=x.device)[:, None]  # [N, W]
    return x.masked_fill(beyond[:, None, None, :], 0.0)


def _on_data(layer: nn.Module, packed: PackedSequence) -> PackedSequence:
    """A layer without memory works on all frames of a packed sequence at once."""
    return packed._replace(data=layer(packed.data))
