"""Runs that begin with the weights of a trained model, where others begin with random numbers.

The network is the model's. Its last layer has a row of weights for each character: the rows of characters that the
run's alphabet has, too, are copied, each to its character's place, and those of new characters begin at random.
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

OF_THE_NETWORK = ("preset", "out_channels", "hidden_size")
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


def network_of(checkpoint: Checkpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that make the model's network.

    Raises:
        ValueError: options that are given ask for another one.
    """
    assert checkpoint.model.preset is not None
    own = dict(
        zip(OF_THE_NETWORK, (checkpoint.model.preset[key] for key in ("name", *OF_THE_NETWORK[1:])), strict=True)
    )
    for name, value in own.items():
        if given.get(name, value) != value:
            raise ValueError(f"{name} is {given[name]!r}, and {value!r} in the model to start from: leave {name} out")
    return own


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
    return f"{len(kept)} of {len(alphabet.characters)} characters known" + (f", new: {new}" if new else "")
