"""The fast CTC loss on a GPU: three kernels, and how they are launched.

    scores [T, N, K] ──▶ frames ──▶ emissions [N, T, L+1] ──▶ recursion ──▶ losses [N], γ [N, T, L+1]
                            │          peaks, normalisers [T, N] │
                            └────────────────────┬───────────────┘
                            scores, dloss ──▶ gradient ──▶ dscores [T, N, K]

- ``ctc_cuda_frames``: a warp per frame reads the K scores once, finds their peak and the sum of the softmax, and
  gathers the few emissions that the target needs.
- ``ctc_cuda_recursion``: a block per sample. Its K is gone; what is left is latency. α and β run at the same time and
  meet in the middle (``ctc_cuda_sweep``); a lane holds a blank and a label (``ctc_cuda_pair``), so that a frame costs
  two shuffles; a long target is shared by several warps (``ctc_cuda_warps``):

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

**Limit.** A sample's scratch memory is indexed with 32 bits: T · (3L + 5) < 2^31, L the longest target's length. A
larger problem is refused by :func:`plan`, with a ValueError.

Arrays: ``ctc_cuda_arguments`` lists them; beside these, status [N, 2] int32, dloss [N] float32, and dscores [T, N, K]
of the scores' type.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006, section 4.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda

from minicrnn_kernels.ctc_cuda_arguments import Problem, Saved, Scores, Scratch, signature_of
from minicrnn_kernels.ctc_cuda_arithmetic import SIMULATED
from minicrnn_kernels.ctc_cuda_frames import frames_kernel
from minicrnn_kernels.ctc_cuda_gradient import gradient_kernel
from minicrnn_kernels.ctc_cuda_recursion import recursion_kernel
from minicrnn_kernels.ctc_cuda_warps import SHARED_PER_BLOCK, SHARED_PER_WARP

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
MOST_WORDS = 2**31 - 1  # of a sample's scratch memory


class Launch(NamedTuple):
    """Shape of a launch: blocks, threads of a block, bytes of dynamic shared memory."""

    grid: tuple[int, int]
    threads: int
    shared: int


class Plan(NamedTuple):
    """How a problem of known size runs."""

    rows: Launch  # the frames and the gradient kernel
    recursion: Launch
    where: str  # the stored halves of α and β: "shared" or "scratch" memory
    scratch: int  # words of 64 bits for each sample


def plan(frames: int, samples: int, longest: int) -> Plan:
    """Launch shapes and memory from the sizes alone: what the lengths are is known on the device only.

    Raises:
        ValueError: a sample is too large for 32-bit offsets.

    >>> plan(frames=24, samples=64, longest=8).recursion
    Launch(grid=(64, 1), threads=64, shared=6608)
    """
    rows = min(ROWS_PER_BLOCK, max(samples, 1))
    blocks_y = min(-(-samples // rows), MOST_BLOCKS_Y)
    strips = -(-(longest + 1) // 32)
    warps = 2 * min(strips, MOST_WARPS)
    edges = 8 * (SHARED_PER_BLOCK + warps * SHARED_PER_WARP)
    halves = 2 * frames * (longest + 1)
    where = "shared" if edges + 8 * halves <= SHARED_LIMIT else "scratch"
    scratch = frames * (longest + 3) + (halves if where == "scratch" else 0)
    if scratch > MOST_WORDS:
        raise ValueError(
            f"{frames} frames and targets of up to {longest} labels are too many for the CUDA kernels, which count in "
            f"32 bits: frames · (3 · labels + 5) must be below 2^31; shorten them, or take use_backend('torch')"
        )
    return Plan(
        Launch((frames, blocks_y), 32 * rows, 0),
        Launch((samples, 1), 32 * warps, edges + (8 * halves if where == "shared" else 0)),
        where,
        scratch,
    )


# Threads of the largest block of each kernel, told to the compiler: 65,536 registers must do for all of them.
LARGEST_BLOCK = {"frames": 32 * ROWS_PER_BLOCK, "gradient": 32 * ROWS_PER_BLOCK, "recursion": 64 * MOST_WARPS}
KERNELS: dict[str, Callable[[str], Callable[..., Any]]] = {
    "frames": frames_kernel,
    "gradient": gradient_kernel,
    "recursion": recursion_kernel,
}


@functools.cache
def _compiled(name: str, variant: str, device: int) -> Any:
    """A kernel, for a dtype of scores or a place of the stored halves, compiled for a device whose context is current.

    Without link-time optimisation, on where nvJitLink is installed: it would give other code than was checked.
    """
    function = KERNELS[name](variant)
    if SIMULATED:
        return cuda.jit(function)
    options = {"launch_bounds": LARGEST_BLOCK[name], "lto": False}
    return cuda.jit(signature_of(name, variant), **options)(function)


@functools.lru_cache(maxsize=1024)
def _configured(name: str, variant: str, shape: Launch, device: int, stream: int) -> Callable[..., None]:
    """A kernel with its launch shape and stream: what is left is to pass the arguments."""
    on = cuda.external_stream(stream) if stream and not SIMULATED else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that small grids leave a large GPU idle
        configured: Callable[..., None] = _compiled(name, variant, device)[shape.grid, shape.threads, on, shape.shared]
    return configured


def _launch(name: str, variant: str, shape: Launch, device: int, stream: int, *arguments: Any) -> None:
    if SIMULATED:  # one object is all configurations of a simulated kernel, so that none can be kept
        _compiled(name, variant, device)[shape.grid, shape.threads, 0, shape.shared](*arguments)
    else:
        _configured(name, variant, shape, device, stream)(*arguments)


def _device(device: int) -> contextlib.AbstractContextManager[Any]:
    """Make the device's context the current one: a thread's may be another's, or none (autograd's threads)."""
    return contextlib.nullcontext() if SIMULATED else cuda.gpus[device]


def compile_for(device: int) -> None:
    """Compile and load what a float32 loss needs first, or raise what stands in the way on this device."""
    with _device(device):
        _compiled("frames", "float32", device)
        _compiled("recursion", "shared", device)


def launch_forward(
    scores: Scores,
    dtype: str,
    problem: Problem,
    saved: Saved,
    status: Any,
    scratch_words: Any,
    *,
    need_gradient: bool,
    device: int,
    stream: int,
) -> None:
    """Losses, and γ if a gradient is needed. Arrays are device addresses, in the simulator flat NumPy arrays.

    Scratch memory is as long as :func:`plan` says, for each sample.
    """
    if problem.samples == 0:
        return
    shapes = plan(problem.frames, problem.samples, problem.longest)
    needed, scratch = int(need_gradient), Scratch(scratch_words, shapes.scratch)
    with _device(device):
        if problem.frames > 0:
            _launch("frames", dtype, shapes.rows, device, stream, scores, problem, needed, saved, scratch)
        _launch("recursion", shapes.where, shapes.recursion, device, stream, problem, needed, saved, status, scratch)


def launch_gradient(
    scores: Scores,
    dtype: str,
    problem: Problem,
    saved: Saved,
    dloss: Any,
    dscores: Any,
    *,
    zero_infinity: bool,
    device: int,
    stream: int,
) -> None:
    """The gradient of the scores, from what :func:`launch_forward` saved with ``need_gradient``."""
    if problem.frames * problem.samples == 0:
        return
    shape = plan(problem.frames, problem.samples, problem.longest).rows
    with _device(device):
        _launch("gradient", dtype, shape, device, stream, scores, problem, int(zero_infinity), saved, dloss, dscores)
