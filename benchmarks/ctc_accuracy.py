"""How exact the CTC loss on the CPU is: float32 against float64, and torch's own float32 on the same cases.

    python benchmarks/ctc_accuracy.py --cases 100000 --out benchmarks/results/ctc_accuracy.md

Each case, see ``ctc_accuracy_cases.py``, goes two routes, from logits and from their float32 log-softmax. On each,
three answers meet: ours, the kernel in float32; torch's, ``torch.nn.functional.ctc_loss`` in float32; and the
reference, the vectorised level in float64, on the same, rounded scores.

    error of the loss       |loss − reference|
    error of the gradient   the largest |dscores − reference| of the sample's frames and classes

The rule: on each case on its own, our error is at most torch's plus 1e-6. The loss is a float32, whose last place is
worth 4e-6 at a loss of 40 and 0.03 at 4e5. Torch's errors, though larger, may cancel where ours do not, so that its
loss rounds to the number next to the reference and ours to its neighbour. One unit in the last place of the loss is
therefore allowed, too; the column "needs a unit" counts the cases that would break the rule without it.

Where the target fits, no NaN. Where it does not: the loss is ∞ and the gradient NaN in the sample's frames, or both are
0 with ``zero_infinity``. Beyond a sample's frames the gradient is 0. All three exactly.

From log-probabilities, torch's gradient is exp(log_probs) − γ, and its error is taken from that.

The exit code is 1 if a case breaks the rule.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from ctc_accuracy_cases import KINDS, SIZES, Batch, drawn_batches
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional

import minicrnn as mc

ALLOWED = 1e-6
ROUTES = ("logits", "log_probs")


class Answer(NamedTuple):
    """Losses [N] and gradient [T, N, K], in float64."""

    losses: Tensor
    gradient: Tensor


class Case(NamedTuple):
    """What became of one sample on one route. Errors are NaN where the answer is."""

    batch: int
    sample: int
    route: str
    size: str
    kind: str
    fits: bool  # a path spells the target
    exact: bool  # zeros, ∞ and NaN are where they should be, and nowhere else
    unit: float  # in the last place of a float32 of the loss
    loss: float  # our error
    torch_loss: float
    gradient: float
    torch_gradient: float

    @property
    def needs_a_unit(self) -> bool:
        return self.fits and not self.loss <= _or_infinity(self.torch_loss) + ALLOWED

    @property
    def loss_worse(self) -> bool:
        return self.fits and not self.loss <= _or_infinity(self.torch_loss) + ALLOWED + self.unit

    @property
    def gradient_worse(self) -> bool:
        return self.fits and not self.gradient <= _or_infinity(self.torch_gradient) + ALLOWED

    @property
    def breaks_the_rule(self) -> bool:
        return self.loss_worse or self.gradient_worse or not self.exact


def _or_infinity(error: float) -> float:
    return error if error == error else torch.inf


def answer(loss_of: Callable[[Tensor], Tensor], scores: Tensor, upstream: Tensor) -> Answer:
    x = scores.detach().clone().requires_grad_()
    losses = loss_of(x)
    (gradient,) = torch.autograd.grad(losses, x, upstream.to(losses))
    return Answer(losses.detach().double(), gradient.double())


def answers(batch: Batch, route: str) -> tuple[Answer, Answer, Answer]:
    """Ours, torch's, and the reference, which leaves ∞ and NaN as they are."""
    arguments = batch.targets, batch.input_lengths, batch.target_lengths, batch.blank, "none"
    from_logits = route == "logits"
    function = mc.ctc_loss_from_logits if from_logits else mc.ctc_loss
    scores = batch.logits if from_logits else batch.logits.log_softmax(2)
    with mc.use_backend("numba"):
        ours = answer(lambda x: function(x, *arguments, batch.zero_infinity), scores, batch.upstream)
    with mc.use_backend("torch"):
        reference = answer(lambda x: function(x, *arguments), scores.double(), batch.upstream)

    def torchs(x: Tensor) -> Tensor:
        return functional.ctc_loss(x.log_softmax(2) if from_logits else x, *arguments, batch.zero_infinity)

    theirs = answer(torchs, scores, batch.upstream)
    if not from_logits:
        theirs.gradient.sub_(batch.upstream[:, None] * scores.double().exp())
    return ours, theirs, reference


