"""Forced alignment: against the best of all paths, and against what an alignment must be."""

import itertools
import math

import pytest
import torch
from hypothesis import given

from minicrnn.ctc import ctc_loss, forced_align
from minicrnn.naive import ctc as naive
from minicrnn.naive import ctc_decoding
from minicrnn.shapes import Window, receptive_field
from tests.ctc.problems import normal, padded, problems


@pytest.fixture(autouse=True, scope="module")
def level():
    """One level: the alignment has only its kernel beside the naive one."""


@given(problems(max_T=6))
def test_equals_the_best_of_all_paths(problem):
    alignment = forced_align(problem.log_probs, *problem.arguments, allow_infeasible=True)
    assert len(alignment) == len(problem.frames)
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        rows = problem.log_probs[:frames, n].tolist()
        scores = [
            sum(row[k] for row, k in zip(rows, path, strict=True))
            for path in itertools.product(range(problem.logits.shape[2]), repeat=frames)
            if naive.collapse(path, problem.blank) == text
        ]
        assert alignment.scores[n].item() == pytest.approx(max(scores, default=-math.inf), abs=1e-10)
        check_sample(alignment, n, text, rows, problem.blank)


@given(problems(min_T=8, max_T=40, max_K=6, feasible=True))
def test_longer_samples_equal_naive(problem):
    alignment = forced_align(problem.log_probs, *problem.arguments)
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        log_probs = problem.log_probs[:frames, n].numpy()
        score, path = ctc_decoding.best_path(log_probs, text, problem.blank)
        assert alignment.scores[n].item() == pytest.approx(score, abs=1e-10)
        assert alignment.paths[:frames, n].tolist() == path
        check_sample(alignment, n, text, log_probs.tolist(), problem.blank)


def check_sample(alignment, n, text, rows, blank):
    """The path spells the text and has the score; spans, scores and probabilities are those of its runs."""
    path = alignment.paths[: len(rows), n].tolist()
    assert (alignment.paths[len(rows) :, n] == -1).all()
    if alignment.scores[n] == -math.inf:
        assert alignment[n] == []
        assert path == [-1] * len(rows)
        assert (alignment.spans[n] == -1).all()
        return
    assert naive.collapse(path, blank) == text
    assert sum(row[k] for row, k in zip(rows, path, strict=True)) == pytest.approx(alignment.scores[n].item(), abs=1e-9)
    assert [one.label for one in alignment[n]] == text
    assert (alignment.labels[n, len(text) :] == blank).all()
    runs = [(k, list(run)) for k, run in itertools.groupby(range(len(path)), key=path.__getitem__)]
    assert [(one.start, one.end) for one in alignment[n]] == [(r[0], r[-1] + 1) for k, r in runs if k != blank]
    for one in alignment[n]:
        span = [rows[t][one.label] for t in range(one.start, one.end)]
        assert one.log_score == pytest.approx(sum(span), abs=1e-10)
        assert one.probability == pytest.approx(sum(map(math.exp, span)) / len(span), abs=1e-10)
        assert one.pixels is None


@given(problems(max_T=12, max_K=5, feasible=True))
def test_one_path_is_less_probable_than_all(problem):
    alignment = forced_align(problem.log_probs, *problem.arguments)
    losses = ctc_loss(problem.log_probs, *problem.arguments, reduction="none")
    assert (alignment.scores <= -losses + 1e-9).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_are_read_exactly(dtype):
    log_probs = normal(9, 2, 4).log_softmax(2).to(dtype)
    arguments = torch.tensor([[1, 2, 2], [3, 1, 0]]), [9, 7], [3, 2]
    ours, wide = forced_align(log_probs, *arguments), forced_align(log_probs.double(), *arguments)
    assert torch.equal(ours.paths, wide.paths)
    torch.testing.assert_close(ours.scores, wide.scores, atol=1e-12, rtol=0)


def test_a_sample_without_its_batch_dimension_and_concatenated_targets():
    log_probs = normal(9, 2, 4).log_softmax(2)
    both = forced_align(log_probs, torch.tensor([1, 2, 3]), [9, 9], [1, 2])
    assert forced_align(log_probs[:, 1], torch.tensor([2, 3]), 9, 2)[0] == both[1]


