"""The CTC loss and its gradient at the logits, ours against torch's, in one run.

Both sides take turns on the same logits, so that a machine that is busy for a while is busy for both; the figures are
medians. torch's side is ``log_softmax`` and ``CTCLoss``, ours ``ctc_loss_from_logits``; optax's loss, compiled by XLA,
comes third where jax and optax are installed (it has no thread count of its own, so it is measured once, with all).

Where the classes are many, memory is the limit: each logit is read once and each gradient written once. The floor is
the time of a copy of the logits into other memory, measured in the same run.

    python benchmarks/ctc.py
"""

import contextlib
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor, nn

import minicrnn as mc

Step = Callable[[], Any]
SIZES = [
    (24, 64, 37, 8),
    (100, 64, 37, 30),
    (200, 32, 80, 60),
    (24, 256, 6625, 10),
    (512, 32, 5000, 60),
    (24, 1, 37, 8),
]
MANY_CLASSES = 1000


class Row(NamedTuple):
    """Medians in milliseconds of one problem; None where a side was not measured."""

    size: tuple[int, int, int, int]
    threads: int
    torch: float
    ours: float
    optax: float | None
    floor: float | None


def problem(T: int, N: int, K: int, L: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(T, N, K, generator=generator).requires_grad_()
    targets = torch.randint(1, K, (N, L), generator=generator)
    return logits, targets, torch.full((N,), T), torch.full((N,), L)


def gradient_of(loss: Callable[..., Tensor], logits: Tensor, *arguments: Tensor) -> Step:
    def step() -> None:
        loss(logits, *arguments).backward()
        logits.grad = None  # giving memory back is part of the work: small pages take longer than huge ones

    return step


def optax_step(logits: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Step:
    """optax takes [N, T, K] and paddings; the mean of loss over length, as torch's."""
    import jax
    import optax

    batch_first = jax.numpy.asarray(logits.detach().transpose(0, 1).contiguous().numpy())
    labels = jax.numpy.asarray(targets.numpy().astype(np.int32))
    no_frame, no_label = (jax.numpy.zeros(array.shape[:2]) for array in (batch_first, labels))
    lengths = jax.numpy.asarray(target_lengths.numpy())

    def loss(scores: Any) -> Any:
        return (optax.ctc_loss(scores, no_frame, labels, no_label) / lengths).mean()

    gradient = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(gradient(batch_first))


def floor_step(logits: Tensor) -> Step:
    """Read the logits, write as many numbers."""
    values = logits.detach()
    others = torch.zeros_like(values)
    return lambda: others.copy_(values)


def measure(size: tuple[int, int, int, int], threads: int, seconds: float, with_optax: bool) -> Row:
    torch.set_num_threads(threads)
    logits, *arguments = problem(*size)
    steps = {
        "torch": gradient_of(lambda x, *rest: nn.functional.ctc_loss(x.log_softmax(2), *rest), logits, *arguments),
        "ours": gradient_of(mc.ctc_loss_from_logits, logits, *arguments),
    }
    if size[2] >= MANY_CLASSES:
        steps["floor"] = floor_step(logits)
    if with_optax:
        steps["optax"] = optax_step(logits, *arguments)
    times: dict[str, list[float]] = {name: [] for name in steps}
    began, turn = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or turn < 7:
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:  # the first turns compile, and take memory from the system
                times[name].append(time.perf_counter() - start)
        turn += 1
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    return Row(size, threads, medians["torch"], medians["ours"], medians.get("optax"), medians.get("floor"))


def table(rows: list[Row]) -> str:
    lines = [
        "| (T, N, K, L) | threads | torch, ms | minicrnn, ms | × torch | optax, ms | memory floor, ms | × floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size, threads, torch_ms, ours, optax, floor in rows:
        optax_text = f"{optax:.3g}" if optax else ""
        floor_text, share = (f"{floor:.3g}", f"{ours / floor:.2f}") if floor else ("", "")
        lines.append(
            f"| {size} | {threads} | {torch_ms:.3f} | {ours:.3f} | {torch_ms / ours:.1f} "
            f"| {optax_text} | {floor_text} | {share} |"
        )
    for threads in sorted({row.threads for row in rows}):
        ratios = [row.torch / row.ours for row in rows if row.threads == threads and row.size[1] > 1]
        lines.append(f"\nGeometric mean of × torch, N > 1, {threads} threads: {statistics.geometric_mean(ratios):.1f}")
    return "\n".join(lines)


def main(
    threads: Annotated[list[int], typer.Option(help="Thread counts to measure with.")] = [2, 1],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Time for each row, at least.")] = 6.0,
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    has_optax = False
    with contextlib.suppress(ImportError):
        import jax  # noqa: F401
        import optax  # noqa: F401

        has_optax = True
    rows = [measure(size, count, seconds, has_optax and count == max(threads)) for count in threads for size in SIZES]
    heading = (
        f"CTC loss and gradient at the logits, float32, torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}, {platform.machine()}; medians of interleaved turns\n\n"
    )
    print(heading + table(rows))
    if out:
        out.write_text(f"# `benchmarks/ctc.py`\n\n{heading}{table(rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
