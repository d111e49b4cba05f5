"""Font files made for tests: every letter is a rectangle, so that what is drawn is known."""

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

EM = 1000


def make_font(path, characters, *, family="Made", heights=None, weight=400, italic=False, axes=()):
    """Write a font whose characters are rectangles 400 wide in an advance of 500, in a thousandth of the size.

    ``heights`` gives the height of some characters; the others are 700 high, and b, d, h, k too, while other small
    letters are 500 high. ``axes``: (tag, least, default, most) of each.
    """
    heights = heights or {}
    names = {ord(c): f"u{ord(c):04X}" for c in characters}
    builder = FontBuilder(EM, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    glyphs = {".notdef": _rectangle(700)}
    for c in characters:
        low = c.islower() and c not in "bdfhklt"
        glyphs[names[ord(c)]] = _rectangle(0 if c == " " else heights.get(c, 500 if low else 700))
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (500, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=weight)
    builder.setupPost(italicAngle=-12.0 if italic else 0.0)
    if axes:
        builder.setupFvar([(*axis, axis[0]) for axis in axes], [])
        builder.setupGvar({})
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


def _rectangle(height):
    pen = TTGlyphPen(None)
    if not height:
        return pen.glyph()
    pen.moveTo((50, 0))
    for point in ((50, height), (450, height), (450, 0)):
        pen.lineTo(point)
    pen.closePath()
    return pen.glyph()
