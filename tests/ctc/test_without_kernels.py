"""Decoders without kernels: the same results as with them; in forked processes; of tensors on other devices."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minicrnn import use_backend
from minicrnn.ctc import Lexicon, NGramModel, beam_search, forced_align, greedy_decode, score
from minicrnn.ctc.without_kernels import edit_distances
from minicrnn.naive.edit_distance import edit_distance
from minicrnn.text import Alphabet
from minicrnn.transcription.options import automaton_of
from tests.ctc.problems import problems

ALPHABET = Alphabet("ab ")
WORDS = ["a", "ab", "b a", "bb", "abab"]
CHARACTERS = NGramModel.train(["abab", "b a", "ab"], 2)
OF_WORDS = NGramModel.train(["a b", "ab a", "b"], 2, unit="word")
WIDE = 2000


@pytest.fixture(autouse=True, scope="module")
def level():
    """Both levels are called side by side."""


def emissions(seed, frames=5, samples=2, classes=4):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, samples, classes, generator=generator, dtype=torch.float64)).log_softmax(2)


def both(function):
    results = []
    for name in ("torch", "numba"):
        with use_backend(name):
            results.append(function())
    return results


def same_hypotheses(ours, theirs):
    assert [len(some) for some in ours] == [len(some) for some in theirs]
    for one, other in zip((a for some in ours for a in some), (b for some in theirs for b in some), strict=True):
        assert (one.labels, one.spans) == (other.labels, other.spans)
        assert (one.score, one.log_prob) == pytest.approx((other.score, other.log_prob), abs=1e-5)  # float32 models
        assert one.confidences == pytest.approx(other.confidences)


@given(problems(max_T=5, max_K=3), st.integers(1, 4))
def test_beam_search(problem, top_n):
    def search():
        return beam_search(problem.log_probs, problem.input_lengths, WIDE, top_n, problem.blank)

    same_hypotheses(*both(search))


def test_a_text_too_improbable_for_a_float():
    """400 frames that know next to nothing of 40 classes."""
    log_probs = (emissions(5, frames=400, samples=1, classes=40) / 20).log_softmax(2)
    ours, theirs = both(lambda: beam_search(log_probs, None, 3, 3))
    assert ours[0][0].log_prob < math.log(sys.float_info.min)
    assert [one.labels for one in ours[0]] == [one.labels for one in theirs[0]]


@given(
    st.integers(0, 1000),
    st.sampled_from([None, CHARACTERS, OF_WORDS]),
    st.sampled_from([[], [[1, 2]], [[2], [1, 2, 1]]]),
    st.sampled_from([3, WIDE]),
)
def test_beam_search_with_a_model_and_hotwords(seed, model, hotwords, width):
    log_probs = emissions(seed, frames=4, samples=1)
    options = (
        {} if model is None else {"language_model": automaton_of(model, ALPHABET), "weight": 0.7, "word_bonus": 0.4}
    )

    def search():
        return beam_search(log_probs, None, width, 3, hotwords=hotwords, **options)

    same_hypotheses(*both(search))


def test_words_that_cannot_be_read():
    """Without <unk>, no word that is not in the list; in the middle of the search no beginning of none."""
    known = {ngram: p for ngram, p in OF_WORDS._log_probs.items() if "<unk>" not in ngram}
    graph = automaton_of(NGramModel(known, OF_WORDS._backoffs, "word"), ALPHABET)
    ours, theirs = both(lambda: beam_search(emissions(4), None, WIDE, WIDE, language_model=graph))
    same_hypotheses(ours, theirs)
    assert {word for some in ours for one in some for word in ALPHABET.decode(one.labels).split()} <= {"a", "b", "ab"}


def test_options_of_the_kernels():
    for option in ({"classes_per_frame": 2}, {"min_log_prob": -3.0}, {"beam_threshold": 2.0}):
        with use_backend("torch"), pytest.raises(NotImplementedError, match="options of the kernels"):
            beam_search(emissions(0), **option)


@given(problems(max_T=7, max_K=3))
def test_scores(problem):
    texts = [[], [1], [1, 1], [1, 2, 1]] if problem.blank == 0 and problem.logits.shape[2] == 3 else [[]]
    ours, theirs = both(lambda: score(problem.log_probs, texts, problem.input_lengths, problem.blank))
    assert np.allclose(np.array(ours), np.array(theirs))
    each = [texts[n % len(texts) :] for n in range(len(problem.frames))]
    if each:
        ours, theirs = both(lambda: score(problem.log_probs, each, problem.input_lengths, problem.blank))
        assert all(a == pytest.approx(b) for a, b in zip(ours, theirs, strict=True))


@given(problems(max_T=7, max_K=3, feasible=True))
def test_alignment(problem):
    ours, theirs = both(lambda: forced_align(problem.log_probs, *problem.arguments[:-1], problem.blank))
    torch.testing.assert_close(ours.scores, theirs.scores)
    for name in ("paths", "labels", "spans", "label_counts"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    torch.testing.assert_close(ours.log_scores, theirs.log_scores)
    torch.testing.assert_close(ours.probabilities, theirs.probabilities)


def test_an_alignment_that_is_impossible():
    arguments = emissions(0, frames=2), torch.tensor([[1, 1], [1, 2]]), [2, 2], [2, 2]
    ours, theirs = both(lambda: forced_align(*arguments, allow_infeasible=True))
    assert ours.scores.tolist() == pytest.approx(theirs.scores.tolist())
    assert ours.scores[0] == -math.inf
    assert torch.equal(ours.spans, theirs.spans)
    with use_backend("torch"), pytest.raises(ValueError, match="sample 0: no path spells the target: it needs 3"):
        forced_align(*arguments)


@given(st.integers(0, 1000), st.sampled_from(["trie", "bk-tree"]), st.integers(0, 3), st.integers(1, 5))
def test_lexicon(seed, method, delta, frames):
    lexicon, log_probs = Lexicon(WORDS, ALPHABET), emissions(seed)
    ours, theirs = both(lambda: lexicon.decode(log_probs, [5, frames], method=method, delta=delta, top_n=2))
    for one, other in zip(ours, theirs, strict=True):
        assert (one.method, one.too_long) == (other.method, other.too_long)
        assert [word.text for word in one.words] == [word.text for word in other.words]
        assert [word.log_prob for word in one.words] == pytest.approx([word.log_prob for word in other.words])
        assert [word.share for word in one.words] == pytest.approx([word.share for word in other.words], abs=0.05)


def test_words_within():
    lexicon = Lexicon([*WORDS, "baba", "aaaa b"], ALPHABET)
    for text in ("", "ab", "abba", "b aab"):
        for delta in (0, 1, 2, 9):
            assert (results := both(lambda text=text, delta=delta: lexicon.within(text, delta)))[0] == results[1]
    with use_backend("torch"), pytest.raises(ValueError, match="delta is 255"):
        lexicon.within("a", 255)


@given(st.lists(st.integers(1, 3), max_size=6), st.lists(st.lists(st.integers(1, 3), max_size=6), max_size=5))
def test_edit_distances(query, words):
    labels = np.array([label for word in words for label in word], np.int32)
    begin = np.cumsum([0, *map(len, words)], dtype=np.int64)
    assert edit_distances(query, labels, begin).tolist() == [edit_distance(query, word) for word in words]


IN_A_FORK = """
import os
import torch
import minicrnn as mc

