"""A heap of the best few candidates, the worst of them on top.

scores: [width]; codes: [2, width] int64, what a candidate is.
"""

from numba import njit


@njit
def _sink(scores, codes, size, score, first, second):
    """Put a candidate where the top is missing."""
    place = 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and scores[below + 1] < scores[below]:
            below += 1
        if scores[below] >= score:
            break
        scores[place], codes[0, place], codes[1, place] = scores[below], codes[0, below], codes[1, below]
        place = below
    scores[place], codes[0, place], codes[1, place] = score, first, second


@njit
def heap_push(score, first, second, scores, codes, size, width):
    """Add a candidate; a full heap drops the worst, of equal ones the newest -> the size."""
    if size == width:
        if score > scores[0]:
            _sink(scores, codes, size, score, first, second)
        return size
    place = size
    while place > 0 and scores[(place - 1) // 2] > score:
        above = (place - 1) // 2
        scores[place], codes[0, place], codes[1, place] = scores[above], codes[0, above], codes[1, above]
        place = above
    scores[place], codes[0, place], codes[1, place] = score, first, second
    return size + 1


@njit
def heap_pop(scores, codes, last):
    """Move the worst behind the others, to place ``last``. Done from the last place to 1, the order is best first."""
    score, first, second = scores[last], codes[0, last], codes[1, last]
    scores[last], codes[0, last], codes[1, last] = scores[0], codes[0, 0], codes[1, 0]
    _sink(scores, codes, last, score, first, second)
