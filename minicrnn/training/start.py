"""Runs that begin with the weights of a trained model, where others begin with random numbers.

The network is the model's. Its last layer has a row of weights for each character: the rows of characters that the
run's alphabet has, too, are copied, each to its character's place, and those of new characters begin at random.

Such a run learns at a third of the usual rate unless told otherwise; is validated before its first step, so that the
best model is never worse than the first; and keeps the first one's calibration until it can fit one of its own.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from minicrnn.checkpoint import Checkpoint, CheckpointError, load_model
from minicrnn.crnn import CRNN
from minicrnn.shipped import model_file
from minicrnn.text import Alphabet
from minicrnn.training.options import DEFAULT_RATES, TrainOptions

OF_THE_USUAL_RATE = 1 / 3
OF_THE_NETWORK = {"preset": "name", "out_channels": "out_channels", "hidden_size": "hidden_size"}  # here, and there
_LAST = "recurrent.classes."  # the layer that has a row for each class


def read_start(start: str | Path) -> Checkpoint:
    """The model to begin with: a file, or the name of one that comes with minicrnn.

    Raises:
        CheckpointError: there is no such model, or it reads colour, and a run trains on grey images.
    """
    checkpoint = load_model(model_file(start))
    assert checkpoint.model.preset is not None
    if checkpoint.model.preset["in_channels"] != 1:
        raise CheckpointError(f"{start}: reads images of several channels, and a run trains on grey ones: start anew")
    return checkpoint


def options_of(checkpoint: Checkpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that make the model's network, and its learning rate if none is given.

    Raises:
        ValueError: options that are given ask for another one.
    """
    assert checkpoint.model.preset is not None
    own = {option: checkpoint.model.preset[key] for option, key in OF_THE_NETWORK.items()}
    for name, value in own.items():
        if given.get(name) not in (None, value):
            raise ValueError(f"{name} is {given[name]!r}, and {value!r} in the model to start from: leave {name} out")
    if given.get("rate") is None:
        own["rate"] = DEFAULT_RATES[given.get("optimiser") or TrainOptions.optimiser] * OF_THE_USUAL_RATE
    return own


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two ways to name a model to start from, None for none, name the same."""
    return one == other or (None not in (one, other) and Path(str(one)).resolve() == Path(str(other)).resolve())


def characters_of(texts: Iterable[str], known: Alphabet | None = None) -> Alphabet:
    """The alphabet of a run for which none is given: all characters of the labels, and those that are known already.

    Raises:
        AlphabetError: there are none.

    >>> characters_of(["hello"], Alphabet("ab"))
    Alphabet('abehlo')
    """
    if known is None:
        return Alphabet.from_texts(texts)
    return Alphabet.from_texts(chain(known.characters, texts), normalization=known.normalization)


def copy_weights(checkpoint: Checkpoint, model: CRNN, alphabet: Alphabet) -> str:
    """Copy a model's weights into one of the same network for another alphabet; says in words what was copied."""
    weights, target = checkpoint.model.state_dict(), model.state_dict()
    known = {character: row for row, character in enumerate(checkpoint.alphabet.characters, start=1)}
    kept = [(row, known[c]) for row, c in enumerate(alphabet.characters, start=1) if c in known]
    to, of = (torch.tensor(rows) for rows in zip((Alphabet.blank, Alphabet.blank), *kept, strict=True))
    for name, weight in weights.items():
        if name.startswith(_LAST):
            rows = target[name].clone()
            rows[to] = weight[of]
            weights[name] = rows
    model.load_state_dict(weights)
    new = "".join(character for character in alphabet.characters if character not in known)
    return f"{len(kept)} of {len(alphabet.characters)} characters known" + (f", new: {new!r}" if new else "")
