"""A renderer from plain options, such as those of the table ``[render]`` in a configuration file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicrnn.text import Alphabet

if TYPE_CHECKING:
    from minicrnn.data.rendering import Renderer

# Option, type, in words.
OPTIONS = {
    "fonts": (list, 'a list of folders and font files, "packaged" and "system" among them'),
    "words": (str, "the path of a word list"),
    "max_length": (int, "a number of characters"),
    "looks": (dict, "a table of chances from 0 to 1, by the name of the look"),
}


def check_render_options(options: Mapping[str, Any]) -> None:
    """Look at options before fonts are searched for.

    Raises:
        ValueError: an unknown option or look, one of another type, a chance that is none; the message names it.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            raise ValueError(f"render: unknown {name}; the options are {', '.join(OPTIONS)}")
        kind, words = OPTIONS[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"render: {name} must be {words}, not {value!r}")
    if looks := options.get("looks"):
        from minicrnn.data.rendering import Recipe  # slow to import

        for look, chance in looks.items():
            if not isinstance(chance, (int, float)):
                raise ValueError(f"render: the chance of look {look!r} must be a number, not {chance!r}")
        Recipe(looks)


def open_renderer(alphabet: Alphabet, seed: int, height: int, options: Mapping[str, Any]) -> "Renderer":
    """The renderer that the options ask for.

    Args:
        alphabet: the characters to write.
        seed: of everything.
        height: of the images in pixels.
        options: ``fonts``, see :func:`minicrnn.data.rendering.find_fonts`; ``words``, the path of a word list;
            ``max_length`` of a text; ``looks``, their chances, see :class:`minicrnn.data.rendering.Recipe`.

    Raises:
        ValueError: an unknown option, or a value that it cannot take.
        DataError: fonts or words cannot be read.
    """
    from minicrnn.data.rendering import Renderer  # slow to import

    check_render_options(options)
    given = {("chances" if name == "looks" else name): value for name, value in options.items()}
    return Renderer.of(alphabet, seed=seed, height=height, **given)


def summary(renderer: "Renderer") -> str:
    """What a renderer draws with, for a person; files that are left out are counted, and the first ones named."""
    fonts, words = renderer.fonts, renderer.texts.words
    listed = f"{len(words.words):,} words of {words.source}" if words.words else "numbers and codes"
    lines = [f"{len(fonts.faces):,} faces, {listed}"]
    if fonts.left_out:
        lines.append(f"  {len(fonts.left_out):,} × font left out")
        lines += [f"      {name}: {reason}" for name, reason in list(fonts.left_out.items())[:3]]
    return "\n".join(lines)