@pytest.mark.parametrize("N", [7, 301])  # few samples are left to one thread
def test_results_do_not_depend_on_threads(threads, N):
    log_probs, texts = normal(20, N, 5).log_softmax(2), [[1, 1, 2]] * (N - 1) + [[4]]
    together = forced_align(log_probs, padded(texts, 0), [20] * N, [len(text) for text in texts])
    for n in (0, 1, N // 2, N - 2, N - 1):
        assert forced_align(log_probs[:, n], torch.tensor(texts[n]), 20, len(texts[n]))[0] == together[n]


def test_too_few_frames_name_the_sample():
    with pytest.raises(ValueError, match=r"sample 1: no path spells the target: it needs 4 frames and has 3"):
        forced_align(torch.zeros(3, 2, 3), torch.tensor([[1, 2, 0], [1, 1, 2]]), [3, 3], [2, 3])


def test_probability_zero_names_the_sample():
    log_probs = torch.zeros(3, 2, 3)
    log_probs[:, 1, 2] = -torch.inf
    with pytest.raises(ValueError, match=r"sample 1: no path spells the target: every path has probability zero"):
        forced_align(log_probs, torch.tensor([[2], [2]]), [3, 3], [1, 1])


@pytest.mark.parametrize(("T", "N", "K", "L"), [(0, 2, 3, 0), (4, 0, 3, 2), (4, 2, 3, 0), (4, 2, 1, 0), (0, 0, 1, 0)])
def test_nothing_to_align(T, N, K, L):
    alignment = forced_align(torch.zeros(T, N, K), torch.ones(N, L, dtype=torch.int64), [T] * N, [L] * N)
    assert alignment.paths.tolist() == [[0] * N] * T
    assert [alignment[n] for n in range(N)] == [[]] * N
    assert alignment.scores.tolist() == [0.0] * N


def test_nan_and_infinity_name_the_sample():
    log_probs = torch.zeros(4, 2, 3)
    log_probs[2, 1, 0] = math.nan
    with pytest.raises(ValueError, match=r"sample 1: the scores of frame 2 hold NaN or \+inf"):
        forced_align(log_probs, torch.tensor([[1], [1]]), [4, 4], [1, 1])


@pytest.mark.parametrize("frames", [(0, 1), (3, 5)])
def test_pixels_lie_around_the_centres_of_the_frames(frames):
    """Two pools by 2: frame t is centred at 4t + 1.5, and four pixels are its own."""
    field = receptive_field([Window(2, stride=2), Window(2, stride=2)])
    path = torch.zeros(6, dtype=torch.int64)
    path[slice(*frames)] = 1
    log_probs = torch.full((6, 1, 2), 0.1).scatter(2, path[:, None, None], 0.9).log()
    alignment = forced_align(log_probs, torch.tensor([1]), 6, 1, fields=field)
    assert alignment[0][0].pixels == (4 * frames[0] - 0.5, 4 * frames[1] - 0.5)
    missing = forced_align(log_probs, torch.tensor([1]), 0, 1, fields=field, allow_infeasible=True)
    assert missing.pixels.isnan().all()


@given(problems(max_T=12, max_K=3, feasible=True))
def test_of_equal_paths_the_naive_one_is_taken(problem):
    """It stays where it can, passes a blank rather than skips it, and ends in the label."""
    scores = problem.log_probs.round().clamp(-2)
    paths = forced_align(scores, *problem.arguments).paths
    for n, (text, frames) in enumerate(zip(problem.texts, problem.frames, strict=True)):
        assert paths[:frames, n].tolist() == ctc_decoding.best_path(scores[:frames, n].numpy(), text, problem.blank)[1]


def test_a_long_text_beside_many_frames():
    """More than is kept at once: the path spells the text, and cannot be made better by moving a label by a frame."""
    T, K = 1500, 30
    log_probs = normal(T, 1, K).log_softmax(2)
    text = [1 + (7 * j) % (K - 1) for j in range(900)]
    alignment = forced_align(log_probs, torch.tensor([text]), [T], [len(text)])
    path = alignment.paths[:, 0]
    check_sample(alignment, 0, text, log_probs[:, 0].double().tolist(), 0)
    values = log_probs[:, 0].double()
    for t in range(1, T):
        for moved in (path[t - 1], path[t + 1] if t + 1 < T else path[t]):
            other = path.clone()
            other[t] = moved
            if naive.collapse(other.tolist(), 0) == text:
                assert values[t, moved] <= values[t, path[t]]


# Tensors of int64 are not looked at before the kernel: it must find what is wrong itself.
@pytest.mark.parametrize(
    ("targets", "frames", "lengths", "message"),
    [
        ([[1, 1], [2, 3]], [4, 4], [2, 2], "sample 1: label 3 at position 1 is out of range"),
        ([[1, 1], [-1, 2]], [4, 4], [2, 2], "sample 1: label -1 at position 0 is out of range"),
        ([[1, 1], [2, 0]], [4, 4], [2, 2], "sample 1: label 0 at position 1 is the blank"),
        ([[1, 1], [2, 1]], [4, 5], [2, 2], "sample 1: input_lengths is 5"),
        ([[1, 1], [2, 1]], [-1, 4], [2, 2], "sample 0: input_lengths is -1"),
        ([[1, 1], [2, 1]], [4, 4], [3, 2], "sample 0: target_lengths is 3"),
        ([[1, 1], [2, 1]], [4, 4], [-1, 2], "sample 0: target_lengths is -1"),
        ([[1, 1], [2, 1]], [4, 4], [2, 2**40], f"sample 1: target_lengths is {2**40}"),
    ],
)
def test_what_the_kernel_finds_is_said(targets, frames, lengths, message):
    with pytest.raises(ValueError, match=message):
        forced_align(torch.zeros(4, 2, 3), *map(torch.tensor, (targets, frames, lengths)))


def test_targets_may_hold_anything_beyond_their_length_and_are_not_kept():
    targets = torch.tensor([[1, 99, -7, 0], [2, 1, 5, 5]])
    alignment = forced_align(torch.zeros(4, 2, 3), targets, torch.tensor([4, 4]), torch.tensor([1, 2]))
    targets.zero_()
    assert alignment.labels.tolist() == [[1, 0], [2, 1]]
    assert [len(alignment[n]) for n in range(2)] == [1, 2]
