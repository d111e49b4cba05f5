"""The edit distance, 64 cells of the table in one machine word.

Down a column of the table (:mod:`minicrnn.naive.edit_distance` draws it) neighbours differ by −1, 0 or +1. So a column
is two bit vectors, ``plus`` and ``minus``, one bit a row, and a symbol of the other word turns a column into the next
with a dozen instructions for 64 rows; the carry of one addition runs along a diagonal of matches. Of the distance only
its last row is followed: it starts at the length and moves by what the last row's bit says.

A pattern of more than 64 labels takes several blocks, from the top down. Each hands the one below the difference along
its last row, −1, 0 or +1, as a carry. Above the first block the table's row 0 is 0, 1, 2, ...: its carry is +1.

Source: Myers, *A fast bit-vector algorithm for approximate string matching based on dynamic programming*, Journal of
the ACM 46(3), 1999, sections 3 and 4; Hyyrö, *A bit-vector algorithm for computing Levenshtein and Damerau edit
distances*, Nordic Journal of Computing 10(1), 2003, for the distance of whole words.
"""

import numpy as np
from numba import njit

BITS = 64
_NONE, _ONE, _ALL = np.uint64(0), np.uint64(1), np.uint64(2**64 - 1)
_TOP = np.uint64(BITS - 1)


@njit
def set_pattern(pattern, equal):
    """Set bit i % 64 of equal[k, i // 64] where label i of the pattern is k. equal: [K, blocks] uint64, all zero."""
    for i in range(pattern.size):
        equal[pattern[i], i // BITS] |= _ONE << np.uint64(i % BITS)


@njit
def clear_pattern(pattern, equal):
    """Undo :func:`set_pattern` in time that does not depend on K."""
    for i in range(pattern.size):
        equal[pattern[i], i // BITS] = _NONE


@njit
def distance_to_pattern(equal, length, text, plus, minus):
    """The distance of a text to the pattern of ``length`` labels in ``equal``. plus, minus: [blocks], workspace."""
    if length == 0:
        return text.size
    if length <= BITS:
        return _distance_in_one_block(equal, length, text)
    blocks = (length + BITS - 1) // BITS
    plus[:] = _ALL  # the first column is 0, 1, 2, ...
    minus[:] = _NONE
    distance = length
    for j in range(text.size):
        above_plus, above_minus = _ONE, _NONE
        for block in range(blocks):
            row = np.uint64((length - 1) % BITS if block == blocks - 1 else BITS - 1)
            plus[block], minus[block], row_plus, row_minus = _next_column(
                equal[text[j], block], plus[block], minus[block], above_plus, above_minus
            )
            above_plus, above_minus = (row_plus >> row) & _ONE, (row_minus >> row) & _ONE
        distance += np.int64(above_plus) - np.int64(above_minus)
    return distance


@njit
def _distance_in_one_block(equal, length, text):
    row = np.uint64(length - 1)
    plus, minus = _ALL, _NONE
    distance = length
    for j in range(text.size):
        plus, minus, row_plus, row_minus = _next_column(equal[text[j], 0], plus, minus, _ONE, _NONE)
        distance += np.int64((row_plus >> row) & _ONE) - np.int64((row_minus >> row) & _ONE)
    return distance


@njit
def _next_column(matches, plus, minus, above_plus, above_minus):
    """-> the vertical differences of the next column, and the horizontal ones that lead to it."""
    vertical = matches | minus
    matches |= above_minus
    diagonal = (((matches & plus) + plus) ^ plus) | matches
    row_plus = minus | ~(diagonal | plus)
    row_minus = plus & diagonal
    shifted_plus = (row_plus << _ONE) | above_plus
    shifted_minus = (row_minus << _ONE) | above_minus
    return shifted_minus | ~(vertical | shifted_plus), shifted_plus & vertical, row_plus, row_minus


@njit
def signature(word):
    """The set of a word's labels, label k in bit k % 64. See :func:`surely_farther`."""
    bits = _NONE
    for label in word:
        bits |= _ONE << np.uint64(label % BITS)
    return bits


@njit
def surely_farther(a, b, delta):
    """Whether two words with signatures a and b are at a distance above delta, for all that the signatures tell.

    Each edit takes at most one label out of a set, and adds at most one.
    """
    return _ones(a & ~b) > delta or _ones(b & ~a) > delta


@njit
def _ones(bits):
    """The number of bits set: summed in pairs, in fours, in eights; then all bytes at once, by a product."""
    bits -= (bits >> _ONE) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))
