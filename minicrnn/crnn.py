"""CRNN: convolutions turn an image into frames, LSTMs give each frame its context, CTC reads them.

    image [N, C, 32, W] → features [N, D, 1, T] → frames [T, N, D] → logits [T, N, K]

Source: Shi, Bai and Yao, *An End-to-End Trainable Neural Network for Image-based Sequence Recognition*,
arXiv 1507.05717, section 2.

**Widths.** Images of several widths share a batch: each is padded on its right to the widest. A reading
must not depend on its neighbours, and an image alone meets beyond its edge what each layer pads with: zeros,
or −∞ in a max pool. So in a batch, what lies beyond an image's own width is set to that value again before every
layer that looks sideways, and the LSTMs run over packed sequences, each as long as its own image.

One layer does depend on the neighbours: in training, BatchNorm takes its means over the whole batch, what lies
beyond the widths included, here as in the twin that ``to_torch`` makes. Batches of images of similar widths keep
that share small, and in evaluation it plays no part.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from minicrnn.initialisation import initialise
from minicrnn.layers import MapToSequence
from minicrnn.layers.fusion import groups
from minicrnn.layers.geometry import channels_read, kind_of, walk, window_of, windows_of
from minicrnn.presets import PRESETS, build_features, build_recurrent
from minicrnn.shapes import Window, frames_for_width, min_width_for


class CRNN(nn.Module):
    """A feature stack, map-to-sequence, and a recurrent stack that ends in one logit per class and frame.

        logits, frame_lengths = model(images, widths)

    Args:
        features: layers that take images [N, C, height, W] to features [N, D, 1, T].
        recurrent: LSTMs (frames first) and linear layers that take [T, N, D] to [T, N, K], a Linear last.
        height: the height of images, in pixels.

    Raises:
        ValueError: the stack does not bring ``height`` down to 1, or the recurrent stack does not end in a Linear.
        TypeError: a layer of the stack whose geometry is not known.
        NotImplementedError: a layer with which a reading would depend on the batch's width: a convolution whose
            padding along the width is not zeros, an average pool that divides by less at the right edge.

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
        _check_layers(features, recurrent)
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
        """Build ``"vgg"``, ``"paper"``, ``"tiny"`` or ``"music"`` (see :mod:`minicrnn.presets`), with first weights
        from :mod:`minicrnn.initialisation`.

        ``out_channels`` and ``hidden_size`` replace the preset's own: the channels of the last convolution,
        with which all others scale, and the size of the LSTMs. ``dropout`` is the probability that a feature is
        dropped in training, before each LSTM and before the classes.

        Raises:
            ValueError: an unknown name, fewer than 1 class, channel or hidden unit, ``out_channels`` that 8 does
                not divide, a ``dropout`` outside [0, 1).
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
        preset = PRESETS[name]
        out_channels = preset.out_channels if out_channels is None else out_channels
        hidden_size = preset.hidden_size if hidden_size is None else hidden_size
        if num_classes < 1:
            raise ValueError(f"num_classes counts the blank, so it is at least 1, not {num_classes}")
        if in_channels < 1:
            raise ValueError(f"in_channels is at least 1 (1 for grey images, 3 for colour), not {in_channels}")
        if out_channels < 8 or out_channels % 8:
            raise ValueError(f"out_channels must be a positive multiple of 8, not {out_channels}")
        if hidden_size < 1:
            raise ValueError(f"hidden_size is at least 1, not {hidden_size}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a probability in [0, 1), not {dropout}")
        features = build_features(preset, in_channels, out_channels)
        recurrent = build_recurrent(preset, out_channels, hidden_size, num_classes, dropout)
        model = cls(features, recurrent)
        initialise(model)
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
        *_, (_, last) = walk(self.recurrent)
        return int(last.out_features)  # type: ignore[arg-type]  # a Linear, ours or torch's

    def windows(self, axis: int = 1) -> list[Window]:
        """The windows of the feature stack along the height (axis 0) or the width (axis 1)."""
        return windows_of(self.features, axis)

    def frames_for_width(self, width: int) -> int:
        """Frames that an image of this width gives; 0 when it is too narrow for one."""
        try:
            return frames_for_width(self.windows(), width)
        except ValueError:
            return 0

    def min_width_for(self, labels: Sequence[int]) -> int:
        """The least width whose frames can hold these labels."""
        return min_width_for(self.windows(), labels)

    def forward(
        self, images: Float[Tensor, "*shape"], widths: Int[Tensor, " N"] | Sequence[int] | None = None
    ) -> tuple[Float[Tensor, "T N K"], Int[Tensor, " N"]]:
        """Logits for every frame, and how many frames of each image count.

        Args:
            images: [N, C, H, W], padded on the right to one width.
            widths: each image's own width in pixels; all W when None.

        Raises:
            ValueError: images without the batch dimension, a wrong height or number of channels, a width outside
                1..W, or an image too narrow for one frame.
        """
        own_widths = self._check(images, widths)
        try:
            x, lengths = self._extract(images, own_widths)
        except (ValueError, RuntimeError):
            self._check_frames(own_widths)
            raise
        frames = self.to_sequence(x)
        return self._read(frames, lengths), torch.tensor(lengths, dtype=torch.int64, device=images.device)

    def _check(self, images: Tensor, widths: Tensor | Sequence[int] | None) -> list[int]:
        if images.dim() != 4:
            raise ValueError(
                f"the model reads a batch of images [N, C, H, W], not {list(images.shape)}; for one image "
                f"[C, H, W], unsqueeze(0)"
            )
        count, channels, height, width = images.shape
        expected = channels_read(layer for _, layer in walk(self.features))
        if expected not in (None, channels):
            raise ValueError(f"the model reads images of {expected} channels, not {channels}")
        if height != self.height:
            raise ValueError(f"the model reads images {self.height} high, not {height}: resize them first")
        own_widths = [width] * count if widths is None else [int(w) for w in widths]
        if len(own_widths) != count:
            raise ValueError(f"{count} images but {len(own_widths)} widths")
        for i, own in enumerate(own_widths):
            if not 1 <= own <= width:
                raise ValueError(f"image {i}: width {own} is not in 1..{width}, the width of the batch")
        return own_widths

    def _check_frames(self, widths: list[int]) -> None:
        """Raise ValueError if an image is too narrow for a frame."""
        least = self.min_width_for([])
        for i, own in enumerate(widths):
            if own < least:
                raise ValueError(f"image {i}: width {own} gives no frame; the least is {least}: pad or stretch it")

    def _extract(self, x: Tensor, widths: list[int]) -> tuple[Tensor, list[int]]:
        """Run the feature stack. Returns the features and each image's own width in them."""
        if all(width == x.shape[3] for width in widths):  # nothing lies beyond an image
            for group in groups(self.features, x):
                x = group.run(x)
            return x, [x.shape[3]] * len(widths)
        for group in groups(self.features, x):
            found = [(kind_of(layer), window_of(layer, axis=1, path=path)) for path, layer in group.layers]
            windows = [(kind, window) for kind, window in found if window is not None]
            # Only the first of a group may need values beyond the edge. A max pool that looks there pads with −∞,
            # everything else with zeros; an unpadded pool never looks beyond an image's own width.
            padded = [kind for kind, window in windows if any(window.pads) or window.ceil_mode]
            if padded or any(kind == "Conv2d" and window.kernel_size > 1 for kind, window in windows):
                x = _set_beyond(x, widths, -torch.inf if padded == ["MaxPool2d"] else 0.0)
            for _, window in windows:
                widths = [window.output_size(w) for w in widths]
            x = group.run(x)
            if padded == ["MaxPool2d"]:  # a window beyond the edge gives −∞, which would make a BatchNorm's means NaN
                x = _set_beyond(x, widths, 0.0)
        return x, widths

    def _read(self, frames: Tensor, lengths: list[int]) -> Tensor:
        """Run the recurrent stack; what lies beyond a sequence's own length is zero."""
        total, count = frames.shape[:2]
        if count == 0:  # a packed sequence cannot be empty
            return frames.new_zeros(total, 0, self.num_classes)
        layers = [layer for _, layer in walk(self.recurrent)]
        # Sequences of one length need no packing; but a packed one is never taken as batch first.
        batch_first = any(getattr(layer, "batch_first", False) for layer in layers)
        pack = batch_first or any(length != total for length in lengths)
        x: Tensor | PackedSequence = frames
        if pack:
            x = pack_padded_sequence(frames, torch.tensor(lengths), enforce_sorted=False)
        for layer in layers:
            x = layer(x)[0] if hasattr(layer, "hidden_size") else _on_frames(layer, x)
        return pad_packed_sequence(x, total_length=total)[0] if isinstance(x, PackedSequence) else x


