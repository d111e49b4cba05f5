"""Renderers that need no installed fonts and no word list: Pillow's own font, and a few words."""

import functools

import numpy as np

from minicrnn.data.rendering import FontBook, Recipe, Renderer, TextSource, WordList
from minicrnn.data.rendering.faces import built_in_faces
from minicrnn.text import Alphabet

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!?.,'-&$%:/#()@"
WORDS = ["the", "house", "of", "street", "parking", "open", "minimum"]


def few_words():
    return WordList(list(WORDS), np.cumsum(np.ones(len(WORDS))), "seven words")


@functools.cache
def built_in():
    return FontBook(built_in_faces(frozenset(CHARACTERS)))


def make_renderer(seed=0, height=32, chances=None):
    texts = TextSource(few_words(), Alphabet(CHARACTERS))
    return Renderer(texts, FontBook(built_in().faces), seed=seed, height=height, recipe=Recipe(chances or {}))
