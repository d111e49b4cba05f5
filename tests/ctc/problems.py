"""Drawn CTC problems: sizes, lengths, forms of the targets, types; values from a seed. And what runs them."""

from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from tests.strategies import LAYOUTS, in_layout, seeds

INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


class Problem(NamedTuple):
    """Arguments of a CTC loss, and the targets as lists for the naive level."""

    logits: Tensor  # [T, N, K]
    targets: Tensor
    input_lengths: Any
    target_lengths: Any
    blank: int
    texts: list[list[int]]

    @property
    def log_probs(self) -> Tensor:
        return in_layout(self.logits.log_softmax(2), "strided")

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.targets, self.input_lengths, self.target_lengths, self.blank

    @property
    def frames(self) -> list[int]:
        return torch.as_tensor(self.input_lengths, dtype=torch.int64).tolist()


def padded(texts: list[list[int]], filler: int, width: int = 0) -> Tensor:
    """[N, L] with the filler beyond each target."""
    rows = torch.full((len(texts), max([width, *map(len, texts)])), filler)
    for n, text in enumerate(texts):
        rows[n, : len(text)] = torch.tensor(text, dtype=torch.int64)
    return rows


def concatenated(texts: list[list[int]]) -> Tensor:
    return torch.tensor([label for text in texts for label in text], dtype=torch.int64)


@st.composite
def problems(
    draw: st.DrawFn,
    dtype: torch.dtype = torch.float64,
    min_T: int = 0,
    max_T: int = 7,
    min_N: int = 0,
    max_K: int = 4,
    feasible: bool = False,
) -> Problem:
    T, N, K = draw(st.integers(min_T, max_T)), draw(st.integers(min_N, 4)), draw(st.integers(1, max_K))
    blank = draw(st.integers(0, K - 1))
    labels = st.sampled_from([k for k in range(K) if k != blank]) if K > 1 else st.nothing()
    frames = draw(st.lists(st.integers(0, T), min_size=N, max_size=N))
    texts = []
    for n in range(N):
        longest = frames[n] if feasible else 4
        texts.append(draw(st.lists(labels, max_size=min(longest, 4) if K > 1 else 0)))
        if feasible:
            while len(texts[n]) + sum(a == b for a, b in zip(texts[n], texts[n][1:], strict=False)) > frames[n]:
                texts[n].pop()
    generator = torch.Generator().manual_seed(draw(seeds))
    logits = 2 * torch.randn(T, N, K, generator=generator, dtype=torch.float64)
    for n in range(N):
        logits[frames[n] :, n] = draw(st.sampled_from([0.0, 30.0]))  # not read: torch must agree, so no NaN
    if draw(st.booleans()):
        targets = concatenated(texts)
    else:
        targets = padded(texts, filler=draw(st.sampled_from([0, blank, 100])), width=draw(st.integers(0, 5)))
    lengths = [len(text) for text in texts]
    as_tensors = draw(st.booleans())
    integers = draw(st.sampled_from(INTEGERS))
    return Problem(
        in_layout(logits.to(dtype), draw(st.sampled_from(LAYOUTS))),
        in_layout(targets.to(integers), draw(st.sampled_from(LAYOUTS))),
        torch.tensor(frames, dtype=integers) if as_tensors else tuple(frames),
        torch.tensor(lengths, dtype=integers) if as_tensors else tuple(lengths),
        blank,
        texts,
    )


def normal(*shape, dtype=torch.float64):
    """Normal values, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def gradient(function, x, *arguments, upstream=None, **options):
    """Loss and gradient, with a random upstream gradient unless one is given."""
    x = x.detach().clone().requires_grad_()
    loss = function(x, *arguments, **options)
    if upstream is None:
        upstream = normal(*loss.shape, dtype=loss.dtype)
    return loss.detach(), torch.autograd.grad(loss, x, upstream)[0]


def same_bits(results, expected):
    """Tensors in pairs."""
    for ours, theirs in zip(results, expected, strict=True):
        assert torch.equal(ours, theirs)
