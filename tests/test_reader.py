"""Reader: one image or many, from any source; confidences are probabilities, places are in pixels."""

import itertools
import re

import numpy as np
import pytest
import torch
from PIL import Image

from minicrnn.checkpoint import save_model
from minicrnn.crnn import CRNN
from minicrnn.ctc import NGramModel
from minicrnn.data import ImageError
from minicrnn.data.images import scaled_width
from minicrnn.reader import OptionError, Reader, choose_device
from minicrnn.shapes import receptive_field
from minicrnn.text import Alphabet

ALPHABET = Alphabet("ab")


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(0)
    model = CRNN.from_preset("tiny", ALPHABET.num_classes, out_channels=16, hidden_size=8)
    with torch.no_grad():
        model.recurrent.classes.weight *= 30  # an untrained model is undecided; this one has opinions
    return Reader(model, ALPHABET)


def picture(height=32, width=100, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def test_sources_give_the_same_reading(reader, tmp_path):
    array = picture()
    Image.fromarray(array).save(tmp_path / "w.png")
    path = tmp_path / "w.png"
    sources = [array, path, str(path), path.read_bytes(), Image.fromarray(array)]
    assert len({reader.read(source) for source in sources}) == 1


def test_a_list_keeps_its_order_and_a_reading_its_value(reader):
    images = [picture(width=w, seed=w) for w in (100, 30, 61, 200, 45)]
    together = reader.read(images, batch_size=2)
    for image, reading in zip(images, together, strict=True):
        alone = reader.read(image)
        assert reading.text == alone.text
        assert reading.confidence == pytest.approx(alone.confidence, abs=1e-4)
    assert reader.read([]) == []


def test_confidence_is_the_probability_of_the_text(reader):
    """Summed over every path of a short image by brute force."""
    image = picture(width=26)
    with torch.inference_mode():
        tensor = torch.tensor(image)[None, None].float() / 127.5 - 1
        probs = reader.model(tensor)[0][:, 0].softmax(1).double()
    reading = reader.read(image)
    total = 0.0
    for path in itertools.product(range(3), repeat=len(probs)):
        collapsed = [k for k, _ in itertools.groupby(path) if k]
        if ALPHABET.decode(collapsed) == reading.text:
            total += float(torch.stack([probs[t, k] for t, k in enumerate(path)]).prod())
    assert reading.frames == len(probs) <= 8
    assert reading.confidence == pytest.approx(total, rel=1e-4)


def test_places_scale_with_the_image(reader):
    small = picture()
    large = np.kron(small, np.ones((4, 4), dtype=np.uint8))
    readings = reader.read([small, large])
    assert readings[0].text == readings[1].text != ""
    for a, b in zip(readings[0].characters, readings[1].characters, strict=True):
        assert 0 <= a.left <= a.right <= 100
        assert (b.left, b.right) == pytest.approx((4 * a.left, 4 * a.right))
        assert 0 < a.confidence <= 1


def test_places_stay_inside_a_narrow_image(reader):
    """The model sees it wider than it is."""
    readings = [reader.read(picture(32, width, seed)) for width in (1, 2, 3) for seed in range(5)]
    characters = [
        (c, width) for r, width in zip(readings, [1] * 5 + [2] * 5 + [3] * 5, strict=True) for c in r.characters
    ]
    assert characters
    assert all(0 <= c.left <= c.right <= width for c, width in characters)


def test_log_probs_are_those_of_the_model(reader):
    images, widths = torch.randn(2, 1, 32, 60), torch.tensor([60, 40])
    log_probs, lengths = reader.log_probs(images, widths)
    with torch.inference_mode():
        logits, expected = reader.model(images, widths)
    torch.testing.assert_close(log_probs, logits.log_softmax(2))
    assert lengths.tolist() == expected.tolist()
    assert [r.frames for r in reader.decode(log_probs, lengths)] == expected.tolist()


@pytest.mark.parametrize("batch_size", [0, -3])
@pytest.mark.parametrize("images", [[], [picture()], picture()], ids=["none", "list", "one"])
def test_a_batch_has_at_least_one_image(reader, batch_size, images):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, not {batch_size}"):
        reader.read(images, batch_size)


def test_a_batch_size_is_a_whole_number(reader):
    with pytest.raises(TypeError, match=r"batch_size must be a whole number, not 1\.5|'batch_size'"):
        reader.read([picture()], 1.5)


def test_a_model_of_colour_images_is_refused():
    with pytest.raises(ValueError, match=r"3 channels \(in_channels\)"):
        Reader(CRNN.from_preset("tiny", ALPHABET.num_classes, in_channels=3, out_channels=16), ALPHABET)


@pytest.mark.parametrize("shape", [(32, 1), (1, 1), (100, 2), (1, 500), (7, 3)])
def test_odd_sizes_are_read(reader, shape):
    assert reader.read(picture(*shape)).frames >= 1


def test_a_broken_image_in_a_list_is_named(reader, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(ImageError, match=r"broken\.png"):
        reader.read([picture(), tmp_path / "broken.png"])


def test_load(reader, tmp_path):
    save_model(tmp_path / "m.safetensors", reader.model, ALPHABET)
    assert Reader.load(tmp_path / "m.safetensors").read(picture()) == reader.read(picture())


def test_alphabet_and_model_must_agree(reader):
    with pytest.raises(ValueError, match="3 classes and the alphabet 4"):
        Reader(reader.model, Alphabet("abc"))


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device(None) == choose_device("auto")
    with pytest.raises(OptionError, match="Try auto or cpu"):
        choose_device("toaster")


def scripted(path, characters="ab", **options):
    """A reader in whose outputs frame t says ``path[t]``, and the others blank."""
    alphabet = Alphabet(characters)
    model = CRNN.from_preset("tiny", alphabet.num_classes, out_channels=16, hidden_size=8)

    def script(module, arguments, output):
        logits, lengths = output
        labels = torch.tensor([path.get(t, 0) for t in range(len(logits))])
        return 9.0 * torch.nn.functional.one_hot(labels, alphabet.num_classes)[:, None].float().expand_as(
            logits
        ), lengths

    model.register_forward_hook(script)
    return Reader(model, alphabet, **options)


def test_boxes_are_in_the_pixels_of_the_image_that_was_given():
    """Images of 32, 64 and 50 pixels' height; frames 2 and 3 say a, frame 9 b. A frame sees the image in steps of 4
    pixels, and the first of them is centred at 3.5 (:func:`minicrnn.shapes.receptive_field`), 4 from the left edge."""
    reader = scripted({2: 1, 3: 1, 9: 2})
    field = reader.model.windows()
    first = receptive_field(field).center(0) + 0.5
    for reading, width, height in zip(
        reader.read([picture(), picture(64, 200), picture(50, 101)]), (100, 200, 101), (32, 64, 50), strict=True
    ):
        scale = width / scaled_width(width, height, 32)
        a, b = reading.characters
        assert (a.center, b.center) == pytest.approx(((first + 10) * scale, (first + 36) * scale))
        middle = (a.center + b.center) / 2
        assert a.box == pytest.approx((max(0, 2 * a.center - middle), 0, middle, height))
        assert b.box == pytest.approx((middle, 0, min(width, 2 * b.center - middle), height))
        assert (a.frames, b.frames) == ((2, 4), (9, 10))
        assert (a.left, a.right) == (a.box[0], a.box[2])


def test_images_of_several_widths_keep_their_own_lexicons(reader):
    images = [picture(width=w, seed=w) for w in (100, 30, 61, 200, 45)]
    words = ["a", "b", "ab", "ba", "bab"]
    found = reader.read(images, batch_size=2, lexicon=[[word] for word in words])
    assert [one.text for one in found] == words
    assert [one.confidence for one in found] == pytest.approx([1.0] * 5)
    assert reader.read(images[0], lexicon=["aba"]).text == "aba"
    assert reader.read(images[3], lexicon=[["bb"]]).text == "bb"


def test_the_decoder_is_chosen_by_options(reader):
    image = picture()
    greedy, beam = reader.read(image), reader.read(image, beam=20, top_n=3)
    assert len(greedy.alternatives) == 1
    assert len(beam.alternatives) == 3
    assert beam.alternatives[0].log_prob >= greedy.alternatives[0].log_prob - 1e-6
    assert beam.text == beam.alternatives[0].text
    assert (greedy.method, beam.method, reader.read(image, lexicon=["ab"]).method) == ("greedy", "beam", "trie")
    model = NGramModel.train(["aa"], 1)
    assert set(reader.read(image, language_model=model, weight=100.0).text) <= {"a"}
    assert reader.read(image, hotwords=["bbb"], hotword_bonus=50.0).text.count("bbb") > 0
    with pytest.raises(TypeError, match="colour"):
        reader.read(image, colour=True)
    with pytest.raises(OptionError, match="beam must be"):
        reader.read([image], beam=0)


@pytest.mark.parametrize("options", [{}, {"beam": 3}, {"lexicon": ["ab", "b"]}], ids=str)
def test_log_probabilities_are_decoded_in_any_form(reader, options):
    ((_, log_probs, lengths),) = reader.frames([picture(), picture(width=40)])
    wide, narrow = reader.decode(log_probs, lengths, **options)
    assert reader.decode(log_probs, lengths.tolist(), **options) == [wide, narrow]
    longest = int(lengths.argmax())
    (alone,) = reader.decode(log_probs[:, longest], **options)
    assert alone.text == (wide, narrow)[longest].text


def test_what_cannot_be_decoded(reader):
    for log_probs, lengths, message in (
        (torch.zeros(4, 1, 5), None, "log_probs have 5 classes, and the model 3"),
        (torch.zeros(4, 1, 3), [9], r"sample 0: lengths is 9, it must be in \[0, 4\]"),
        (torch.full((4, 1, 3), torch.nan), None, "sample 0: the scores of frame 0 hold NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            reader.decode(log_probs, lengths)
    with pytest.raises(TypeError, match=r"CTC scores are a NumPy array: give a tensor|'log_probs'"):
        reader.decode(np.zeros((4, 1, 3), np.float32))


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_frames_in_which_nothing_is_possible_read_nothing(reader, temperature):
    reader = Reader(reader.model, ALPHABET, temperature=temperature)
    for options in ({}, {"beam": 3}, {"lexicon": ["ab"]}):
        (one,) = reader.decode(torch.full((4, 1, 3), -torch.inf), **options)
        assert (one.text, one.confidence) == ("", 0.0)


def test_a_temperature_changes_no_text(reader):
    images = [picture(width=w, seed=w) for w in (100, 30, 61)]
    warm = Reader(reader.model, ALPHABET, temperature=2.0)
    for before, after in zip(reader.read(images), warm.read(images), strict=True):
        assert (before.text, before.confidence) == (after.text, pytest.approx(after.raw_confidence))
        assert after.confidence != before.confidence
        assert before.raw_confidence == before.confidence


def test_frames_come_in_batches_of_similar_width(reader):
    images = [picture(width=w, seed=w) for w in (100, 30, 61, 200, 45)]
    batches = list(reader.frames(images, batch_size=2))
    assert [numbers for numbers, _, _ in batches] == [[1, 4], [2, 0], [3]]
    for numbers, log_probs, lengths in batches:
        assert log_probs.shape[1] == len(numbers)
        assert lengths.tolist() == [reader.model.frames_for_width(images[i].shape[1]) for i in numbers]


def test_a_reader_introduces_itself_in_a_line(reader):
    shown = repr(Reader(reader.model, ALPHABET, "cpu", temperature=1.5))
    assert re.fullmatch(r"Reader\(tiny, [\d,]+ parameters, 2 characters, cpu, temperature 1.5\)", shown)
    assert "temperature" not in repr(reader)
