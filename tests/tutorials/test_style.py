"""Pictures that a notebook keeps."""

from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib import rc_context
from PIL import Image

from minicrnn.tutorials import style


def test_an_animation_is_a_small_gif_with_a_frame_for_each_draw():
    with rc_context():
        style.use()
        figure, axes = plt.subplots(figsize=(2, 1))
        (line,) = axes.plot([0, 1], [0, 1])
        drawn = []

        def draw(i):
            drawn.append(i)
            line.set_ydata([i, 1])

        shown = style.animation(figure, draw, frames=3, seconds_a_frame=0.2)
    movie = Image.open(BytesIO(shown.data))
    assert (movie.format, movie.n_frames, drawn) == ("GIF", 3, [0, 1, 2])
    assert movie.info["duration"] == 200
    assert len(shown.data) < 20_000
    assert not plt.fignum_exists(figure.number)


def test_an_image_without_ticks_leaves_those_of_the_axes_below_it():
    with rc_context():
        style.use()
        figure, (above, below) = plt.subplots(2, 1, sharex=True)
        style.bare(above, "an image")
        below.plot([0, 100], [0, 1])
        figure.canvas.draw()
        shown = [
            [label.get_text() for label in axes.get_xticklabels() if label.get_visible()] for axes in (above, below)
        ]
        plt.close(figure)
    assert shown[0] == []
    assert "100" in shown[1]


def test_the_card_is_light_and_the_ink_dark():
    with rc_context():
        style.use()
        assert plt.rcParams["figure.facecolor"] == style.CARD
        assert plt.rcParams["text.color"] == style.INK
