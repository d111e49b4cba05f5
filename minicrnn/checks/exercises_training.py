"""Checks for the tutorial on training: one step, which samples can be learnt, and what ails three runs."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minicrnn.backend import use_backend
from minicrnn.checks.exercise import Arguments, Compared, Judged, Wrong
from minicrnn.crnn import CRNN
from minicrnn.ctc import ctc_loss, ctc_loss_from_logits
from minicrnn.data import Batch, Item, collate
from minicrnn.shapes import frames_needed

CLIP = 5.0
TrainStep = Callable[[CRNN, torch.optim.Optimizer, Batch], float]


def train_step(model: CRNN, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    """One step: loss, gradients, their norm clipped to 5, new weights. Returns the loss before it."""
    optimiser.zero_grad()
    logits, lengths = model(batch.images, batch.widths)
    loss = ctc_loss_from_logits(logits, batch.targets, lengths, batch.target_lengths)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimiser.step()
    return loss.item()


def _variant(
    *, zero: bool = True, softmax: bool = True, own_lengths: bool = True, step: bool = True, clip: bool = True
) -> TrainStep:
    def variant(model: CRNN, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
        if zero:
            optimiser.zero_grad()
        logits, lengths = model(batch.images, batch.widths)
        if not own_lengths:
            lengths = torch.full_like(lengths, len(logits))
        function = ctc_loss_from_logits if softmax else ctc_loss
        loss = function(logits, batch.targets, lengths, batch.target_lengths)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        if step:
            optimiser.step()
        return loss.item()

    return variant


def _setting() -> tuple[CRNN, list[Batch]]:
    generator = torch.Generator().manual_seed(0)

    def item(width: int, labels: list[int]) -> Item:
        return Item(torch.randn(1, 32, width, generator=generator).clamp(-1, 1), torch.tensor(labels), "", "")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CRNN.from_preset("tiny", 5, out_channels=8, hidden_size=6)
    with torch.no_grad():
        list(model.recurrent.parameters())[-2].mul_(4)  # the classes' weights: gradients that clipping changes
    first = [item(40, [1, 2]), item(28, [3, 3, 1])]
    return model, [collate(first), collate([item(32, [2, 4, 1]), item(36, [1])]), collate(first)]


def _run(step: TrainStep, steps: int) -> tuple[list[Any], list[Tensor]]:
    """Losses, and the weights after the last step."""
    model, batches = _setting()
    model = copy.deepcopy(model)
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    losses = [step(model.train(), optimiser, batch) for batch in batches[:steps]]
    return losses, [parameter.detach().clone() for parameter in model.parameters()]


@cache
def _expected(steps: int, **options: bool) -> tuple[list[Any], list[Tensor]]:
    return _run(_variant(**options), steps)


def _same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def _judge_step(answer: TrainStep) -> str:
    """float32: steps agree to a few units in the last place."""
    with use_backend("torch"):
        start = [parameter.detach() for parameter in _setting()[0].parameters()]
        (loss,), weights = _run(answer, 1)
        if isinstance(loss, Tensor):
            return "return a number, loss.item(): a tensor would keep the whole step's memory alive"
        if not isinstance(loss, float):
            return f"the loss is wanted, a number, not {type(loss).__name__}: is there a return statement?"
        (expected,), right = _expected(1)
        if not math.isclose(loss, expected, rel_tol=1e-4):
            return f"on the first batch the loss is {expected:.4f}, not {loss:.4f}. {_why_loss(loss)}"
        if _same(weights, start):
            return "the weights are as before: are loss.backward() and optimiser.step() called?"
        if not _same(weights, right):
            unclipped = _same(weights, _expected(1, clip=False)[1])
            why = "the gradients' norm is not clipped to 5" if unclipped else "the loss is right: look behind it"
            return f"after one step the weights differ from the reference's: {why}"
        if not _same(_run(answer, 3)[1], _expected(3)[1]):
            return (
                "the first step is right, and the second is not: gradients of the batch before are still there. "
                "backward() adds to them, so call optimiser.zero_grad() first"
            )
    return ""


def _why_loss(loss: float) -> str:
    variants: dict[str, dict[str, bool]] = {
        "Logits were taken as if they were log-probabilities: use mc.ctc_loss_from_logits": {"softmax": False},
        "All frames were counted, padding too: use the lengths that the model returns": {"own_lengths": False},
    }
    for why, options in variants.items():
        if math.isclose(loss, _expected(1, **options)[0][0], rel_tol=1e-4):
            return why + "."
    return "It is mc.ctc_loss_from_logits(logits, targets, lengths, target_lengths), with its usual mean."


check_train_step = Judged(
    "train_step",
    _judge_step,
    train_step,
    (
        Wrong("no zero_grad", _variant(zero=False), "call optimiser.zero_grad() first"),
        Wrong("logits as log_probs", _variant(softmax=False), "as if they were log-probabilities"),
        Wrong("padding counted", _variant(own_lengths=False), "use the lengths that the model returns"),
        Wrong("no step", _variant(step=False), "optimiser.step() called"),
        Wrong("not clipped", _variant(clip=False), "not clipped to 5"),
    ),
    praise="three steps agree with the reference, losses and weights.",
)


def usable(texts: Sequence[str], frames: Sequence[int]) -> list[int]:
    """The numbers of the samples whose text fits into their frames."""
    return [n for n, (text, T) in enumerate(zip(texts, frames, strict=True)) if frames_needed(text) <= T]


def _fits(rule: Callable[[str, int], bool]) -> Callable[..., list[int]]:
    return lambda texts, frames: [n for n, (text, T) in enumerate(zip(texts, frames, strict=True)) if rule(text, T)]


def _repeats_anywhere(text: str, T: int) -> bool:
    needed = 2 * len(text) - len(set(text))
    return needed <= T


def _usable_cases(rng: np.random.Generator) -> Iterator[Arguments]:
    yield {"texts": ["cat", "hello", "hello", "a"], "frames": [3, 5, 6, 0]}
    yield {"texts": ["abab", "aabb", "aaa", ""], "frames": [4, 5, 5, 0]}
    for _ in range(15):
        texts = ["".join(rng.choice(list("ab"), int(rng.integers(0, 5)))) for _ in range(5)]
        yield {"texts": texts, "frames": rng.integers(0, 10, 5).tolist()}


check_usable = Compared(
    "usable",
    usable,
    _usable_cases,
    (
        Wrong(
            "T ≥ L",
            _fits(lambda text, T: len(text) <= T),
            "Equal neighbours need a blank between them: one frame more.",
        ),
        Wrong(
            "T > 2L + 1",
            _fits(lambda text, T: 2 * len(text) + 1 < T),
            "The folk rule throws good samples away: blanks are needed between equal neighbours only.",
        ),
        Wrong(
            "T > L + repeats", _fits(lambda text, T: frames_needed(text) < T), "Exactly as many frames are enough: ≥."
        ),
        Wrong(
            "repeats anywhere", _fits(_repeats_anywhere), "Only neighbours that are equal need a blank between them."
        ),
    ),
)

CAUSES = {
    1: "the learning rate is too high",
    2: "labels need more frames than their images give",
    3: "nothing is wrong: it has just begun, go on",
    4: "the gradients are never set to zero",
    5: "the blank is missing from the alphabet",
}
_CLUES = {
    "A": "In run A the loss goes down, slowly and steadily, and only the blank is read. Who would be wrong there?",
    "B": "In run B the loss grows tenfold a step before it is NaN, and is never ∞. What makes weights so large?",
    "C": "In run C all goes well until one batch has the loss ∞; then comes NaN. Whose probability is 0?",
}
_DIAGNOSIS = {"A": 3, "B": 1, "C": 2}


def _judge_diagnosis(answer: Mapping[str, int]) -> str:
    if not isinstance(answer, Mapping) or set(answer) != set(_DIAGNOSIS):
        return "a dict is wanted: for each of A, B and C the number of a cause"
    wrong = [run for run, cause in _DIAGNOSIS.items() if cause != answer[run]]
    return " ".join(_CLUES[run] for run in wrong)


check_diagnosis = Judged(
    "what ails the three runs",
    _judge_diagnosis,
    _DIAGNOSIS,
    (
        Wrong("A is broken", {"A": 5, "B": 1, "C": 2}, "Who would be wrong there?"),
        Wrong("B and C swapped", {"A": 3, "B": 2, "C": 1}, "one batch has the loss ∞"),
        Wrong("all too fast", {"A": 1, "B": 1, "C": 1}, "slowly and steadily"),
    ),
    praise="patience, a lower rate, and wider images or shorter labels.",
)
