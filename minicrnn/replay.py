"""A trained network read one image at a time, without the Python between its kernels.

For one image of 32×100, a quarter of the time of preset ``vgg`` is Python's: finding shapes, engines and memory for 30
kernels. It is the same for the next image of that size. So from the third image of a size on, its calls are recorded
and replayed, see :mod:`minicrnn.layers.recording`; and weights are prepared once, see
:mod:`minicrnn.layers.prepared_weights`.

Batches, and whatever a recording does not know, go through the network as ever: a network in training, layers of one's
own or watched by a hook, gradients, autocast, other devices.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import minicrnn.layers
from minicrnn.autograd import is_watched
from minicrnn.backend import choose, pinned
from minicrnn.crnn import CRNN
from minicrnn.layers.autocast import autocast_is_on
from minicrnn.layers.prepared_weights import PreparedWeights
from minicrnn.layers.recording import Recording
from minicrnn.layers.scratch import ScratchMemory
from minicrnn.threads import kernel_threads

# A recording takes as long as two readings, so that it has to serve again.
RECORD_AT = 3
# Pixels of an image, and of all images of which recordings are kept. A pixel takes 1.3 KB with preset vgg: 165 MiB.
MOST_PIXELS, MOST_PIXELS_KEPT = 1 << 15, 1 << 17

# A layer derived from one of these may compute anything.
_KNOWN = {CRNN, nn.Sequential, *(getattr(minicrnn.layers, name) for name in minicrnn.layers.__all__)}


class _Size(NamedTuple):
    """Of which images, computed how, a recording is."""

    shape: torch.Size
    dtype: torch.dtype
    threads: int
    pinned: str
    inference_mode: bool


class _Seen(NamedTuple):
    """What is known of a size of images."""

    state: Hashable  # of the model
    times: int
    recording: Recording | None


class Replays:
    """Runs trained networks as ``model(images, widths)`` does, one image at a time with less Python.

    Changes of weights that torch counts are noticed, other memory and other layers, too. Writing through
    ``weight.data`` is not, nor is another option of a layer, as its stride.

    >>> model, replays = CRNN.from_preset("tiny", num_classes=11).eval(), Replays()
    >>> with torch.no_grad():
    ...     for image in torch.randn(5, 1, 1, 32, 100):
    ...         logits, frame_lengths = replays(model, image)
    ...         torch.testing.assert_close(logits, model(image)[0])
    """

    def __init__(self) -> None:
        self._weights = PreparedWeights()
        self._memory = ScratchMemory()
        self._seen: OrderedDict[_Size, _Seen] = OrderedDict()  # the last used comes last
        self._lock = threading.Lock()  # recordings have memory of their own, for one image at a time

    def __call__(
        self, model: CRNN, images: Tensor, widths: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits and frame lengths, as :meth:`CRNN.forward`."""
        with self._weights.in_use():
            if not _is_one_small_image(images, widths):
                return model(images, widths)
            state = _state(model)
            if state is None:
                return model(images, widths)
            with self._lock:
                return self._read(model, state, images)

    def _read(self, model: CRNN, state: Hashable, image: Tensor) -> tuple[Tensor, Tensor]:
        size = _Size(image.shape, image.dtype, kernel_threads(), pinned(), torch.is_inference_mode_enabled())
        before = self._seen.pop(size, None)
        seen = before if before is not None and before.state == state else _Seen(state, 0, None)
        if seen.recording is None and seen.times + 1 >= RECORD_AT:
            seen = seen._replace(recording=Recording(lambda x: model(x)[0], image, self._memory))
        logits = model(image)[0] if seen.recording is None else seen.recording(image)
        self._seen[size] = seen._replace(times=seen.times + 1)
        self._forget_the_oldest()
        return logits, torch.tensor([len(logits)])

    def _forget_the_oldest(self) -> None:
        kept = sum(size.shape.numel() for size in self._seen)
        while kept > MOST_PIXELS_KEPT:
            oldest, _ = self._seen.popitem(last=False)
            kept -= oldest.shape.numel()


def _is_one_small_image(images: Tensor, widths: Tensor | Sequence[int] | None) -> bool:
    """Whether this is a single image, as wide as its tensor, for the CPU's kernels and without gradients."""
    if type(images) is not Tensor or images.dim() != 4 or len(images) != 1 or images.numel() > MOST_PIXELS:
        return False
    if widths is not None and (len(widths) != 1 or widths[0] != images.shape[3]):
        return False
    if torch.is_grad_enabled() or autocast_is_on(images.device):
        return False
    return choose("conv2d", images) == choose("lstm", images) == "numba"


def _state(model: nn.Module) -> Hashable | None:
    """What a recording of a model depends on, beside the image; None if it must not be recorded."""
    state: list[Hashable] = []
    modules = [model]
    for module in modules:  # which grows: modules() takes four times as long
        if type(module) not in _KNOWN or "forward" in vars(module) or module.training or is_watched(module):
            return None
        modules += [child for child in module._modules.values() if child is not None]
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and tensor.is_inference():  # it does not count its changes
                return None
            state.append(None if tensor is None else (id(tensor), tensor._version, tensor.data_ptr()))
    return (*map(id, modules), *state)
