"""Lexicons and emissions for tests, and what they should read by brute force."""

import math

import numpy as np
import torch
from hypothesis import strategies as st

from minicrnn import Alphabet, ctc_loss

CHARACTERS = "abcd"
ALPHABET = Alphabet(CHARACTERS)
K = ALPHABET.num_classes

words = st.text(CHARACTERS, min_size=1, max_size=5)
word_lists = st.lists(words, min_size=1, max_size=25, unique=True)


@st.composite
def emissions(draw, min_N=0, max_T=8):
    """log_probs [T, N, K] and lengths: warm, cold or with impossible classes; perhaps not normalised."""
    T, N = draw(st.integers(0, max_T)), draw(st.integers(min_N, 3))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    log_probs = draw(st.sampled_from([0.1, 2.0, 30.0])) * torch.randn(T, N, K, generator=rng, dtype=torch.float64)
    if draw(st.booleans()):
        log_probs = log_probs.log_softmax(2)
    if draw(st.booleans()):
        log_probs[torch.rand(T, N, K, generator=rng) < 0.3] = -torch.inf
    return log_probs, draw(st.lists(st.integers(0, T), min_size=N, max_size=N))


def log_likelihoods(log_probs, lengths, texts):
    """ln p of every text in every sample, one CTC loss each. -> [N, W]"""
    targets = [torch.tensor(ALPHABET.encode(text), dtype=torch.long) for text in texts]
    losses = [
        ctc_loss(log_probs, target.expand(len(lengths), -1), lengths, [len(target)] * len(lengths), reduction="none")
        for target in targets
    ]
    return -torch.stack(losses, 1).numpy() if losses else np.empty((len(lengths), 0))


def log_sum(values):
    top = max(values, default=-math.inf)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))
