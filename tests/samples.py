"""Folders of rendered words for the tests of training, evaluation, reading and the command line."""

from pathlib import Path

import numpy as np
from PIL import Image

from minicrnn.data import render_word

WORDS = ["cab", "abba", "bead", "fade", "deaf", "face", "cafe", "beef", "dad", "bade", "aced", "fab"]


def word_folder(folder: Path, words=WORDS, label_file="labels.tsv") -> Path:
    """A folder with an image and a row in its label file for each word."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for i, word in enumerate(words):
        Image.fromarray(render_word(word, rng)).save(folder / f"{i}.png")
        rows.append(f"{i}.png\t{word}\n")
    (folder / label_file).write_text("".join(rows), encoding="utf-8")
    return folder
