"""Runs that begin with a trained model's weights."""

import pytest
import torch

import minicrnn
from minicrnn.checkpoint import CheckpointError, load_model, save_model
from minicrnn.crnn import CRNN
from minicrnn.text import Alphabet, AlphabetError
from minicrnn.training import train
from minicrnn.training.start import characters_of, copy_weights, options_of, read_start
from minicrnn.training.state import Progress, save_state
from tests.samples import WORDS
from tests.training.runs import FAST, weights

LAST = "recurrent.classes.weight"
CHARACTERS = sorted(set("".join(WORDS)))
NETWORK = {"out_channels": 64, "hidden_size": 16}


@pytest.fixture
def trained(tmp_path):
    """A model file that knows the words' characters but the first, in another order, and three more."""
    torch.manual_seed(5)
    alphabet = Alphabet(["#", *reversed(CHARACTERS[1:]), "€", "?"])
    model = CRNN.from_preset("tiny", alphabet.num_classes, **NETWORK)
    save_model(tmp_path / "trained.safetensors", model, alphabet)
    return tmp_path / "trained.safetensors"


def weights_of(path):
    return load_model(path).model.state_dict()


def free(options):
    """The options of short runs, without those of the network, which is the model's."""
    return {name: value for name, value in options.items() if name not in ("preset", *NETWORK)}


@pytest.mark.parametrize("alphabet", ["#abc", "cb", "xcby"])
def test_characters_keep_their_rows(trained, alphabet):
    checkpoint = load_model(trained)
    alphabet = Alphabet(alphabet)
    model = CRNN.from_preset("tiny", alphabet.num_classes, **NETWORK)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy_weights(checkpoint, model, alphabet)
    old = checkpoint.model.state_dict()
    for name, tensor in model.state_dict().items():
        if not name.startswith("recurrent.classes."):
            assert torch.equal(tensor, old[name]), name
            continue
        assert torch.equal(tensor[0], old[name][0])  # the blank
        for row, character in enumerate(alphabet.characters, start=1):
            known = character in checkpoint.alphabet.characters
            expected = old[name][1 + checkpoint.alphabet.characters.index(character)] if known else before[name][row]
            assert torch.equal(tensor[row], expected), (name, character)


def test_a_run_starts_from_the_weights(words, trained, tmp_path):
    """At a rate of nearly nothing they stay what they were; characters of the labels are added."""
    result = train(words, tmp_path / "run", start=trained, **free(FAST), epochs=1, rate=1e-12, weight_decay=0.0)
    assert [row.step for row in result.rows] == [0, 3]  # the start is validated, too
    old, new = load_model(trained), load_model(result.folder / "last.safetensors")
    assert set(new.alphabet.characters) == {*old.alphabet.characters, CHARACTERS[0]}
    assert new.model.preset["out_channels"] == 64
    torch.testing.assert_close(weights(result.folder)["features.conv1.weight"], old.model.features.conv1.weight)
    rows = [
        (1 + new.alphabet.characters.index(c), 1 + old.alphabet.characters.index(c)) for c in old.alphabet.characters
    ]
    here, there = zip(*rows, strict=True)
    torch.testing.assert_close(
        weights(result.folder)[LAST][list(here)], old.model.state_dict()[LAST][list(there)], atol=1e-6, rtol=1e-6
    )


def test_it_goes_on_without_the_model(words, trained, tmp_path):
    train(words, tmp_path / "run", start=trained, **free(FAST), epochs=1, schedule="constant", warmup=0.0)
    trained.unlink()
    result = train(words, tmp_path / "run", resume=True, epochs=2)
    assert [row.epoch for row in result.rows] == [0, 1, 2]
    train(words, tmp_path / "run", resume=True, epochs=2, start=trained.parent / "run" / ".." / trained.name)
    with pytest.raises(CheckpointError, match=r"start is other\.safetensors now and was .*trained\.safetensors"):
        train(words, tmp_path / "run", resume=True, epochs=3, start="other.safetensors")


