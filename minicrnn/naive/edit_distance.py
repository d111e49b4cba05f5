"""The edit distance of two label sequences: the fewest insertions, deletions and substitutions that turn one into the
other.

    D[i, 0] = i,   D[0, j] = j,
    D[i, j] = min(D[i−1, j] + 1,  D[i, j−1] + 1,  D[i−1, j−1] + [a_i ≠ b_j])            distance = D[|a|, |b|]

It is a metric: zero only between equals, symmetric, and d(a, c) ≤ d(a, b) + d(b, c). The BK-tree lives on that.

Source: Levenshtein, *Binary codes capable of correcting deletions, insertions, and reversals*, Soviet Physics Doklady
10(8), 1966; Wagner and Fischer, *The string-to-string correction problem*, Journal of the ACM 21(1), 1974.
"""

from collections.abc import Sequence

import numpy as np


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """The distance of two sequences: texts, or lists of labels.

    >>> edit_distance("kitten", "sitting")
    3
    """
    D = np.zeros((len(a) + 1, len(b) + 1), np.int64)
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i == 0 or j == 0:
                D[i, j] = i + j
            else:
                substituted = D[i - 1, j - 1] + (a[i - 1] != b[j - 1])
                D[i, j] = min(D[i - 1, j] + 1, D[i, j - 1] + 1, substituted)
    return int(D[-1, -1])
