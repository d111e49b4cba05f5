"""Whether the CTC loss on a GPU is right: part of ``gpu.py``.

The reference is the vectorised level in float64 on the CPU, on the same, rounded scores.
"""

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

import minicrnn as mc
from minicrnn.ctc.cuda_device import raise_pending_errors

# Absolute and relative errors allowed in γ and the softmax; half types round the gradient once, to their own digits.
TOLERANCE = {torch.float32: (5e-5, 2e-5), torch.float16: (5e-5, 2e-3), torch.bfloat16: (5e-5, 1e-2)}
LOSS_TOLERANCE = (1e-5, 3e-6)  # a float32 holds 24 bits of the loss, whatever type the scores have
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class Check(NamedTuple):
    """What was looked at, whether it was right (None: it could not be looked at), and the evidence."""

    name: str
    passed: bool | None
    evidence: str

    def __str__(self) -> str:
        verdict = {True: "passed", False: "**FAILED**", None: "not run"}[self.passed]
        return f"{self.name}: {verdict} ({self.evidence})"


class Case(NamedTuple):
    """Arguments of a CTC loss."""

    scores: Tensor  # [T, N, K]
    targets: Tensor  # [N, L]
    input_lengths: Tensor  # [N]
    target_lengths: Tensor  # [N]
    blank: int

    def to(self, device: str, dtype: torch.dtype) -> "Case":
        scores, *others = (tensor.to(device) for tensor in self[:4])
        return Case(scores.to(dtype), *others, self.blank)