def _check_layers(features: nn.Module, recurrent: nn.Module) -> None:
    """Refuse what the forward pass cannot honour."""
    for path, layer in walk(features, "features"):
        window = window_of(layer, axis=1, path=path)
        if window is None:
            continue
        kind, padded = kind_of(layer), any(window.pads)
        why = None
        if kind == "Conv2d" and padded and layer.padding_mode != "zeros":
            why = f"padding_mode={layer.padding_mode!r} along the width: use 'zeros' there"
        elif kind == "AvgPool2d" and layer.divisor_override is None and window.kernel_size > 1:
            if window.ceil_mode:
                why = "ceil_mode=True divides a window over the right edge by less: pad, or set divisor_override"
            elif padded and not layer.count_include_pad:
                why = "count_include_pad=False divides a window over the edge by less: use True"
        if why is not None:
            raise NotImplementedError(f"{path} ({kind}) would make readings depend on the batch's width: {why}")
    layers = [layer for _, layer in walk(recurrent)]
    if not layers or not hasattr(layers[-1], "out_features"):
        raise ValueError("the recurrent stack must end in a Linear layer that gives one logit per class")


def _set_beyond(x: Tensor, widths: list[int], value: float) -> Tensor:
    """Set x [N, C, H, W] to a value from each image's own width on."""
    if all(w == x.shape[3] for w in widths):
        return x
    columns = torch.arange(x.shape[3], device=x.device)
    beyond = columns >= torch.tensor(widths, device=x.device)[:, None]  # [N, W]
    # masked_fill would give [N, C, H, W] in that order in memory, and the next layer would have to turn it back.
    return torch.where(beyond[:, None, None, :], value, x)


def _on_frames(layer: nn.Module, x: Tensor | PackedSequence) -> Tensor | PackedSequence:
    """A layer without memory works on all frames at once."""
    return x._replace(data=layer(x.data)) if isinstance(x, PackedSequence) else layer(x)
