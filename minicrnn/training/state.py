"""All that a run needs to go on exactly where it stopped, in one safetensors file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minicrnn.checkpoint import CheckpointError, read_tensors, write_tensors

FORMAT = "minicrnn-training-2"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: optimiser steps tried, skipped ones included.
        epoch: the epoch under way, from 0, and
        batch: the next batch in it.
        skipped: steps left out because loss or gradients were not finite.
        skipped_in_a_row: those since the last good step.
        images, seconds: trained on so far, and the time that took, over all sittings and without validation.
        loss_sum, loss_count: of the epoch under way.
        best: the best validation score so far, [word accuracy, −CER, −loss]; empty before the first.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    images: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: list[float] = field(default_factory=list)


def save_state(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    identity: dict[str, Any],
    device: torch.device,
) -> None:
    """Write weights, optimiser, random state (the CPU's, and that of the ``device`` trained on) and progress.

    Raises:
        CheckpointError: the file cannot be written.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    plain: dict[str, dict[str, Any]] = {}
    for number, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{number}.{name}"] = value
            else:
                plain.setdefault(str(number), {})[name] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    metadata = {
        "format": FORMAT,
        "progress": json.dumps(asdict(progress)),
        "optimiser": json.dumps(plain),
        "identity": json.dumps(identity),
    }
    write_tensors(path, tensors, metadata)


def read_identity(path: Path) -> dict[str, Any]:
    """What the run was started with, such as its options, alphabet and data.

    Raises:
        CheckpointError: there is no state to resume from, or the file is something else.
    """
    try:
        return dict(json.loads(_read(path)[1]["identity"]))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: damaged, it does not say what run it belongs to: {error!r}") from error


def load_state(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device) -> Progress:
    """Put weights, optimiser and random state back; returns the progress.

    Raises:
        CheckpointError: the file is missing, is something else, or does not fit the model.
    """
    tensors, metadata = _read(path)
    try:
        model.load_state_dict(_below("model.", tensors))
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in _below("optimiser.", tensors).items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        for number, values in json.loads(metadata["optimiser"]).items():
            state.setdefault(int(number), {}).update(values)
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
        progress = Progress(**json.loads(metadata["progress"]))
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit this run: {error}") from error
    return progress


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no run to resume here; start one without --resume")
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not the state of a minicrnn training run")
    return tensors, metadata


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
