"""Reading CTC's output: ours, and fast-ctc-decode (Rust), ctc-forced-aligner (C++) and loops over frames, in one run.

All sides take turns on the same emissions, and the figures are medians. Ours, fast-ctc-decode and the loops have the
same number of threads: fast-ctc-decode, which takes one sample a call and lets go of the interpreter's lock, is called
from as many Python threads. It reads probabilities, ours log-probabilities; neither conversion is counted. Two kinds of
emissions: peaky, as a trained network's, and flat, as an untrained one's.

Beam search is compared by what it finds, too: on 1,000 samples of each kind, how often ours is the same text, or a text
of higher probability (summed over all alignments).

Alignment is compared with a loop over frames, each a few torch operations on the whole batch or on one sample, as in
tutorials, and with the C++ function of ctc-forced-aligner, which takes one sample a call and gives its path, without
spans or their scores; it is called from one Python thread, in a plain loop, since two made it slower. Only its compiled
function is loaded, so that nothing else of that package has to be there:

    pip install fast-ctc-decode && pip install --no-deps ctc-forced-aligner
    python benchmarks/decoding.py
    python benchmarks/decoding.py --model RUN/best.safetensors --data FOLDER     # and what a trained model says
"""

import importlib.util
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from emissions import trained_emissions
from pairs import interleaved, machine
from torch import Tensor

import minicrnn as mc
from minicrnn.ctc.targets import repeats

SIZES = [(24, 64, 37), (100, 64, 80)]
IN_A_ROW = 5  # alignments of one batch after another: the second thread is still awake
WIDTH = 10


def peaky(T: int, N: int, K: int, seed: int = 0) -> Tensor:
    """Like a trained network's: mostly blank, labels of a frame or two, now and then a doubt."""
    generator = torch.Generator().manual_seed(seed)
    path = torch.randint(1, K, (T, N), generator=generator)
    path = torch.where(torch.rand(T, N, generator=generator) < 0.6, 0, path)
    logits = torch.randn(T, N, K, generator=generator)
    height = 4 + 6 * torch.rand(T, N, 1, generator=generator)
    return logits.scatter_add(2, path[..., None], height).log_softmax(2)


def flat(T: int, N: int, K: int, seed: int = 0) -> Tensor:
    return torch.randn(T, N, K, generator=torch.Generator().manual_seed(seed)).log_softmax(2)


KINDS: dict[str, Callable[..., Tensor]] = {"peaky": peaky, "flat": flat}


def fast_ctc_decode(log_probs: Tensor, pool: ThreadPoolExecutor) -> Callable[[], list[list[int]]]:
    """Texts of a batch, the samples shared out over the pool's threads."""
    from fast_ctc_decode import beam_search

    samples = log_probs.exp().transpose(0, 1).contiguous().numpy()
    letters = [chr(0x4E00 + k) for k in range(log_probs.shape[2])]

    def read(sample: Any) -> list[int]:
        return [ord(letter) - 0x4E00 for letter in beam_search(sample, letters, beam_size=WIDTH)[0]]

    return lambda: list(pool.map(read, samples))


def quality(kind: str, log_probs: Tensor, pool: ThreadPoolExecutor) -> str:
    T, samples, K = log_probs.shape
    ours = mc.beam_search(log_probs, beam_width=WIDTH)
    theirs = fast_ctc_decode(log_probs, pool)()
    same = better = worse = 0
    true = mc.score(log_probs, [[text] for text in theirs])
    for (best,), text, (log_prob,) in zip(ours, theirs, true, strict=True):
        same += best.labels == text
        better += best.labels != text and best.log_prob > log_prob
        worse += best.labels != text and best.log_prob <= log_prob
    return f"| {kind} | {T}, {K} | {samples} | {same} | {better} | {worse} |"


def align_by_frame(log_probs: Tensor, targets: Tensor) -> Tensor:
    """The same alignment as a loop over frames: each a few torch operations on the whole batch; then back."""
    T, N, _ = log_probs.shape
    S = 2 * targets.shape[1] + 1
    states = torch.zeros(N, S, dtype=torch.int64)
    states[:, 1::2] = targets
    may_skip = torch.zeros(N, S, dtype=torch.bool)
    may_skip[:, 1::2] = ~repeats(targets)
    may_skip[:, 1] = False
    emissions = log_probs.gather(2, states.expand(T, N, S))
    best = log_probs.new_full((N, S + 2), -torch.inf)
    best[:, 2:4] = emissions[0, :, :2]
    moves = torch.zeros(T, N, S, dtype=torch.int64)
    for t in range(1, T):
        skipped = torch.where(may_skip, best[:, :-2], -torch.inf)
        top, moves[t] = torch.stack((best[:, 2:], best[:, 1:-1], skipped)).max(0)
        best[:, 2:] = top + emissions[t]
    state = S - 1 - (best[:, S] > best[:, S + 1]).long()
    path = torch.empty(T, N, dtype=torch.int64)
    for t in range(T - 1, -1, -1):
        path[t] = states.gather(1, state[:, None])[:, 0]
        state = state - moves[t].gather(1, state[:, None])[:, 0]
    return path


