"""The CTC loss on the CPU, and its gradient: the kernels that the library calls.

    loss = −ln p(target)            ∂loss/∂logits[t, k] = y[t, k] − γ[t, k],   ∂loss/∂log_probs[t, k] = −γ[t, k]

Four samples make a group, which one worker takes from end to end:

    scores [T, N, K] ──gather──▶ emissions of blank and labels ──lattice──▶ losses [N], γ of blank and labels
                        └──────▶ gradient [T, N, K] without γ ──────────────────────▶ finished

Each score is read once and each gradient written once, in the forward pass, for a dloss of 1; the backward pass
multiplies it. γ is not kept, unless it is asked for.

``ctc_cpu_frames`` gathers, ``ctc_cpu_lattice`` runs the recursion without a logarithm, and ``ctc_cpu_log_space`` takes
over for a sample whose probabilities leave float64's range. Where there are fewer groups than workers, all workers read
frames first, and the lattices run after. ``ctc_cpu_problem`` has the arguments and the layout of memory.

Every sum has one order, whatever the number of threads: results repeat bit by bit.

Source: Graves, Fernández, Gomez and Schmidhuber, *Connectionist Temporal Classification*, ICML 2006, section 4.
"""

import numpy as np
from numba import prange

from minicrnn_kernels.compiling import inner_function, parallel_kernel
from minicrnn_kernels.ctc_cpu_frames import fill_lane, finish_row, gather, weight_of
from minicrnn_kernels.ctc_cpu_lattice import run_backward, run_forward
from minicrnn_kernels.ctc_cpu_log_space import log_space_likelihood
from minicrnn_kernels.ctc_cpu_problem import LANES, call_of, plan_of, problem_of, scratch_of


@parallel_kernel
def forward(packed, like):
    """Fill losses, and gradient and γ where they are wanted -> Σ weight · loss.

    packed: a :class:`~minicrnn_kernels.ctc_cpu_problem.Call` in an array; like: a number of the type of the scores.
    A loss is NaN where a frame means nothing (NaN, +∞, or no logit but −∞), and ∞ where no path fits; γ is undefined
    there. The total is NaN, and nothing is run, if a label or a length is out of range. With zero_infinity the total
    leaves infinite losses out; ``losses`` hold them. The mean of no samples is NaN.
    """
    workers, phase, scratch = _begin(packed, like)
    if workers == 0:
        return np.nan
    while phase < 2:
        if workers == 1:  # starting threads, even one, takes as long as a sample
            _work(np.int64(phase), np.int64(0), packed, scratch, like)
        else:
            for worker in prange(workers):
                _work(np.int64(phase), np.int64(worker), packed, scratch, like)
        phase += 1
    return _total(packed, scratch, like)


# Beside a prange, Numba takes writes through pointers for dead code: they are in functions of their own.
@inner_function
def _begin(packed, like):
    """-> workers, 0 if labels or lengths are out of range; the first phase; scratch memory."""
    call = call_of(packed)
    plan = plan_of(call)
    scratch = np.empty(plan.workers * plan.a_worker + plan.shared)
    problem = problem_of(call, plan, scratch, like)
    if not _in_range(problem):
        return 0, 0, scratch
    return plan.workers, 0 if plan.share_frames else 1, scratch


@inner_function
def _total(packed, scratch, like):
    """scratch: so that it is there until now."""
    call = call_of(packed)
    problem = problem_of(call, plan_of(call), scratch, like)
    total = np.nan if call.mean and call.samples == 0 else 0.0
    for n in range(call.samples):
        if not (call.zero_infinity and problem.losses[n] == np.inf):
            total += weight_of(problem, n) * problem.losses[n]
    return total


@inner_function
def _in_range(problem):
    call = problem.call
    for n in range(call.samples):
        length = problem.target_lengths[n]
        if not (0 <= problem.input_lengths[n] <= call.frames and 0 <= length <= call.longest):
            return False
        for j in range(length):
            label = problem.labels[n * call.longest + j]
            if not 0 <= label < call.classes or label == call.blank:
                return False
    return True


@inner_function
def _work(phase, worker, packed, memory, like):
    """Every so many tasks of frames, or every so many groups."""
    call = call_of(packed)
    plan = plan_of(call)
    problem, scratch = problem_of(call, plan, memory, like), scratch_of(call, plan, memory, worker, like)
    if phase == 0:
        for item in range(worker, call.samples * problem.tasks, plan.workers):
            n = item // problem.tasks
            problem.offsets[item] = gather(problem, n, item % problem.tasks, n // LANES, scratch.powers)
        return
    groups = (call.samples + LANES - 1) // LANES
    for group in range(worker * groups // plan.workers, (worker + 1) * groups // plan.workers):
        slot = group if plan.share_frames else worker
        if not plan.share_frames:
            for n in range(group * LANES, min(call.samples, (group + 1) * LANES)):
                for task in range(problem.tasks):
                    problem.offsets[n * problem.tasks + task] = gather(problem, n, task, slot, scratch.powers)
        _run_group(problem, group, slot, scratch)


@inner_function
def _run_group(problem, group, slot, scratch):
    call, first = problem.call, group * LANES
    end = min(call.samples, first + LANES)
    frames, longest = np.int64(0), np.int64(0)
    for n in range(first, end):
        frames, longest = max(frames, problem.input_lengths[n]), max(longest, problem.target_lengths[n])
    for lane in range(LANES):
        n = first + lane
        scratch.lengths[lane] = problem.target_lengths[n] if n < end else 0
        for j in range(longest + 1):
            at, skip = n * call.longest + j, 0.0
            if 0 < j < scratch.lengths[lane] and problem.labels[at] != problem.labels[at - 1]:
                skip = 1.0
            scratch.skip[(j + 1) * LANES + lane] = skip
        own = problem.input_lengths[n] if n < end else 0
        fill_lane(problem, slot, lane, own, frames, scratch.lengths[lane], longest)
    start = slot * call.frames * problem.places
    run_forward(frames, longest, problem.emissions, start, problem.places, scratch)
    gamma, kept = scratch.gamma, 0
    if call.gamma != 0:
        gamma, kept = problem.gamma, group * call.frames * problem.places
    run_backward(frames, longest, problem.emissions, start, problem.places, scratch, gamma, kept)
    for n in range(first, end):
        offset = 0.0
        for task in range(problem.tasks):
            offset += problem.offsets[n * problem.tasks + task]
        problem.losses[n] = offset - scratch.log_likelihoods[n - first]
        if not scratch.sound[n - first] and not np.isnan(offset):
            problem.losses[n] = -log_space_likelihood(problem, n, slot, gamma, kept)
        if call.gradient != 0:
            for t in range(call.frames):
                finish_row(problem, n, t, gamma, kept + t * problem.places + n - first)


@parallel_kernel
def multiply(gradient, factors):
    """gradient [T, N, K] · factors [N or 1], in place. A zero stays: it may be of a frame that does not count."""
    T, N, K = gradient.shape
    for t in prange(T):
        for n in range(N):
            row, factor = gradient[t, n], factors[n % factors.size]
            for k in range(K):
                row[k] = row[k] * factor if row[k] != 0 else row[k]
