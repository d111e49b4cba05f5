"""Model files: weights, alphabet and preset in one safetensors file, written whole or not at all.

Nothing is ever unpickled. The file's metadata holds JSON: ``preset`` (what :meth:`CRNN.from_preset` was
called with), ``alphabet``, and ``notes`` (how the model was trained and how well it reads).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minicrnn.crnn import CRNN
from minicrnn.files import replace_file
from minicrnn.text import Alphabet

FORMAT = "minicrnn-1"


class CheckpointError(ValueError):
    """A model file that cannot be written or read; the message names the file and what to do."""


class Checkpoint(NamedTuple):
    """What a model file holds."""

    model: CRNN
    alphabet: Alphabet
    notes: dict[str, Any]


def save_model(
    path: str | Path,
    model: CRNN,
    alphabet: Alphabet,
    notes: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write a model that :meth:`minicrnn.Reader.load` and :func:`load_model` read back.

    Args:
        half: write weights of two dimensions and more as float16, half the bytes with 11 bits of precision. Vectors,
            among them the variances of BatchNorm, stay as they are.

    Raises:
        CheckpointError: the model was not made from a preset, a weight is too large for float16, or the file cannot
            be written; an older file stays whole.
    """
    if model.preset is None:
        raise CheckpointError(
            "only models from CRNN.from_preset can be saved with their architecture; for a stack of your own, save "
            "model.state_dict() with safetensors and build the stack in code"
        )
    metadata = {
        "format": FORMAT,
        "preset": json.dumps(model.preset),
        "alphabet": alphabet.to_json(),
        "notes": json.dumps(dict(notes or {})),
    }
    tensors = model.state_dict()
    if half:
        tensors = {name: _as_half(name, tensor) if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
    write_tensors(path, tensors, metadata)


def _as_half(name: str, tensor: Tensor) -> Tensor:
    largest = torch.finfo(torch.float16).max
    if not (tensor.abs() <= largest).all():
        raise CheckpointError(f"{name}: a weight is beyond {largest:,.0f}, the largest in float16; save without half")
    return tensor.half()


def load_model(path: str | Path) -> Checkpoint:
    """Read a model file, on the CPU, in float32 and in evaluation mode.

    Raises:
        CheckpointError: the file is missing, is not a model of minicrnn, or is damaged.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: a safetensors file, but not a minicrnn model (its metadata has no format {FORMAT!r}); "
            f"give a best.safetensors or last.safetensors that `minicrnn train` wrote"
        )
    try:
        options = json.loads(metadata["preset"])
        model = CRNN.from_preset(**options)
        model.load_state_dict(tensors)
        alphabet = Alphabet.from_json(metadata["alphabet"])
        notes = json.loads(metadata.get("notes", "{}"))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the model file is damaged or of another version: {error}") from error
    if alphabet.num_classes != options["num_classes"]:
        raise CheckpointError(
            f"{path}: the alphabet has {alphabet.num_classes} classes and the model {options['num_classes']}"
        )
    return Checkpoint(model.eval(), alphabet, notes)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically.

    Raises:
        CheckpointError: the folder is missing or read-only, the disk is full, …; an older file stays whole.
    """
    data = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata)
    )
    write_atomically(path, data)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write to a temporary file in the same folder, then rename: readers see the old file or the new one.

    A symbolic link stays, and what it points to is replaced. What is there and is no regular file, such as a pipe or
    ``/dev/stdout``, is written to as it is.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            replace_file(path, data)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot write {len(data):,} bytes: {error.strerror or error}. What was there before is "
            f"unharmed; make room or choose another folder, and run again"
        ) from error


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the metadata of a safetensors file.

    Raises:
        CheckpointError: the file is missing or is not a safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path}: {what}; give a model file such as RUN/best.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file, or a damaged one ({error}). Pickled models (.pt, .pth) are not "
            f"read: unpickling runs code"
        ) from error
