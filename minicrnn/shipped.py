"""The models that come with minicrnn, by name."""

from collections.abc import Sequence
from pathlib import Path

from minicrnn.checkpoint import CheckpointError

DEFAULT = "words"
WEIGHTS = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"


def shipped_names() -> list[str]:
    """The names of the models that are there, sorted."""
    return sorted(file.stem for file in WEIGHTS.glob(f"*{SUFFIX}"))


def model_file(model: str | Path) -> Path:
    """The file of a model: what is given, or, for a name such as "words", the one that came with minicrnn.

    A name has no slash and no suffix. A file that is called so comes first; a folder does not.

    Raises:
        CheckpointError: there is neither such a file nor such a model.

    >>> model_file("run/best.safetensors").name
    'best.safetensors'
    """
    path = Path(model)
    if path.name != str(model) or path.suffix or path.is_file():
        return path
    if str(model) in shipped_names():
        return WEIGHTS / f"{model}{SUFFIX}"
    names = ", ".join(shipped_names())
    raise CheckpointError(
        f"{model}: there is no such file, and no model of that name comes with this minicrnn "
        f"({f'there are {names}' if names else 'this installation has none'}). Give a model file such as "
        "RUN/best.safetensors; minicrnn train makes one"
    )


def split_model(arguments: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The model and the images of a command line: the model comes first, or is the one called "words".

    >>> split_model([Path("run/best.safetensors"), Path("a.png")])[1] == split_model([Path("a.png")])[1]
    True
    """
    first, *rest = arguments
    if first.suffix == SUFFIX or str(first) in shipped_names():
        return first, rest
    return Path(DEFAULT), list(arguments)