def cpp_aligner() -> Callable[[Tensor, Tensor], list[Any]] | None:
    """Paths [T] of a batch, by ctc-forced-aligner's C++; None if that is not installed."""
    package = importlib.util.find_spec("ctc_forced_aligner")
    if package is None or not package.submodule_search_locations:
        return None
    where = Path(package.submodule_search_locations[0]) / "ctc_aligner.py"
    spec = importlib.util.spec_from_file_location("ctc_aligner", where)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def align(samples: Tensor, targets: Tensor) -> list[Any]:
        one_by_one = zip(samples.numpy()[:, None], targets.numpy()[:, None], strict=True)
        return [module.align_sequences(sample, text, 0)[0][0] for sample, text in one_by_one]

    return align


def alignment(T: int, N: int, K: int, seconds: float) -> list[str]:
    """Rows of the table: ours against the loop, and against C++ if it is there."""
    L = T // 4
    log_probs, targets = flat(T, N, K), torch.randint(1, K, (N, L), generator=torch.Generator().manual_seed(0))
    lengths = torch.full((N,), T), torch.full((N,), L)
    exact = mc.forced_align(log_probs.double(), targets, *lengths)
    assert torch.equal(align_by_frame(log_probs.double(), targets), exact.paths)
    one_by_one = list(zip(log_probs.split(1, dim=1), targets.split(1), strict=True))
    steps: dict[str, Callable[[], Any]] = {
        "loop over frames, of the whole batch": lambda: align_by_frame(log_probs, targets),
        "loop over frames, for each sample": lambda: [align_by_frame(scores, text) for scores, text in one_by_one],
        "ours": lambda: mc.forced_align(log_probs, targets, *lengths),
    }
    if (aligner := cpp_aligner()) is not None:
        samples = log_probs.transpose(0, 1).contiguous()
        paths = torch.stack([torch.from_numpy(path) for path in aligner(samples, targets)], 1)
        scores = log_probs.double().gather(2, paths[..., None]).sum((0, 2))
        assert torch.allclose(scores, exact.scores, rtol=1e-6, atol=0)  # its paths are as good, in float32
        steps["ctc-forced-aligner, C++"] = lambda: aligner(samples, targets)
    ms = interleaved(steps, seconds, in_a_row=IN_A_ROW)
    ours = ms.pop("ours")
    return [f"| {T}, {K}, {L} | {name} | {their:.2f} | {ours:.3f} | {their / ours:.1f} |" for name, their in ms.items()]


def main(
    threads: Annotated[int, typer.Option(help="Threads for every side.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time for each row, at least.")] = 4.0,
    samples: Annotated[int, typer.Option(help="Samples of each kind and size to compare texts on.")] = 1000,
    model: Annotated[Path | None, typer.Option(help="A trained model, whose emissions are compared, too.")] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled images for it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the tables to this file, too.")] = None,
) -> None:
    torch.set_num_threads(threads)
    pool = ThreadPoolExecutor(threads)
    lines = [
        f"N = 64, beam width {WIDTH}, {machine(threads)}; medians of interleaved turns",
        "",
        "| beam search | T, K | fast-ctc-decode, ms | minicrnn, ms | ratio |",
        "|---|---|---|---|---|",
    ]
    trained = trained_emissions(model, data, samples)[0] if model and data else None
    batches = [(kind, KINDS[kind](*size)) for size, kind in itertools.product(SIZES, KINDS)]
    for kind, log_probs in batches if trained is None else [*batches, ("trained model", trained[:, :64].contiguous())]:
        steps = {
            "theirs": fast_ctc_decode(log_probs, pool),
            "ours": lambda scores=log_probs: mc.beam_search(scores, beam_width=WIDTH),
        }
        ms = interleaved(steps, seconds)
        row = f"{ms['theirs']:.2f} | {ms['ours']:.2f} | {ms['theirs'] / ms['ours']:.1f}"
        lines.append(f"| {kind} | {log_probs.shape[0]}, {log_probs.shape[2]} | {row} |")
    lines += ["", "| alignment: T, K, L | against | ms | minicrnn, ms | ratio |", "|---|---|---|---|---|"]
    for size in SIZES:
        lines += alignment(*size, seconds)
    lines += ["", "| texts found | T, K | samples | same | ours more probable | less |", "|---|---|---|---|---|---|"]
    for (T, _, K), kind in itertools.product(SIZES, KINDS):
        lines.append(quality(kind, KINDS[kind](T, samples, K, seed=1), pool))
    if trained is not None:
        lines.append(quality("trained model", trained, pool))
    print("\n".join(lines))
    if out:
        out.write_text("# `benchmarks/decoding.py`\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