alphabet = mc.Alphabet("ab")
log_probs = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0)).log_softmax(2)
lexicon = mc.Lexicon(["ab", "ba", "aab"], alphabet)

def decode():
    words = [lexicon.decode(log_probs, method=method)[0].text for method in ("trie", "bk-tree")]
    beam = [[one.labels for one in some] for some in mc.beam_search(log_probs, beam_width=50, top_n=3)]
    spans = mc.forced_align(log_probs, torch.tensor([[1, 2], [2, 1]]), [6, 6], [2, 2]).spans.tolist()
    return words, beam, spans, [[round(p, 6) for p in row] for row in mc.score(log_probs, [[1], [1, 2]])]

expected = decode()
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as a DataLoader's workers do: OpenMP's threads are the parent's
    os._exit(0 if decode() == expected else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fork is usual on Linux alone")
def test_in_a_forked_process():
    """Whose parent has run kernels: its OpenMP threads are gone, and a kernel would end it."""
    command = [sys.executable, "-W", "ignore", "-c", IN_A_FORK]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


class Elsewhere(torch.Tensor):
    """As a tensor on a GPU: what is computed from it stays there, and NumPy gets nothing but by way of the host."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.cpu or (function is torch.Tensor.to and "cpu" in map(str, args)):
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **(kwargs or {})).as_subclass(torch.Tensor)
        if function in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError("can't convert a tensor on a device to numpy: use Tensor.cpu() first")
        return super().__torch_function__(function, types, args, kwargs or {})


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_tensors_on_another_device_are_moved(backend):
    log_probs, lexicon = emissions(1), Lexicon(WORDS, ALPHABET)
    elsewhere = log_probs.as_subclass(Elsewhere)
    with pytest.raises(TypeError, match="on a device"):
        elsewhere.exp().numpy()
    with use_backend(backend):
        for function in (
            lambda scores: greedy_decode(scores),
            lambda scores: beam_search(scores, None, 9, 2),
            lambda scores: score(scores, [[1], [1, 2]]),
            lambda scores: forced_align(scores, torch.tensor([[1, 2], [2, 1]]), [5, 5], [2, 2]).spans.tolist(),
            lambda scores: lexicon.decode(scores),
            lambda scores: lexicon.decode(scores, method="bk-tree"),
        ):
            assert function(elsewhere) == function(log_probs)