def judged(batch: Batch, route: str) -> Iterator[Case]:
    ours, theirs, reference = answers(batch, route)
    counts = (torch.arange(len(batch.logits))[:, None] < batch.input_lengths)[..., None]
    fits = reference.losses < torch.inf

    def largest(answer: Answer) -> list[float]:
        return torch.where(counts, answer.gradient - reference.gradient, 0.0).abs().amax((0, 2)).tolist()

    without_path = torch.tensor(0.0 if batch.zero_infinity else torch.nan)
    expected = torch.where(counts & ~fits[:, None], without_path, 0.0).expand(batch.logits.shape).double()
    looked_at = (~counts | ~fits[:, None]).expand(batch.logits.shape)
    same = (ours.gradient == expected) | (ours.gradient.isnan() & expected.isnan())
    exact = (same | ~looked_at).all(2).all(0)
    exact &= fits | (ours.losses == (0.0 if batch.zero_infinity else torch.inf))
    unit = torch.finfo(torch.float32).eps * 2.0 ** torch.frexp(reference.losses.clamp(max=1e30)).exponent.sub(1)
    columns = [
        fits.tolist(), exact.tolist(), unit.tolist(), (ours.losses - reference.losses).abs().tolist(),
        (theirs.losses - reference.losses).abs().tolist(), largest(ours), largest(theirs),
    ]  # fmt: skip
    for n, row in enumerate(zip(*columns, strict=True)):
        yield Case(batch.number, n, route, batch.size, batch.kinds[n], *row)


def rows(cases: list[Case]) -> Iterator[tuple[str, str, list[Case]]]:
    """Route, name of the class and its cases: by kind, by size, all."""
    for route in ROUTES:
        on_route = [case for case in cases if case.route == route]
        for kind in KINDS:
            yield route, kind, [case for case in on_route if case.kind == kind]
        for size in SIZES:
            yield route, size, [case for case in on_route if case.size == size]
        yield route, "all", on_route


HEAD = (
    "from", "class", "cases", "that fit", "loss: ours", "torch's", "gradient: ours", "torch's", "loss worse",
    "needs a unit", "gradient worse", "NaN: ours", "torch's", "∞, 0, NaN not exact",
)  # fmt: skip


def table(cases: list[Case]) -> str:
    """Markdown: the largest errors of each class, and how many cases break the rule."""
    lines = [f"| {' | '.join(HEAD)} |", f"|:--|:--|{'--:|' * (len(HEAD) - 2)}"]
    for route, name, group in rows(cases):
        fit = [case for case in group if case.fits]
        errors = list(zip(*[case[-4:] for case in fit], strict=True)) or [()] * 4
        worst = [max((e for e in column if e == e), default=0.0) for column in errors]
        nan = [sum(case[i] != case[i] or case[i + 2] != case[i + 2] for case in fit) for i in (-4, -3)]
        counts = [
            sum(case.loss_worse for case in group), sum(case.needs_a_unit for case in group),
            sum(case.gradient_worse for case in group), *nan, sum(not case.exact for case in group),
        ]  # fmt: skip
        cells = [route, name, f"{len(group):,}", f"{len(fit):,}", *(f"{error:.1e}" for error in worst)]
        lines.append(f"| {' | '.join([*cells, *(f'{count:,}' for count in counts)])} |")
    return "\n".join(lines)


def report(cases: list[Case], seed: int, seconds: float) -> str:
    broken = [case for case in cases if case.breaks_the_rule]
    total = len(cases) // len(ROUTES)
    lines = [
        "# Accuracy of the CTC loss in float32",
        "",
        f"`python benchmarks/ctc_accuracy.py --cases {total} --seed {seed}`, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s), {seconds / 60:.0f} min. What is drawn, and what is measured, is said at "
        "the head of the two scripts. Errors are the largest of each class, against float64.",
        "",
        table(cases),
        "",
        f"Cases that break the rule: {len(broken)} of {total:,} on {len(ROUTES)} routes.",
    ]
    lines += [f"- {case}" for case in broken[:50]]
    return "\n".join(lines) + "\n"


def main(
    cases: Annotated[int, typer.Option(min=1, help="Samples to draw.")] = 2000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
) -> None:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    results: list[Case] = []
    with Progress(transient=True) as progress:
        task = progress.add_task("cases", total=cases)
        for batch in drawn_batches(cases, seed):
            for route in ROUTES:
                results += judged(batch, route)
            progress.advance(task, len(batch.kinds))
    text = report(results, seed, time.perf_counter() - began)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    if any(case.breaks_the_rule for case in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
