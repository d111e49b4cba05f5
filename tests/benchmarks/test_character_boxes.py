"""The share of characters that stand in their true boxes, by hand; and rows of the table from rendered words."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minicrnn.reading import Character, Reading

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("character_boxes", None)
    import character_boxes

    return character_boxes


def reading(*centers):
    characters = (Character("a", 1.0, center, (0.0, 0.0, 1.0, 1.0), (0, 1)) for center in centers)
    return Reading("a" * len(centers), 1.0, tuple(characters), 9)


def test_characters_are_counted(benchmark):
    """Boxes 0–10, 10–20 and 20–30, the last cut off at 26: centres at 5, 21 and 27; and a second word."""
    boxes = [np.array([[0, 0, 10, 9], [10, 0, 20, 9], [20, 0, 30, 9]], float), np.array([[-4, 0, 6, 9]], float)]
    found = benchmark.share_inside([reading(5.0, 21.0, 27.0), reading(1.0)], boxes, [26, 50])
    assert (found.inside, found.characters) == (2, 4)
    assert found.offset == pytest.approx(((5 - 5) / 10 + (21 - 15) / 10 + (27 - 23) / 6 + (1 - 3) / 6) / 4)
    assert "2 of 4: 50.00%" in str(found)
    with pytest.raises(ValueError, match="zip"):
        benchmark.share_inside([reading(5.0)], boxes[:1], [26])


def test_rows_of_the_table(benchmark):
    """Places scale with an enlarged image, and words that are misread count with their truth given only."""

    class Fake:
        def read(self, images, lexicon=None):
            scales = [image.shape[1] / 40 for image in images]
            found = [reading(5 * scale, 15 * scale) for scale in scales]
            return found if lexicon else [found[0], reading()]

    words = [SimpleNamespace(image=np.zeros((32, 40), np.uint8), text="aa",
                             boxes=np.array([[0.0, 0, 10, 32], [10, 0, 20, 32]])) for _ in range(2)]  # fmt: skip
    for factor in (1.0, 2.7):
        right, given = benchmark.rows(Fake(), words, factor)
        assert "1 of 2" in right
        assert "2 of 2: 100.00%" in right
        assert "4 of 4: 100.00%" in given