def drawn(seed: int) -> Case:
    """Sizes on both sides of a warp and of a block; repeated labels, short frames, some targets that cannot fit."""
    generator = torch.Generator().manual_seed(seed)

    def one_of(*values: int) -> int:
        return values[int(torch.randint(len(values), (1,), generator=generator))]

    T, N, K = one_of(1, 2, 7, 24, 33, 65, 200), one_of(1, 3, 8, 33), one_of(2, 5, 32, 37, 129, 1000, 5000)
    L = one_of(0, 1, 8, 15, 16, 31, 32, 33, 64, 100, 600)
    blank = one_of(0, K - 1, K // 2)
    few = max(min(K, one_of(2, 4, K)), 2)  # few different labels repeat often
    labels = torch.randint(few - 1, (N, L), generator=generator)
    labels += labels >= blank
    input_lengths = torch.randint(T + 1, (N,), generator=generator)
    input_lengths[0] = T
    # Lengths within what the frames can spell, mostly: longer ones only show that infinity is infinity.
    limit = torch.full((N,), L) if one_of(0, 1, 2, 3) == 0 else input_lengths.clamp(max=L)
    target_lengths = (torch.rand(N, generator=generator) * (limit + 1)).long()
    scale = one_of(1, 3, 30)
    scores = scale * torch.randn(T, N, K, generator=generator)
    return Case(scores, labels, input_lengths, target_lengths, blank)


def loss_and_gradient(case: Case, from_logits: bool, zero_infinity: bool = False) -> tuple[Tensor, Tensor]:
    """Losses [N] and the gradient of Σ_n (n+1)/N · loss_n, a different weight for each."""
    function = mc.ctc_loss_from_logits if from_logits else mc.ctc_loss
    scores = case.scores.detach().requires_grad_()
    losses = function(scores, *case[1:], reduction="none", zero_infinity=zero_infinity)
    weights = torch.arange(1, len(losses) + 1, device=losses.device, dtype=losses.dtype) / len(losses)
    return losses.detach(), torch.autograd.grad(losses, scores, weights)[0]


def excess(ours: Tensor, theirs: Tensor, tolerance: tuple[float, float]) -> float:
    """The largest error as a share of what is allowed; infinite where only one is infinite or NaN."""
    ours, theirs = ours.double().cpu(), theirs.double().cpu()
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    error = (ours - theirs).abs() / (tolerance[0] + tolerance[1] * theirs.abs())
    error = torch.where(same, 0.0, error.nan_to_num(nan=torch.inf, posinf=torch.inf))
    return float(error.max()) if error.numel() else 0.0


def agrees_with_float64(device: str, dtype: torch.dtype, cases: int) -> Check:
    """Losses and gradients of drawn cases, from logits and from log-probabilities."""
    worst = 0.0
    for seed in range(cases):
        case, from_logits, zero_infinity = drawn(seed), seed % 2 == 0, seed % 3 == 0
        if not from_logits:
            case = case._replace(scores=case.scores.log_softmax(2))
        given = case.to(device, dtype)
        losses, gradient = loss_and_gradient(given, from_logits, zero_infinity)
        with mc.use_backend("torch"):
            expected, dexpected = loss_and_gradient(given.to("cpu", torch.float64), from_logits, zero_infinity)
        worst = max(worst, excess(losses, expected, LOSS_TOLERANCE), excess(gradient, dexpected, TOLERANCE[dtype]))
    name = str(dtype).removeprefix("torch.")
    return Check(f"{name} against float64", worst <= 1, f"{cases} drawn cases, worst error {worst:.2f} of the allowed")


def same_bits(device: str, runs: int = 100) -> Check:
    """The same input gives the same bits."""
    case = drawn(7)._replace(scores=torch.randn(64, 16, 500), input_lengths=torch.full((16,), 64))
    labels = torch.arange(16 * 20).reshape(16, 20) % 9 + 1  # labels come twice and more: sums of several states
    given = case._replace(targets=labels, target_lengths=torch.full((16,), 20), blank=0).to(device, torch.float32)
    first = loss_and_gradient(given, from_logits=True)
    different = sum(
        not all(torch.equal(a, b) for a, b in zip(loss_and_gradient(given, from_logits=True), first, strict=True))
        for _ in range(runs)
    )
    return Check("determinism", different == 0, f"{different} of {runs} runs differ")


def wide_case(seed: int, device: str = "cuda") -> Case:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(100, 32, 200, generator=generator)
    targets = torch.randint(1, 200, (32, 30), generator=generator)
    frames, lengths = (
        torch.randint(61, 101, (32,), generator=generator),
        torch.randint(0, 31, (32,), generator=generator),
    )
    return Case(scores, targets, frames, lengths, 0).to(device, torch.float32)


def graph_replays() -> Check:
    """Captured once, replayed on other numbers: scores, targets and lengths."""
    static = wide_case(0)
    static = static._replace(scores=static.scores.requires_grad_())

    def step() -> tuple[Tensor, Tensor]:
        loss = mc.ctc_loss_from_logits(*static, reduction="sum")
        return loss, torch.autograd.grad(loss, static.scores)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    different = 0
    for seed in range(1, 11):
        with torch.no_grad():
            for tensor, value in zip(static[:4], wide_case(seed)[:4], strict=True):
                tensor.copy_(value)
        graph.replay()
        replayed = [tensor.clone() for tensor in captured]
        different += not all(torch.equal(a, b) for a, b in zip(replayed, step(), strict=True))
    return Check("CUDA graph", different == 0, f"{different} of 10 replays differ from eager calls")


def concurrently(run: Callable[[int], tuple[Tensor, Tensor]], name: str, count: int) -> Check:
    """``run(i)`` must give what it gave alone."""
    alone = [run(i) for i in range(count)]
    torch.cuda.synchronize()
    wrong = 0

    def repeat(i: int) -> None:
        nonlocal wrong
        with torch.cuda.stream(torch.cuda.Stream()):
            results = [run(i) for _ in range(20)]
            torch.cuda.current_stream().synchronize()
        wrong += any(not torch.equal(a, b) for result in results for a, b in zip(result, alone[i], strict=True))

    threads = [threading.Thread(target=repeat, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Check(name, wrong == 0, f"{wrong} of {count} differ from what they gave alone")


def two_streams() -> Check:
    """Two problems in flight at once on streams of one thread."""
    cases, streams = [wide_case(0), wide_case(1)], [torch.cuda.Stream(), torch.cuda.Stream()]
    alone = [loss_and_gradient(case, from_logits=True) for case in cases]
    torch.cuda.synchronize()
    results = []
    for _ in range(20):
        for i, (case, stream) in enumerate(zip(cases, streams, strict=True)):
            with torch.cuda.stream(stream):
                results.append((i, loss_and_gradient(case, from_logits=True)))
    torch.cuda.synchronize()
    wrong = sum(not all(map(torch.equal, result, alone[i])) for i, result in results)
    return Check("two streams", wrong == 0, f"{wrong} of {len(results)} differ from what they gave alone")


def second_device() -> Check:
    """A device that is not the current one."""
    if torch.cuda.device_count() < 2:
        return Check("second device", None, "there is one device")
    results = [loss_and_gradient(wide_case(0, device), from_logits=True) for device in ("cuda:0", "cuda:1")]
    same = all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(*results, strict=True))
    return Check("second device", same, "cuda:1 while cuda:0 is current, the same bits")


def waits_for_nothing() -> Check:
    """torch raises an error at any synchronisation that it knows of."""
    case = wide_case(0)
    loss_and_gradient(case, from_logits=True)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss_and_gradient(case, from_logits=True)
        on_host = case._replace(targets=case.targets.new_ones(32, 1, device="cpu"), target_lengths=[1] * 32)
        loss_and_gradient(on_host, from_logits=True)
    except RuntimeError as error:
        return Check("no host synchronisation", False, str(error))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Check("no host synchronisation", True, "torch.cuda.set_sync_debug_mode('error')")


def bad_input_is_named() -> Check:
    """Found by the kernels, raised when asked."""
    spoil: list[tuple[str, Callable[[Case], object]]] = [
        ("label", lambda case: case.targets[3].fill_(200)),
        ("input_length", lambda case: case.input_lengths[3].fill_(101)),
        ("target_length", lambda case: case.target_lengths[3].fill_(-1)),
        ("NaN", lambda case: case.scores[5, 3].fill_(torch.nan)),
    ]
    missed = []
    for words, change in spoil:
        case = wide_case(0)
        case.target_lengths.fill_(20)
        change(case)
        losses = mc.ctc_loss_from_logits(*case, reduction="none")
        try:
            raise_pending_errors()
            missed.append(words)
        except ValueError as error:
            if "sample 3" not in str(error) or words not in str(error):
                missed.append(f"{words} ({error})")
        if losses.isnan().nonzero().flatten().tolist() != [3]:
            missed.append(f"{words}: losses {losses}")
    return Check("bad input", not missed, f"not as expected: {', '.join(missed)}" if missed else "4 kinds named")


def readable(case: Case) -> tuple[Tensor, Tensor]:
    """Losses and gradient of log-probabilities by the readable kernels."""
    from numba import cuda

    from minicrnn_kernels import ctc_cuda_readable  # needs numba-cuda, unlike the rest

    T, N, _ = case.scores.shape
    S = 2 * case.targets.shape[1] + 1
    floats = {"device": case.scores.device, "dtype": torch.float32}
    alpha, beta, losses = torch.empty(N, T, S, **floats), torch.empty(N, T, S, **floats), torch.empty(N, **floats)
    in_shared = ctc_cuda_readable.launch_shape(S)[1] > 0
    long_rows = torch.empty(N, 0 if in_shared else 2 * S, **floats)
    batch = (case.scores.contiguous(), case.targets, case.input_lengths, case.target_lengths, case.blank)
    handle = torch.cuda.current_stream().cuda_stream
    stream = cuda.external_stream(handle) if handle else 0
    ctc_cuda_readable.ctc_forward(*batch, long_rows, alpha, beta, losses, stream)
    gradient = torch.empty_like(case.scores)
    ctc_cuda_readable.ctc_backward(*batch, alpha, beta, losses, torch.ones_like(losses), gradient, stream)
    return losses, gradient


def readable_agrees() -> Check:
    """1e-3: its γ has what float32 logarithms of 100 frames leave."""
    case = wide_case(0)._replace(scores=wide_case(0).scores.log_softmax(2))
    losses, gradient = readable(case)
    on_cpu = case.to("cpu", torch.float64)
    x = on_cpu.scores.requires_grad_()
    with mc.use_backend("torch"):
        expected = mc.ctc_loss(x, *on_cpu[1:], reduction="none")
    worst = max(
        excess(losses, expected.detach(), LOSS_TOLERANCE) / 10,
        excess(gradient, torch.autograd.grad(expected.sum(), x)[0], (1e-3, 0.0)),
    )
    return Check("readable kernels", worst <= 1, f"worst error {worst:.2f} of the allowed")


def all_checks(cases: int) -> Iterator[Check]:
    """One after another."""
    for dtype in DTYPES:
        yield agrees_with_float64("cuda", dtype, cases)
    yield same_bits("cuda")
    yield graph_replays()
    yield two_streams()
    four = [wide_case(seed) for seed in range(4)]
    yield concurrently(lambda i: loss_and_gradient(four[i], from_logits=True), "four Python threads", 4)
    yield second_device()
    yield waits_for_nothing()
    yield bad_input_is_named()
    yield readable_agrees()
