"""What a reader returns: a text, how sure it is, where its characters stand, and what else it could be.

Places are in pixels of the image that was given, from its left edge 0 to its right edge, the width: pixel i lies
between i and i + 1.

CTC says when a character was recognised, and not how wide it is: a frame or two near its middle speak for it, and the
blank for the rest. So a character's centre is measured, and its box is not. Boxes reach half way to the neighbours'
centres; the first and the last reach as far outwards as inwards, at most to the image's edge; a character alone has the
whole width. All are as high as the image.
"""

from dataclasses import dataclass
from typing import Literal

# Greedy: the most probable path. Trie and bk-tree: with a lexicon.
Method = Literal["greedy", "beam", "trie", "bk-tree"]


@dataclass(frozen=True)
class Character:
    """One character of a reading.

    Attributes:
        text: the character.
        confidence: its probability at the frame where it is surest, 0 to 1, calibrated as the reading's.
        center: the middle of its frames, in pixels from the image's left edge.
        box: (left, top, right, bottom) in pixels, see the head of this file.
        frames: the frames [start, end) that read it.
    """

    text: str
    confidence: float
    center: float
    box: tuple[float, float, float, float]
    frames: tuple[int, int]

    @property
    def left(self) -> float:
        """The left edge of its box."""
        return self.box[0]

    @property
    def right(self) -> float:
        """The right edge of its box."""
        return self.box[2]


@dataclass(frozen=True)
class Alternative:
    """A text that an image may show.

    Attributes:
        text: the text.
        log_prob: ln p(text | image) by the network alone, summed over all alignments, in nats.
        score: what alternatives are ordered by: ``log_prob``, and what a language model and hotwords add.
        confidence: as of a :class:`Reading`.
    """

    text: str
    log_prob: float
    score: float
    confidence: float


@dataclass(frozen=True)
class Reading:
    """What was read in one image.

    Attributes:
        text: what was read.
        confidence: the probability that it is right, 0 to 1, at the temperature of a model that has been calibrated.

            - greedy and beam: p(text | image), summed over all alignments of the text with the frames;
            - with a language model or hotwords: the text's share of all that the beam ended with, each by its score;
            - trie: its share of all words of the lexicon, p(text | image, it is a word of the lexicon);
            - bk-tree: its share of the words near the greedy reading, which is larger.
        characters: the text's characters, each with its own confidence and place.
        frames: the number of frames.
        raw_confidence: the confidence at temperature 1. None where nobody asked.
        alternatives: the best texts, this one first; as many as were asked for (``top_n``), or fewer. Empty if no word
            of a lexicon can be in the image. They are ordered by ``score``, which is not calibrated, so that a
            confidence may be a little above the one before it.
        method: what read it. "trie" although "bk-tree" was asked for: no word was near the greedy reading.
    """

    text: str
    confidence: float
    characters: tuple[Character, ...]
    frames: int
    raw_confidence: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    method: Method = "greedy"
