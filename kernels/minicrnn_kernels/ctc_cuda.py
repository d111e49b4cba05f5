"""The fast CTC loss on a GPU: three kernels, and how they are launched.

    scores [T, N, K] ──▶ frames ──▶ emissions [N, T, L+1] ──▶ recursion ──▶ losses [N], γ [N, T, L+1]
                            │          peaks, normalisers [T, N] │
                            └────────────────────┬───────────────┘
                            scores, dloss ──▶ gradient ──▶ dscores [T, N, K]

- ``ctc_cuda_frames``: a warp per frame reads the K scores once, finds their peak and the sum of the softmax, and
  gathers the few emissions that the target needs.
- ``ctc_cuda_recursion`` and ``ctc_cuda_sweep``: a block per sample. Its K is gone; what is left is latency. α and β run
  at the same time and meet in the middle; a lane holds a blank and a label, so that a frame costs two shuffles:

        lane        0     1     2     3           target "cab"; the last blank is a pair of its own
        blank b_j   ␣     ␣     ␣     ␣
                    │ ↘   │ ↘   │ ↘   │           l_j' = y · (l_j + b_j + l_{j−1}), the last only if it differs
        label l_j   c ──▶ a ──▶ b ──▶             b_j' = y · (b_j + l_{j−1}): only labels travel from lane to lane

- ``ctc_cuda_gradient``: a warp per frame writes softmax − γ.
- ``ctc_cuda_arithmetic``: a probability is a float32 mantissa with an exponent of its own. No logarithms in the
  recursion, no underflow at any length, γ good to a few 1e-6; half-precision scores are read and written as bits.

**Bytes, and the floor.** With b bytes a score, forward and gradient move 3·b·T·N·K (read, read again, write) and, for
each of the T·N·(L+1) cells, 16 of emissions, 8 of γ and 32 of stored states, where those do not fit shared memory.
T = 256, N = 64, K = 8000 in float32 move 1.57 GB: 0.52 ms at the 3 TB/s that an H100's memory (3.35 TB/s) gives. There
the cells (L = 40) add 38 MB, of which its L2 cache keeps most.

**Steps, and the other floor.** At small K the recursion is T steps of a warp, one after the other. A step is 2
shuffles, 2 ex2, 2 fused multiply-adds, 2 products, 2 additions and 4 maxima; loads run two to three steps ahead. Half
of the steps store 2 states, the other half emits 2 γ (2 ex2 more, and 2 shuffles for 8 frames). There is one barrier
for a target below 32 labels; else one for every 8 frames, and two for every further 32 labels. If a step takes 90
cycles (an estimate from instruction latencies, not a measurement), T = 100 takes 5 µs at 1.7 GHz, the time of a launch
or two.

What a GPU makes of these numbers, ``benchmarks/gpu.py`` measures.

Every launch has a shape that the sizes alone decide (:func:`plan`): nothing is read back from the device, nothing is
allocated here, so that a CUDA graph can capture it. No atomics: a run gives the same bits as the one before.

**Bad input** cannot raise from a kernel. Labels are checked before they index, lengths before they count; a sample with
bad input has loss NaN, and says why in its words of ``status``: (code, where), see FAULTS.

Arrays: scores [T, N, K] float32, float16 or bfloat16, any strides of t and n; labels [N, L], input_lengths [N],
target_lengths [N] int64; losses, dloss [N], peaks, normalisers [T, N], gamma [N, T, L+1] float32, column 0 for the
blank; links [N, L], status [N, 2] int32; dscores [T, N, K] of the scores' type.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006, section 4.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from minicrnn_kernels.ctc_cuda_arithmetic import SIMULATED
from minicrnn_kernels.ctc_cuda_frames import frames_kernel
from minicrnn_kernels.ctc_cuda_gradient import gradient_kernel
from minicrnn_kernels.ctc_cuda_recursion import RECURSION
from minicrnn_kernels.ctc_cuda_sweep import SHARED_PER_BLOCK, SHARED_PER_WARP

FAULTS = {
    1: "input_length is out of range",
    2: "target_length is out of range",
    3: "the label at position {where} is out of range or the blank",
    4: "the scores of frame {where} hold NaN or +inf",
    5: "the scores of frame {where} hold −inf in every class",
}
DTYPES = ("float32", "float16", "bfloat16")
SHARED_LIMIT = 48 * 1024  # bytes a block may have without asking the driver for more
MOST_WARPS = 16  # of one direction: two directions make the 1,024 threads of the largest block
ROWS_PER_BLOCK = 8  # frames, one warp each
MOST_BLOCKS_Y = 65535


class Launch(NamedTuple):
    """Shape of a launch: blocks, threads of a block, bytes of dynamic shared memory."""

    grid: tuple[int, int]
    threads: int
    shared: int


class Plan(NamedTuple):
    """How a problem of known size runs."""

    rows: Launch  # the frames and the gradient kernel
    recursion: Launch
    where: str  # the stored halves of α and β: "shared" or "global" memory; "turns": global, and more strips than warps


def plan(frames: int, samples: int, longest: int) -> Plan:
    """Launch shapes from the sizes alone: what the lengths are is known on the device only.

    >>> plan(frames=24, samples=64, longest=8).recursion
    Launch(grid=(64, 1), threads=64, shared=6592)
    """
    rows = min(ROWS_PER_BLOCK, max(samples, 1))
    blocks_y = min(-(-samples // rows), MOST_BLOCKS_Y)
    strips = -(-(longest + 1) // 32)
    warps = 2 * (strips if strips <= MOST_WARPS else MOST_WARPS // 2)
    edges = 8 * (SHARED_PER_BLOCK + warps * SHARED_PER_WARP)
    lattice = 16 * frames * (longest + 1)
    where = "turns" if strips > MOST_WARPS else "shared" if edges + lattice <= SHARED_LIMIT else "global"
    return Plan(
        Launch((frames, blocks_y), 32 * rows, 0),
        Launch((samples, 1), 32 * warps, edges + lattice if where == "shared" else edges),
        where,
    )


class Scratch(NamedTuple):
    """Where the parts of the scratch memory begin, in float32 words."""

    emissions: int  # [N, T, L+1] numbers of two words
    blanks: int  # [N, T, L+1] numbers, or nothing: what the recursion stores of the blanks
    tokens: int  # [N, T, L+1] numbers, or nothing: and of the labels
    column: int  # [N, 2, 2, T] numbers, or nothing
    words: int


def scratch(frames: int, samples: int, longest: int) -> Scratch:
    """The parts of the scratch memory."""
    cells = frames * samples * (longest + 1)
    where = plan(frames, samples, longest).where
    half = 0 if where == "shared" else 2 * cells
    blanks, tokens, column = 2 * cells, 2 * cells + half, 2 * cells + 2 * half
    return Scratch(0, blanks, tokens, column, column + (8 * frames * samples if where == "turns" else 0))


def scratch_words(frames: int, samples: int, longest: int) -> int:
    """float32 words of scratch memory that :func:`launch_forward` needs."""
    return scratch(frames, samples, longest).words


# Threads of the largest block of each kernel, told to the compiler: 65,536 registers must do for all of them.
LARGEST_BLOCK = {
    "frames": 32 * ROWS_PER_BLOCK,
    "gradient": 32 * ROWS_PER_BLOCK,
    "recursion_in_shared": 64 * MOST_WARPS,
    "recursion_in_global": 64 * MOST_WARPS,
    "recursion_in_turns": 32 * MOST_WARPS,
}

SCORES = {"float32": types.float32, "float16": types.int16, "bfloat16": types.uint16}


def kernel_and_signature(name: str, dtype: str = "float32") -> tuple[Callable[..., Any], Any]:
    """The Python function of a kernel, and the types of its arguments: raw pointers and int64."""
    i64 = types.int64
    scores, floats, ints, longs = (types.CPointer(kind) for kind in (SCORES[dtype], types.float32, types.int32, i64))
    problem = (longs, longs, longs, i64, i64, i64, i64, i64, i64)  # labels, lengths, blank, T, N, K, L, from_logits
    if name == "frames":
        return frames_kernel(dtype), types.void(scores, i64, i64, *problem, floats, floats, ints, longs)
    if name == "gradient":
        saved = (floats, floats, floats, floats, ints)  # losses, peaks, normalisers, gamma, links
        return gradient_kernel(dtype), types.void(scores, i64, i64, *problem, i64, *saved, floats, scores)
    last = (i64, floats, floats, floats, ints, longs, longs, longs)
    return RECURSION[name.removeprefix("recursion_in_")], types.void(longs, *problem, *last)


@functools.cache
def _compiled(name: str, dtype: str, device: int) -> Any:
    """The kernel compiled for its one signature and one device, whose context is current."""
    function, signature = kernel_and_signature(name, dtype)
    if SIMULATED:
        return cuda.jit(function)
    return cuda.jit(signature, launch_bounds=LARGEST_BLOCK[name])(function)  # type: ignore[call-arg]


@functools.lru_cache(maxsize=1024)
def _configured(name: str, dtype: str, shape: Launch, device: int, stream: int) -> Callable[..., None]:
    """A kernel with its launch shape and stream: what is left is to pass the arguments."""
    on = cuda.external_stream(stream) if stream and not SIMULATED else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that small grids leave a large GPU idle
        configured: Callable[..., None] = _compiled(name, dtype, device)[shape.grid, shape.threads, on, shape.shared]
    return configured


def _launch(name: str, dtype: str, shape: Launch, device: int, stream: int, *arguments: Any) -> None:
    if SIMULATED:  # one object is all configurations of a simulated kernel, so that none can be kept
        _compiled(name, dtype, device)[shape.grid, shape.threads, 0, shape.shared](*arguments)
    else:
        _configured(name, dtype, shape, device, stream)(*arguments)


def _device(device: int) -> contextlib.AbstractContextManager[Any]:
    """Make the device's context the current one: a thread's may be another's, or none (autograd's threads)."""
    return contextlib.nullcontext() if SIMULATED else cuda.gpus[device]


def _part(scratch_memory: Any, words: int) -> Any:
    """The numbers in the scratch memory from a word on: an address, or a NumPy array in the simulator."""
    if SIMULATED:
        part = scratch_memory[words : len(scratch_memory) // 2 * 2]
        return part.view(np.int64) if len(part) else np.zeros(1, np.int64)
    return scratch_memory + 4 * words


def launch_forward(
    *,
    scores: Any,
    dtype: str,
    stride_t: int,
    stride_n: int,
    labels: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    frames: int,
    samples: int,
    classes: int,
    longest: int,
    from_logits: bool,
    need_gamma: bool,
    losses: Any,
    peaks: Any,
    normalisers: Any,
    gamma: Any,
    links: Any,
    status: Any,
    scratch_memory: Any,
    device: int,
    stream: int,
) -> None:
    """Losses, and γ if needed. Arrays are device addresses (flat NumPy arrays in the simulator); shapes above."""
    if samples == 0:
        return
    shapes, parts = plan(frames, samples, longest), scratch(frames, samples, longest)
    problem = (labels, input_lengths, target_lengths, blank, frames, samples, classes, longest, int(from_logits))
    emissions = _part(scratch_memory, parts.emissions)
    blanks, tokens = _part(scratch_memory, parts.blanks), _part(scratch_memory, parts.tokens)
    column = _part(scratch_memory, parts.column)
    with _device(device):
        if frames:
            _launch(
                "frames", dtype, shapes.rows, device, stream,
                scores, stride_t, stride_n, *problem, peaks, normalisers, links, emissions,
            )  # fmt: skip
        _launch(
            f"recursion_in_{shapes.where}", "float32", shapes.recursion,
            device, stream,
            emissions, *problem, int(need_gamma), peaks, losses, gamma, status, blanks, tokens, column,
        )  # fmt: skip


def launch_gradient(
    *,
    scores: Any,
    dtype: str,
    stride_t: int,
    stride_n: int,
    labels: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    frames: int,
    samples: int,
    classes: int,
    longest: int,
    from_logits: bool,
    zero_infinity: bool,
    losses: Any,
    peaks: Any,
    normalisers: Any,
    gamma: Any,
    links: Any,
    dloss: Any,
    dscores: Any,
    device: int,
    stream: int,
) -> None:
    """The gradient of the scores, from what :func:`launch_forward` left with ``need_gamma``."""
    if frames * samples == 0:
        return
    problem = (labels, input_lengths, target_lengths, blank, frames, samples, classes, longest, int(from_logits))
    with _device(device):
        _launch(
            "gradient", dtype, plan(frames, samples, longest).rows, device, stream,
            scores, stride_t, stride_n, *problem, int(zero_infinity),
            losses, peaks, normalisers, gamma, links, dloss, dscores,
        )  # fmt: skip
