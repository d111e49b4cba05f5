"""The CTC forward and backward variables, for a whole batch at once.

    α_t(s) = y_t(s) · (α_{t−1}(s) + α_{t−1}(s−1) + [s is a label that differs from state s−2] α_{t−1}(s−2))

over the S = 2L+1 states blank, label, blank, ..., blank; Σ over the paths is p(l). N samples and all states
advance together; Python loops over T alone. Six things make it short:

- Blanks and labels are kept apart, b_j (j = 0..L) and l_j, paired as (l_{j−1}, b_j). A blank is entered from
  itself or from the label on its left, e_j = b_j + l_{j−1}; a label from itself or from what just entered the
  blank on its left: b_j' = y_blank · e_j and l_j' = y_j · (l_j + (b_j if l_j repeats l_{j−1}, else e_j)).
- A start state before the first frame, b_0 = 1, makes the first frame a frame like any other.
- β is the α of the reversed problem: read frames and labels backwards, and "from s to the end" becomes "from
  the start to s". Both run in the same loop as a batch of 2N, which halves the number of operations.
- A frame beyond a sample's length is taken to be blank for certain. That changes no probability: at the end
  α gathers in the last blank, and in the reversed problem the start state waits. So one flip reverses every
  sample, whatever its length.
- The reversed targets are flipped with their padding, and start at the blank just behind it.
- Emissions are taken relative to the largest score of their frame. Common factors cancel in γ, and the loss
  adds them again at the end.

Probabilities are kept as logarithms in float64. In float32 the errors of T additions reach 1e-3 in γ at
T = 512, and more when scores are large: log α grows with T while only its differences matter. The states are
few beside the T·N·K scores, so that float64 costs little. Apple's mps has no float64 and gets float32; γ is
normalised at each frame, where most of that error is common and cancels.

Source: Graves et al., *Connectionist Temporal Classification*, ICML 2006, section 4.1.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from minicrnn.ctc.targets import CTCTargets, Lengths, checked_peaks, frames_that_count, prepare, repeats


class Lattice(NamedTuple):
    """Logarithms of α and β, both with the emission of their own frame, and of p(l).

    Entry t of ``blanks`` and ``labels`` is the state before frame t; entry T is the state after the last.
    Pair j is (l_{j−1}, b_j); there is no l_{−1}, whose place holds −∞. The first N samples are α, the last N
    the α of the reversed problem; without β, the first N stand alone.
    """

    blanks: Tensor  # [T+1, L+1, 2N]
    labels: Tensor  # [T+1, L+1, 2N]
    blank_emissions: Tensor  # [T, 1, N]
    label_emissions: Tensor  # [T, L, N]
    log_likelihood: Tensor  # [N]


def working_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def run_lattice(scores: Tensor, peaks: Tensor, targets: CTCTargets, *, with_beta: bool) -> Lattice:
    """Run α, and β beside it if asked. scores: [T, N, K]; peaks: [T, N], a value taken off each frame."""
    T, N, _ = scores.shape
    L = targets.labels.shape[1]
    blank_emissions, label_emissions = _emissions(scores, peaks, targets)
    first = torch.zeros_like(targets.target_lengths)
    if with_beta:
        labels = torch.cat((targets.labels, targets.labels.flip(1)))
        blank_steps = torch.cat((blank_emissions, blank_emissions.flip(0)), 2)
        label_steps = torch.cat((label_emissions, label_emissions.flip(0, 1)), 2)
        start = torch.cat((first, L - targets.target_lengths))
    else:
        labels, blank_steps, label_steps, start = targets.labels, blank_emissions, label_emissions, first
    blanks, label_states = _recursion(blank_steps, label_steps, repeats(labels).mT.contiguous(), start)
    end = targets.target_lengths, torch.arange(N, device=scores.device)
    log_likelihood = torch.logaddexp(blanks[T][end], label_states[T][end])
    return Lattice(blanks, label_states, blank_emissions, label_emissions, log_likelihood)


def _emissions(scores: Tensor, peaks: Tensor, targets: CTCTargets) -> tuple[Tensor, Tensor]:
    """Log emissions relative to the peaks, of the blank [T, 1, N] and of each label [T, L, N].

    Beyond a sample's length the blank is certain; beyond a target's length no label is possible.
    """
    T, N, _ = scores.shape
    L = targets.labels.shape[1]
    dtype = working_dtype(scores.device)
    counts = frames_that_count(T, targets.input_lengths)[:, None]  # [T, 1, N]
    inside = torch.arange(L, device=scores.device)[:, None] < targets.target_lengths  # [L, N]
    base = peaks.to(dtype)[:, None]
    blank = scores[:, :, targets.blank].to(dtype)[:, None] - base
    columns = targets.labels.mT.expand(T, L, N)
    label = scores.mT.gather(1, columns).to(dtype) - base
    return torch.where(counts, blank, 0.0), torch.where(counts & inside, label, -torch.inf)


def _recursion(blank_steps: Tensor, label_steps: Tensor, repeated: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Run the pairs through T frames; all in logarithms, where Π is + and Σ is logaddexp.

    blank_steps: [T, 1, M]; label_steps: [T, L, M]; repeated: [L, M]; start: [M], the blank to start in
    -> blanks, labels: [T+1, L+1, M]. ``torch.logaddexp`` of two −∞ is −∞, not NaN.
    """
    T, L, M = label_steps.shape
    blanks = label_steps.new_full((T + 1, L + 1, M), -torch.inf)
    labels = torch.full_like(blanks, -torch.inf)
    blanks[0].scatter_(0, start[None], 0.0)
    entered, through = blanks.new_empty(L + 1, M), blanks.new_empty(L, M)
    # Views are taken before the loop: making them inside would take as long as the arithmetic.
    b, l_left = blanks.unbind(), labels.unbind()
    b_left, l_here = blanks[:, :-1].unbind(), labels[:, 1:].unbind()
    y_blank, y_label = blank_steps.unbind(), label_steps.unbind()
    entered_left = entered[:-1]
    for t in range(T):
        torch.logaddexp(b[t], l_left[t], out=entered)
        torch.add(entered, y_blank[t], out=b[t + 1])
        torch.where(repeated, b_left[t], entered_left, out=through)
        torch.logaddexp(l_here[t], through, out=through)
        torch.add(through, y_label[t], out=l_here[t + 1])
    return blanks, labels


