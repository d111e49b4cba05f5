"""The drawn cases of ``ctc_accuracy.py``.

A case is one sample: a target, a length, and the logits of its frames. Samples of one batch share T, K and the blank,
and nothing else, so that easy and hard ones stand side by side, as a kernel with vector lanes meets them.

Sizes. T, L and K are drawn evenly in their logarithms, so that short and long are drawn as often:

    small    86 % of the cases   T to    60, L to  20, K to    100, batches of 1 to 64
    medium   12 %                T to   300, L to 100, K to  1,000, batches of 1 to 16
    large     2 %                T to 1,000, L to 300, K to 10,000, batches of 1 to 4

A batch holds at most 2²² scores, or one sample. Half of the large batches have the full T, L or K.

Logits, of each sample:

    noise       normal, of standard deviation 0.1 to 10
    cold        −200 or +200, or evenly between; for one in eight up to ±1,000
    collapsed   the blank is 5 to 30 above the rest throughout: a network early in its training
    peaky       spikes of 5 to 30 on one spelling of the target, the blank elsewhere: a trained network
    mistaken    the same for another text: a trained network that is wrong, and sure of it
    masked      normal, −∞ for some entries, or for whole classes; some targets become impossible

Targets: half have labels of two or three kinds only, so that they repeat. Lengths: a third of the samples fill all T
frames; a quarter have just the frames that they need, of which a sixth one frame less than that, so that no path fits;
the rest any number, 0 among them. Of the targets, one in thirty has no label. What stands beyond a sample's frames is
NaN for one in two. The blank is the first class, the last, or any.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minicrnn.naive.ctc import frames_needed

Floats = npt.NDArray[np.float32]
Random = np.random.Generator

KINDS = ("noise", "cold", "collapsed", "peaky", "mistaken", "masked")
MOST_SCORES = 1 << 22


class Size(NamedTuple):
    """Share of the cases, and the largest of each."""

    share: float
    T: int
    L: int
    K: int
    samples: int


SIZES = {
    "small": Size(0.86, 60, 20, 100, 64),
    "medium": Size(0.12, 300, 100, 1000, 16),
    "large": Size(0.02, 1000, 300, 10000, 4),
}


class Batch(NamedTuple):
    """Arguments of a CTC loss, and what the report tells of them."""

    number: int
    size: str
    kinds: list[str]  # of the samples
    logits: Tensor  # [T, N, K] float32
    targets: Tensor  # [N, L]
    input_lengths: Tensor  # [N]
    target_lengths: Tensor  # [N]
    blank: int
    zero_infinity: bool
    upstream: Tensor  # [N], ±1: scales without rounding


def drawn_batches(cases: int, seed: int) -> Iterator[Batch]:
    """Batches of so many cases in all. Batch i of a seed is the same in every run of as many cases or more."""
    drawn = dict.fromkeys(SIZES, 0)
    number = 0
    while (left := cases - sum(drawn.values())) > 0:
        total = sum(drawn.values()) + 1
        behind = max(SIZES, key=lambda name: SIZES[name].share * total - drawn[name])
        batch = drawn_batch(behind, seed, number, most=left)
        drawn[behind] += len(batch.kinds)
        number += 1
        yield batch


def drawn_batch(size: str, seed: int, number: int, most: int) -> Batch:
    rng = np.random.default_rng([seed, number])
    full = SIZES[size]
    T, L, K = (_up_to(rng, limit) for limit in (full.T, full.L, full.K))
    if size == "large" and rng.random() < 0.5:
        T, L, K = [(full.T, L, K), (full.T, full.L, K), (T, L, full.K)][rng.integers(3)]
    K = max(K, 2)
    N = int(rng.integers(1, full.samples + 1))
    N = min(N, most, max(1, MOST_SCORES // (T * K)))
    blank = int(rng.choice([0, K - 1, rng.integers(K)]))
    texts = [_text(rng, L, T, K, blank) for _ in range(N)]
    frames = [_frames(rng, text, T) for text in texts]
    kinds = [KINDS[i] for i in rng.integers(len(KINDS), size=N)]
    logits = np.zeros((T, N, K), np.float32)
    targets = np.full((N, max(map(len, texts))), blank)
    for n, text in enumerate(texts):
        targets[n, : len(text)] = text
        logits[: frames[n], n] = _logits(rng, kinds[n], text, frames[n], K, blank)
        if rng.random() < 0.5:
            logits[frames[n] :, n] = np.nan
    return Batch(
        number, size, kinds, torch.from_numpy(logits), torch.from_numpy(targets), torch.tensor(frames),
        torch.tensor([len(text) for text in texts]), blank, bool(rng.random() < 0.5),
        torch.from_numpy(rng.choice(np.array([-1.0, 1.0], np.float32), N)),
    )  # fmt: skip


def _up_to(rng: Random, limit: int) -> int:
    """1 to limit, evenly in the logarithm."""
    return int(math.exp(rng.uniform(0, math.log(limit + 1))))


def _text(rng: Random, L: int, T: int, K: int, blank: int) -> list[int]:
    """At most L labels that T frames can spell; a third of the targets are as long as that."""
    different = K - 1 if rng.random() < 0.5 else min(K - 1, int(rng.integers(1, 4)))
    length = L if rng.random() < 1 / 3 else int(rng.integers(L + 1))
    length = 0 if rng.random() < 1 / 30 else length
    labels = (blank + 1 + rng.integers(different, size=min(length, T))) % K
    text = labels.tolist()
    while frames_needed(text) > T:
        text.pop()
    return text


def _frames(rng: Random, text: list[int], T: int) -> int:
    kind = rng.random()
    if kind < 1 / 3:
        return T
    if kind < 7 / 12:
        return max(0, frames_needed(text) - (rng.random() < 1 / 6))
    return int(rng.integers(T + 1))


def _logits(rng: Random, kind: str, text: list[int], frames: int, K: int, blank: int) -> Floats:
    """[frames, K] of one sample."""
    logits = rng.standard_normal((frames, K), np.float32)
    if kind == "cold":
        top = 1000 if rng.random() < 1 / 8 else 200
        logits = rng.uniform(-top, top, (frames, K)).astype(np.float32)
        return np.copysign(np.float32(top), logits) if rng.random() < 0.5 else logits
    if kind in ("collapsed", "peaky", "mistaken"):
        if kind == "mistaken":
            text = ((blank + 1 + rng.integers(K - 1, size=len(text))) % K).tolist()
        path = np.full(frames, blank) if kind == "collapsed" else _spelling(rng, text, frames, blank)
        logits[np.arange(frames), path] += rng.uniform(5, 30)
        return logits
    logits *= np.float32(10 ** rng.uniform(-1, 1))
    if kind == "masked":
        by_class = rng.random() < 0.25
        hidden = rng.random((1 if by_class else frames, K)) < rng.uniform(0.02, 0.3)
        hidden[:, blank] = False  # a frame without any class has no softmax
        logits[np.broadcast_to(hidden, logits.shape)] = -np.inf
    return logits


def _spelling(rng: Random, text: list[int], frames: int, blank: int) -> npt.NDArray[np.int64]:
    """A path: each label for one frame, the blanks that are left over strewn between them."""
    path = np.full(frames, blank)
    spare = frames - frames_needed(text)
    if spare < 0:
        return path
    shifts = np.sort(rng.integers(spare + 1, size=len(text)))
    for j, label in enumerate(text):
        path[frames_needed(text[: j + 1]) - 1 + shifts[j]] = label
    return path
