"""Configuration files of ``minicrnn train``: TOML, each key an option of the command."""

import tomllib
import types
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from minicrnn.reader import OptionError
from minicrnn.training import TrainOptions

_PLACES = {"data": str, "out": str, "val": str, "labels": str, "pattern": str, "alphabet": str, "start": str}
_TABLES = {"mix": dict, "render": dict}
_IN_WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", dict: "a table"}


def read_config(path: Path) -> dict[str, Any]:
    """The options that a file gives, by name. Paths in it are relative to the current folder, as in the command.

    A file may look like this:

        preset = "vgg"
        alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
        steps = 40_000
        val = "photos"

        [mix]
        render = 3
        "scans/letters" = 1

    Raises:
        OptionError: the file cannot be read, is not TOML, has an unknown key, or a value of another type.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"--config {path}: cannot be opened: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"--config {path}: not a TOML file: {error}") from error
    kinds = _kinds()
    unknown = [key for key in found if key not in kinds]
    if unknown:
        raise OptionError(
            f"--config {path}: unknown {', '.join(unknown)}. Keys are the options of minicrnn train, with _ for -: "
            f"{', '.join(sorted(kinds))}"
        )
    for key, value in found.items():
        if not _fits(value, kinds[key]):
            raise OptionError(f"--config {path}: {key} must be {_IN_WORDS[kinds[key]]}, not {value!r}")
    return {key: float(value) if kinds[key] is float else value for key, value in found.items()}


def _kinds() -> dict[str, type]:
    """The type of every key."""
    return {name: _without_none(kind) for name, kind in get_type_hints(TrainOptions).items()} | _PLACES | _TABLES


def _without_none(kind: Any) -> type:
    if get_origin(kind) is types.UnionType:
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
