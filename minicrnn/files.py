"""Files that are written whole or not at all, and whether they can be, before the work that goes into one."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from minicrnn.errors import OptionError


def require_folder_of(path: str | Path) -> None:
    """Refuse a file that is to be written into a folder that is not there.

    Raises:
        OptionError: the folder does not exist.
    """
    if not Path(path).absolute().parent.is_dir():
        raise OptionError(f"{path}: the folder does not exist: make it, or choose another")


def require_no_input(path: str | Path, inputs: Iterable[str | Path | None]) -> None:
    """Refuse to write over what is read: a file of ``inputs``, or one in a folder of them. None is no file.

    Raises:
        OptionError: naming both.
    """
    path = Path(path)
    if not path.exists():
        return
    for one in (Path(one) for one in inputs if one is not None and Path(one).exists()):
        if path.samefile(one):
            raise OptionError(f"{path} is read here, and would be overwritten: choose another file to write")
        if one.is_dir() and path.resolve().is_relative_to(one.resolve()):
            raise OptionError(f"{path} is there already, and {one} is read here: choose another file to write")


def replace_file(path: str | Path, data: bytes) -> None:
    """Write to a temporary file in the same folder, then rename: readers see the old file or the new one.

    A symbolic link stays, and what it points to is replaced.

    Raises:
        OSError: the file cannot be written; an older file stays whole.
    """
    path = Path(path).resolve()
    if not path.parent.is_dir():  # otherwise the error would name the temporary file
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist: make it, or choose another", str(path))
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_UMASK)  # a temporary file is private; the result should not be
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # once: it can only be read by setting it, which other threads would notice
