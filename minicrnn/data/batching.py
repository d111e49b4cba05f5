"""Batches: images of similar width side by side, padded to the widest.

A batch is as wide as its widest image, so what is computed on padding is lost. Sorting all images by width
would waste least, but then every epoch would see the same batches; sorting within windows of a shuffled order
is nearly as good and keeps them random (the "bucketing" of speech and translation toolkits).
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.utils.data import Sampler

from minicrnn.data.dataset import Item

WINDOW_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """N samples for the network and the loss.

    Attributes:
        images: float32 [N, 1, H, W] in [-1, 1], W the widest of them; the padding on the right is 0,
            mid-grey.
        widths: int64 [N], in pixels, without the padding.
        targets: int64 [N, L], L the longest of them; the padding is 0, the blank.
        target_lengths: int64 [N].
        texts, names: of the samples.
    """

    images: Float32[Tensor, "N 1 H W"]
    widths: Int64[Tensor, " N"]
    targets: Int64[Tensor, "N L"]
    target_lengths: Int64[Tensor, " N"]
    texts: list[str]
    names: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch with its tensors on another device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, for copies to a GPU that do not wait; a DataLoader calls this."""
        return self._with(Tensor.pin_memory)

    def _with(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        images, widths = function(self.images), function(self.widths)
        targets, target_lengths = function(self.targets), function(self.target_lengths)
        return Batch(images, widths, targets, target_lengths, self.texts, self.names)


def collate(items: Sequence[Item]) -> Batch:
    """Put samples into one batch; the ``collate_fn`` of a DataLoader.

    Raises:
        ValueError: there are no samples, or their images differ in height.

    >>> narrow = Item(torch.ones(1, 32, 20), torch.tensor([1, 2]), "ab", "a.png")
    >>> wide = Item(torch.ones(1, 32, 50), torch.tensor([3]), "c", "b.png")
    >>> batch = collate([narrow, wide])
    >>> batch.images.shape, batch.targets.tolist()
    (torch.Size([2, 1, 32, 50]), [[1, 2], [3, 0]])
    """
    if not items:
        raise ValueError("a batch needs at least one sample")
    images, widths = pad_images([item.image for item in items])
    lengths = [len(item.labels) for item in items]
    targets = torch.zeros(len(items), max(lengths), dtype=torch.int64)
    for n, item in enumerate(items):
        targets[n, : lengths[n]] = item.labels
    return Batch(
        images,
        widths,
        targets,
        torch.tensor(lengths),
        [item.text for item in items],
        [item.name for item in items],
    )


def pad_images(images: Sequence[Float32[Tensor, "1 H _"]]) -> tuple[Float32[Tensor, "N 1 H W"], Int64[Tensor, " N"]]:
    """Put images side by side, each padded with zeros on its right to the widest, and note their own widths.

    Raises:
        ValueError: there are no images, or they differ in height.

    >>> batch, widths = pad_images([torch.ones(1, 32, 20), torch.ones(1, 32, 50)])
    >>> batch.shape, widths
    (torch.Size([2, 1, 32, 50]), tensor([20, 50]))
    """
    if not images:
        raise ValueError("a batch needs at least one image")
    heights = sorted({image.shape[1] for image in images})
    if len(heights) > 1:
        raise ValueError(f"images of heights {heights} cannot stand in one batch: normalise their height first")
    widths = [image.shape[2] for image in images]
    padded = torch.zeros(len(images), 1, heights[0], max(widths))
    for n, image in enumerate(images):
        padded[n, :, :, : widths[n]] = image
    return padded, torch.tensor(widths)


class WidthBatchSampler(Sampler[list[int]]):
    """Batches of indices whose images have similar widths; the ``batch_sampler`` of a DataLoader.

    With shuffling: permute all indices, sort each window of 50 batches by width, cut it into batches, and shuffle
    the batches. Without: sort all indices by width and cut. Each index comes exactly once an epoch, and an epoch's
    batches depend on (seed, epoch) alone.

    Args:
        widths: of all images, in any unit that grows with the work.
        batch_size: the last batch of the epoch's order may be smaller.
        shuffle, seed: see above.
        drop_last: leave the smaller batch out.
        start_batch: pass over so many batches of the epoch, to go on where an interrupted one stopped.

    Raises:
        ValueError: a batch size below 1, a negative ``start_batch``, or ``drop_last`` with less than one
            batch.

    >>> list(WidthBatchSampler([50, 20, 40, 30, 10], batch_size=2, shuffle=False))
    [[4, 1], [3, 2], [0]]
    """

    def __init__(
        self,
        widths: Sequence[int],
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        start_batch: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if drop_last and len(widths) < batch_size:
            raise ValueError(
                f"{len(widths)} samples do not fill one batch of {batch_size}, and drop_last leaves none: "
                "use a smaller batch_size"
            )
        self.widths = np.asarray(widths, dtype=np.int64)
        self.batch_size, self.shuffle, self.seed, self.drop_last = batch_size, shuffle, seed, drop_last
        self.set_epoch(0, start_batch)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch to shuffle for, and the batch to start it at."""
        if start_batch < 0:
            raise ValueError(f"start_batch must not be negative, got {start_batch}")
        self.epoch, self.start_batch = epoch, start_batch

    @property
    def batches_per_epoch(self) -> int:
        """How many batches a whole epoch has."""
        whole, rest = divmod(len(self.widths), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __len__(self) -> int:
        """How many batches the next iteration gives: those of the epoch from ``start_batch`` on."""
        return max(0, self.batches_per_epoch - self.start_batch)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        count = len(self.widths)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        window = self.batch_size * WINDOW_BATCHES if self.shuffle else max(count, 1)
        batches: list[list[int]] = []
        for start in range(0, count, window):
            part = order[start : start + window]
            part = part[np.argsort(self.widths[part], kind="stable")]  # equal widths stay shuffled
            batches += [part[i : i + self.batch_size].tolist() for i in range(0, len(part), self.batch_size)]
        if self.drop_last and batches and len(batches[-1]) < self.batch_size:
            batches.pop()
        if self.shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        yield from batches[self.start_batch :]


def ignore_interrupts(worker: int) -> None:
    """The ``worker_init_fn`` of a DataLoader: Ctrl-C reaches worker processes too, and the main process ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
