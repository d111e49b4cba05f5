"""How CPU kernels are compiled: at their first call, once; the machine code is kept on disk.

Numba notices that a cached function is stale by the date of the one file that holds it, not of the functions it
calls. Kernels here call across files, so the cache folder is named after a digest of a kernel's own file and of all
that it imports here: edit one of these, and it is compiled anew.
"""

import contextlib
import hashlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered into vector lanes; the order is fixed when the code is compiled, so results repeat exactly.
REORDERED = {"reassoc", "contract", "nsz"}
FUSED = {"contract"}

# Only loops written with prange become parallel: array expressions are short here, and analysing them takes long.
_PARALLEL = {"prange": True} | dict.fromkeys(
    ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False
)

# Integers are divided without a look for zero, and a product and a sum may be fused.
inner_function: Any = numba.njit(error_model="numpy", fastmath=FUSED)

# "from minicrnn_kernels.x import y" and "from minicrnn_kernels import x, y": reading the syntax would take too long.
_IMPORT = re.compile(r"^from minicrnn_kernels(?:\.(\w+))? import (.*)$", re.MULTILINE)

_FOLDER = Path(__file__).parent
_config: Any = numba.config


def _sources(module: str) -> dict[str, bytes]:
    """The text of a module of this package and of all modules of it that it imports, by name."""
    found: dict[str, bytes] = {}
    wanted = [module]
    while wanted:
        name = wanted.pop()
        file = _FOLDER / f"{name}.py"
        if name in found or not file.exists():
            continue
        found[name] = file.read_bytes()
        for inside, names in _IMPORT.findall(found[name].decode()):
            wanted += [inside] if inside else re.findall(r"\w+", names)
    return found


def cache_folder(module: str) -> Path | None:
    """Where the machine code of the kernels of a module is kept; None if there is no such place.

    The first that can be written to of NUMBA_CACHE_DIR, the package itself, and the user's cache.
    """
    digest = hashlib.sha256()
    for _, source in sorted(_sources(module).items()):
        digest.update(source)
    users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "minicrnn"
    for root in filter(None, (_config.CACHE_DIR, _FOLDER / "__pycache__", users)):
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            folder = Path(root).expanduser() / f"kernels-{digest.hexdigest()[:12]}"
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return None


def parallel_kernel(function: Function) -> Function:
    """Compile a function with ``prange`` at its first call, and cache it. Releases the interpreter's lock."""
    compiler: Any = numba.njit
    folder = cache_folder(function.__module__.rpartition(".")[2])
    # Numba asks for the folder when a function is decorated; other people's functions keep theirs.
    usual, _config.CACHE_DIR = _config.CACHE_DIR, str(folder or "")
    try:
        return compiler(parallel=_PARALLEL, nogil=True, cache=folder is not None)(function)
    finally:
        _config.CACHE_DIR = usual


def must_be_compiled(kernel: Any) -> bool:
    """Whether the cache could keep the machine code of a kernel, and holds none."""
    folder = kernel.stats.cache_path  # None if there is no cache
    if folder is None:
        return False
    name = f"{kernel.__module__.rpartition('.')[2]}.{kernel.__qualname__}"
    return not any(Path(folder).glob(f"{name}-*.nbi"))


@contextmanager
def compilation_notice(kernel: Any) -> Iterator[None]:
    """Say on stderr what is being compiled, if the first call of a kernel, made inside, takes more than a second."""
    notice = threading.Timer(1.0, _announce, [kernel])
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


def _announce(kernel: Any) -> None:
    module = kernel.__module__.rpartition(".")[2]
    kept = "once, the machine code is kept" if cache_folder(module) else "at each start: no cache folder can be written"
    print(f"compiling the kernel {module}.{kernel.__name__}: {kept}", file=sys.stderr)
