"""Words without end that look like photographs of signs, with their labels and the box of each character.

Read in this order: ``words.py`` and ``texts.py`` (what the images say), ``faces.py`` and ``fonts.py`` (what they are
drawn with), ``lettering.py`` (letters side by side), ``looks_*.py`` (all that happens to them, a function each),
``recipe.py`` (how often), ``compose.py`` (one image), ``writing.py`` and ``sheet.py`` (folders, and a picture of all).

>>> from minicrnn.text import Alphabet
>>> renderer = Renderer.of(Alphabet("0123456789abcdefghijklmnopqrstuvwxyz"), fonts=[PILLOW], seed=1)
>>> word = renderer.render(7)
>>> word.image.dtype, word.image.shape[0], len(word.text) == len(word.boxes)
(dtype('uint8'), 32, True)
"""

from minicrnn.data.rendering.compose import RenderedWord, Renderer
from minicrnn.data.rendering.faces import Face, FontError
from minicrnn.data.rendering.fonts import PACKAGED, PILLOW, SYSTEM, FontBook, find_fonts
from minicrnn.data.rendering.recipe import LOOKS, Plan, Recipe
from minicrnn.data.rendering.sheet import draw_sheet
from minicrnn.data.rendering.texts import TextSource
from minicrnn.data.rendering.words import WordList, WordListError, word_list
from minicrnn.data.rendering.writing import Written, write_folder

__all__ = [
    "LOOKS",
    "PACKAGED",
    "PILLOW",
    "SYSTEM",
    "Face",
    "FontBook",
    "FontError",
    "Plan",
    "Recipe",
    "RenderedWord",
    "Renderer",
    "TextSource",
    "WordList",
    "WordListError",
    "Written",
    "draw_sheet",
    "find_fonts",
    "word_list",
    "write_folder",
]