def occupancy(lattice: Lattice) -> tuple[Tensor, Tensor]:
    """γ of the blank [T, N] (summed over its L+1 states) and of each label [T, L, N].

    γ_t(s) = α_t(s) β_t(s) / (y_t(s) p(l)); α and β both hold the emission, hence the division. Σ_s γ_t(s)
    is 1; dividing by the sum as computed takes off the error that the frame's states have in common.
    Not-a-number where p(l) = 0; meaningless beyond a sample's length.
    """
    N = len(lattice.log_likelihood)
    # b_j is reached in reverse as b_{L−j}, and l_j as l_{L−1−j}, at the reversed time: flips do it.
    label = _log_product(lattice.labels[1:, 1:], lattice.label_emissions, N)
    blank = _log_product(lattice.blanks[1:], lattice.blank_emissions, N)
    label = label.sub_(lattice.log_likelihood).exp_()
    total_blank = blank.sub_(lattice.log_likelihood).exp_().sum(1)
    total = total_blank + label.sum(1)
    return total_blank / total, label.div_(total[:, None])


def _log_product(states: Tensor, emissions: Tensor, N: int) -> Tensor:
    """log α + log β − log y. An emission of −∞ is made finite: −∞ − (−∞) would be NaN where 0 is meant."""
    finite = emissions.clamp(min=torch.finfo(emissions.dtype).min)
    return states[..., :N] + states[..., N:].flip(0, 1) - finite


def alpha_beta(
    log_probs: Float[Tensor, "T *batch K"],
    targets: Shaped[Tensor, "*targets"],
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
) -> tuple[Float[Tensor, "T N S"], Float[Tensor, "T N S"]]:
    """log α and log β in the paper's form, for tests, pictures and tutorials: the loss does not need them.

        α_t(s) = P(frames 0..t are emitted, and frame t is in state s)
        β_t(s) = P(frames t..T−1 are emitted and spell the rest, given that frame t is in state s)

    Both hold the emission of frame t. Shapes: log_probs [T, N, K] or [T, K] -> two of [T, N, 2L+1], −∞ beyond
    a sample's frames and states, float64 (float32 on mps).

    Raises:
        ValueError: as :func:`minicrnn.ctc.ctc_loss` does.

    Source: Graves et al. 2006, section 4.1.

    >>> uniform = torch.full((2, 2), 0.5).log()  # two frames; a blank and a label
    >>> alpha, beta = alpha_beta(uniform, torch.tensor([1]), 2, 1)
    >>> alpha.exp()[:, 0]
    tensor([[0.5000, 0.5000, 0.0000],
            [0.2500, 0.5000, 0.2500]], dtype=torch.float64)
    >>> beta.exp()[:, 0]
    tensor([[0.2500, 0.5000, 0.2500],
            [0.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    scores, prepared = prepare(log_probs.detach(), targets, input_lengths, target_lengths, blank)
    checked_peaks(scores, prepared.input_lengths, allow_empty_frames=True)
    T, N, _ = scores.shape
    L = prepared.labels.shape[1]
    lattice = run_lattice(scores, scores.new_zeros(T, N), prepared, with_beta=True)
    states = lattice.blanks.new_empty(T, 2 * L + 1, 2 * N)
    states[:, 0::2] = lattice.blanks[1:]
    states[:, 1::2] = lattice.labels[1:, 1:]
    counts = frames_that_count(T, prepared.input_lengths)[:, None]
    inside = torch.arange(2 * L + 1, device=scores.device)[:, None] <= 2 * prepared.target_lengths
    alpha = torch.where(counts & inside, states[..., :N], -torch.inf)
    beta = torch.where(counts & inside, states[..., N:].flip(0, 1), -torch.inf)
    return alpha.mT, beta.mT