def test_learnt_words_need_no_second_training(words, tmp_path):
    first = train(words, tmp_path / "a", val=words, **FAST, epochs=100, rate=1e-2, augment=0.0, validate_every=100)
    assert first.rows[-1].val_word_accuracy == 1.0
    again = train(words, tmp_path / "b", val=words, start=first.best, **free(FAST), epochs=1, rate=1e-5, augment=0.0)
    assert again.rows[-1].val_word_accuracy == 1.0


def test_the_best_model_is_never_worse_than_the_start(words, tmp_path):
    first = train(words, tmp_path / "a", val=words, **FAST, epochs=100, rate=1e-2, augment=0.0, validate_every=100)
    ruined = train(words, tmp_path / "b", val=words, start=first.best, **free(FAST), epochs=2, rate=1.0, augment=0.0)
    assert [row.val_word_accuracy == 1.0 for row in ruined.rows] == [True, False, False]
    best = weights_of(ruined.best)
    assert all(torch.equal(tensor, best[name]) for name, tensor in weights_of(first.best).items())


def test_the_rate_is_a_third_of_the_usual_one(trained):
    checkpoint = load_model(trained)
    assert options_of(checkpoint, {})["rate"] == pytest.approx(1e-3)
    assert options_of(checkpoint, {"optimiser": "adadelta", "rate": None})["rate"] == pytest.approx(1 / 3)
    assert "rate" not in options_of(checkpoint, {"rate": 0.1})


def test_the_calibration_is_kept_until_there_is_another(words, trained, tmp_path):
    checkpoint = load_model(trained)
    calibration = {"temperature": 1.5, "drift": 2.0, "images": 100}
    save_model(trained, checkpoint.model, checkpoint.alphabet, {"calibration": calibration})
    result = train(words, tmp_path / "run", start=trained, **free(FAST), epochs=1)
    for name in ("best", "last"):
        reader = minicrnn.Reader.load(result.folder / f"{name}.safetensors")
        assert (reader.temperature, reader.drift) == (1.5, 2.0)  # three images are too few to fit any
        assert load_model(result.folder / f"{name}.safetensors").notes["start"] == str(trained)


def test_a_demo_is_not_resumed_from_a_start(tmp_path):
    (tmp_path / "run").mkdir()
    model = CRNN.from_preset("tiny", 3, **NETWORK)
    optimiser = torch.optim.AdamW(model.parameters())
    state = tmp_path / "run" / "state.safetensors"
    save_state(state, model, optimiser, Progress(), {"demo": True}, torch.device("cpu"))
    with pytest.raises(CheckpointError, match="a demo in this folder"):
        train(None, tmp_path / "run", resume=True, start="words")


def test_refusals(words, trained, tmp_path):
    with pytest.raises(
        ValueError, match="out_channels is 32, and 64 in the model to start from: leave out_channels out"
    ):
        train(words, tmp_path / "run", start=trained, out_channels=32)
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors: does not exist"):
        train(words, tmp_path / "run", start=tmp_path / "nothing.safetensors")
    save_model(tmp_path / "colour.safetensors", CRNN.from_preset("tiny", 3, in_channels=3), Alphabet("ab"))
    with pytest.raises(CheckpointError, match="reads images of several channels"):
        read_start(tmp_path / "colour.safetensors")
    assert not (tmp_path / "run").exists()


def test_characters_of_labels_and_model():
    assert characters_of(["ab"]).characters == ("a", "b")
    assert characters_of(["e\u0301"], Alphabet("x", normalization=None)).characters == ("e", "x", "\u0301")
    assert characters_of([], Alphabet("x")).characters == ("x",)
    with pytest.raises(AlphabetError):
        characters_of([])


def test_the_reader_that_comes_along_is_a_start():
    assert read_start("words").alphabet.characters == minicrnn.Reader.load("words").alphabet.characters
