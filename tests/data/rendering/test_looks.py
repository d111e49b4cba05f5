"""Every look: shapes and types, changes something, leaves the word readable; and the recipe that draws them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minicrnn.data.rendering import LOOKS, Plan, Recipe, looks_camera, looks_crop, looks_ink, looks_paint
from minicrnn.data.rendering.lettering import Setting
from minicrnn.data.rendering.looks_paint import Colours
from minicrnn.data.rendering.looks_setting import letter_spacing, small_capitals
from tests.data.rendering.renderers import make_renderer

seeds = st.integers(0, 2**32 - 1)
strengths = st.floats(0, 1)
PAPER = [name for name, look in LOOKS.items() if look.stage == "paper"]
CAMERA = [name for name, look in LOOKS.items() if look.stage == "camera"]
PAINT = [name for name, look in LOOKS.items() if look.stage == "paint"]


def correlation(a, b):
    if b.shape != a.shape:
        b = np.asarray(Image.fromarray(b).resize(a.shape[::-1], Image.Resampling.BILINEAR))
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_an_image_with_a_look_is_an_image(name, strength):
    renderer = make_renderer()
    for index in range(6):
        word = renderer.render(index, Plan({name: strength}))
        assert word.image.dtype == np.uint8
        assert word.image.shape[0] == 32
        assert word.image.std() > 2


@pytest.mark.parametrize("name", LOOKS)
def test_each_look_changes_the_image(name):
    renderer = make_renderer()
    changed = 0
    for index in range(12):
        plain, with_look = (renderer.render(index, Plan(p)).image for p in ({}, {name: 1.0}))
        changed += plain.shape != with_look.shape or not np.array_equal(plain, with_look)
    assert changed >= (2 if name == "small capitals" else 8)  # which are for words in capitals


def stripes(h=32, w=90):
    """Letters of a kind: dark stripes on light paper, and the ink."""
    ink = np.zeros((h, w), np.float32)
    for x in range(8, w - 12, 9):
        ink[8:-8, x : x + 4] = 1
    return ink


@pytest.mark.parametrize("name", CAMERA)
@given(seed=seeds, strength=strengths, contrast=st.floats(25, 250), light=st.booleans())
def test_looks_of_the_camera_leave_letters_readable(name, seed, strength, contrast, light):
    rng = np.random.default_rng(seed)
    ink = stripes()
    dark = rng.uniform(0, 255 - contrast)
    picture = (dark + contrast * (ink if light else 1 - ink)).astype(np.float32)
    before = picture.copy()
    after = LOOKS[name].function(picture, contrast, rng, strength)
    np.testing.assert_array_equal(picture, before)
    assert after.dtype == np.float32
    assert after.shape == picture.shape or (name == "low resolution" and after.shape[0] >= 0.39 * 32)
    assert np.isfinite(after).all()
    assert correlation(ink, after) > 0.28  # alone, the weakest: a shadow's edge over weak letters


@pytest.mark.parametrize("name", PAPER)
@given(seed=seeds, strength=strengths, contrast=st.floats(25, 250))
def test_looks_of_paper_stay_below_the_contrast(name, seed, strength, contrast):
    rng = np.random.default_rng(seed)
    paper = np.full((32, 90), 100, np.float32)
    colours = Colours(100 - contrast, 100.0)
    after = LOOKS[name].function(paper, colours, rng, strength)
    assert after.shape == paper.shape
    assert after.dtype == np.float32
    assert after.std() <= contrast * 0.5


@pytest.mark.parametrize("name", PAINT)
@given(seed=seeds, strength=strengths)
def test_what_is_painted_lies_around_the_letters(name, seed, strength):
    rng = np.random.default_rng(seed)
    ink, colours = stripes(), Colours(200.0, 90.0)
    picture = np.full(ink.shape, colours.paper, np.float32)
    after = LOOKS[name].function(picture, ink, colours, rng, strength)
    assert after.shape == picture.shape
    far = np.ones(ink.shape, bool)
    far[2:-2, 2:-2] = False  # the letters end 8 pixels from the edge, and a look reaches no further than 6
    assert (after[far] == colours.paper).all()
    if name != "shadow":
        changed = after != colours.paper
        assert abs(after[changed] - colours.ink).min() >= 0.499 * colours.contrast
    else:
        assert (after <= colours.paper).all()


@given(seeds, st.floats(0, 1))
def test_an_edge_stays_out_of_the_word(seed, strength):
    rng = np.random.default_rng(seed)
    paper = np.full((32, 90), 100, np.float32)
    box = (10.0, 8.0, 80.0, 25.0)
    after = LOOKS["edge"].function(paper, Colours(0.0, 100.0), rng, strength, box)
    assert (after[8:25, 10:80] == 100).all()
    whole = LOOKS["edge"].function(paper, Colours(0.0, 100.0), rng, strength, (0.0, 0.0, 90.0, 32.0))
    assert (whole == 100).all()  # no room, no edge


def test_widening_takes_the_largest_within_reach():
    ink = np.zeros((9, 9), np.uint8)
    ink[4, 4] = 200
    cross, square = looks_ink.widen(ink, 1), looks_ink.widen(ink, 2)
    assert np.count_nonzero(cross) == 5
    assert np.count_nonzero(square) == 21  # a square of five without its corners
    assert set(np.unique(square)) == {0, 200}
    assert (square == square.T).all()
    assert (square == square[::-1]).all()


def test_moving_ink_loses_what_goes_out():
    ink = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert looks_paint.moved(ink, 1, 0)[0].tolist() == [0, 0, 1, 2]
    assert looks_paint.moved(ink, -1, 2).tolist() == [[0] * 4, [0] * 4, [1, 2, 3, 0]]
    assert not looks_paint.moved(ink, 4, 0).any()


@given(seeds)
def test_more_light_does_not_wash_out_light_paper(seed):
    picture = 150 + 100 * (1 - stripes())
    after = looks_camera.uneven_light(picture, 100.0, np.random.default_rng(seed), 1.0)
    assert after.max() <= 255.01
    assert after.std() > 5


def test_motion_blur_is_a_mean_along_a_line():
    picture = np.zeros((32, 41), np.float32)
    picture[16, 20] = 100
    for seed in range(8):
        after = looks_camera.motion_blur(picture, 100.0, np.random.default_rng(seed), 1.0)
        assert after.sum() == pytest.approx(100, rel=1e-5)
        assert np.count_nonzero(after) in (4, 5)


def test_settings():
    rng = np.random.default_rng(0)
    spacings = [letter_spacing(Setting("a", 48), rng, 1.0).spacing for _ in range(200)]
    assert set(spacings) == {-0.05, 0.4}
    assert small_capitals(Setting("Ab", 48), rng, 1.0).small_capitals == 1.0
    assert small_capitals(Setting("AB", 48), rng, 1.0).small_capitals == pytest.approx(0.7)


def test_crops():
    rng = np.random.default_rng(0)
    usual = np.array([looks_crop.usual_crop(rng) for _ in range(300)])
    tight = np.array([looks_crop.tight_crop(m, rng, 1.0) for m in usual])
    loose = np.array([looks_crop.loose_crop(m, rng, 1.0) for m in usual])
    assert usual.min() >= 0
    assert -0.08 <= tight.min() < 0 < tight.max() <= 0.04
    assert (loose >= usual).all()
    assert loose.mean() > usual.mean() + 0.2


def test_the_recipe_draws_looks_by_their_chances():
    rng, recipe = np.random.default_rng(0), Recipe({"blur": 1.0, "noise": 0.0})
    plans = [recipe.draw(rng) for _ in range(3000)]
    for name, look in LOOKS.items():
        chance = {"blur": 1.0, "noise": 0.0}.get(name, look.chance)
        assert np.mean([name in plan.strengths for plan in plans]) == pytest.approx(chance, abs=0.03)
    drawn = [plan.strengths["blur"] for plan in plans]
    assert 0 <= min(drawn) < 0.01
    assert 0.99 < max(drawn) <= 1
    assert list(plans[0].strengths) == [name for name in LOOKS if name in plans[0].strengths]


@pytest.mark.parametrize("chances", [{"blurr": 0.5}, {"blur": 1.5}, {"blur": -0.1}, {"blur": float("nan")}])
def test_wrong_chances_are_refused(chances):
    with pytest.raises(ValueError, match="blur"):
        Recipe(chances)
