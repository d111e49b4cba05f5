"""The only place that chooses between implementations of an operation.

A level is a name: ``"torch"`` (vectorised torch primitives, any device) or ``"numba"`` (compiled kernels, for the CPU
and for CUDA). The table below lists, for each operation, the levels that exist and the tensors each can take, fastest
first. Users pin a level with :func:`use_backend`; operations ask :func:`choose`.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from minicrnn.autograd import is_transformed
from minicrnn.threads import kernels_usable

# What the CUDA kernels read; they compute in float32.
CUDA_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
BACKENDS = ("auto", "torch", "numba")
LARGE = 1 << 21  # numbers of a tensor


def _has_ctc_kernel(scores: Tensor) -> bool:
    if scores.device.type == "cpu":
        return scores.is_floating_point() and kernels_usable()
    return scores.is_cuda and scores.dtype in CUDA_DTYPES and _cuda_kernels_usable()


def _has_cpu_kernel(tensor: Tensor) -> bool:
    if torch.compiler.is_compiling():  # torch.compile cannot look into a kernel
        return False
    plain = tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)
    return plain and kernels_usable() and not is_transformed(tensor)


def _has_batch_norm_kernel(images: Tensor) -> bool:
    """Images that are not channels last would have to be converted, which takes longer; it is done if asked for."""
    asked = _forced.get() == "numba"
    return _has_cpu_kernel(images) and (asked or images.dim() != 4 or images.permute(0, 2, 3, 1).is_contiguous())


def _has_relu_kernel(tensor: Tensor) -> bool:
    """It moves less memory, and that takes a large tensor to show; of smaller ones it takes those it is asked for."""
    return _has_cpu_kernel(tensor) and (_forced.get() == "numba" or tensor.numel() >= LARGE)


def _has_decoders(scores: Tensor) -> bool:
    """They copy what is on another device to the host."""
    return kernels_usable()


def _always(tensor: Tensor) -> bool:
    return True


@functools.cache
def _cuda_kernels_usable() -> bool:
    """Asked once, so that the warning comes once."""
    from minicrnn_kernels.cuda_available import why_no_cuda

    why = why_no_cuda()
    if why:
        message = f'{why}: the CTC loss of CUDA tensors runs without kernels, slower; pip install "minicrnn[cuda]"'
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return not why


_IMPLEMENTATIONS: dict[str, dict[str, Callable[[Tensor], bool]]] = {
    "batch_norm": {"numba": _has_batch_norm_kernel, "torch": _always},
    "ctc_decoding": {"numba": _has_decoders, "torch": _always},
    "conv2d": {"numba": _has_cpu_kernel, "torch": _always},
    "ctc_loss": {"numba": _has_ctc_kernel, "torch": Tensor.is_floating_point},
    "max_pool2d": {"numba": _has_cpu_kernel, "torch": _always},
    "relu": {"numba": _has_relu_kernel, "torch": _always},
    "lstm": {"numba": _has_cpu_kernel, "torch": Tensor.is_floating_point},
}

# A context variable, not a global: a thread or an asyncio task that pins a level does not disturb the others.
_forced: ContextVar[str] = ContextVar("minicrnn_backend", default="auto")


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run the operations inside the ``with`` at one level: ``"torch"``, ``"numba"``, or ``"auto"``.

    Nests; the previous choice returns on leaving. Seen by the current thread or asyncio task only. The
    backward pass runs at the level that the forward pass ran at.

    Raises:
        ValueError: no such level.

    >>> import torch
    >>> with use_backend("torch"):
    ...     choose("ctc_loss", torch.zeros(4, 2, 3))
    'torch'
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}: choose one of {', '.join(BACKENDS)}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def pinned() -> str:
    """The level that :func:`use_backend` asks for here; ``"auto"`` if it does not.

    >>> with use_backend("torch"):
    ...     pinned()
    'torch'
    """
    return _forced.get()


def choose(operation: str, tensor: Tensor) -> str:
    """Name the level that runs ``operation`` on ``tensor``, by its device and dtype and the user's choice.

    Raises:
        ValueError: no such operation.
        NotImplementedError: the level forced by :func:`use_backend` has no implementation of the operation,
            or none that takes this tensor.

    >>> import torch
    >>> choose("ctc_loss", torch.zeros(4, 2, 3))
    'numba'
    """
    if operation not in _IMPLEMENTATIONS:
        raise ValueError(f"unknown operation {operation!r}: choose one of {', '.join(_IMPLEMENTATIONS)}")
    forced, levels = _forced.get(), _IMPLEMENTATIONS[operation].items()
    for name, takes in levels:
        if forced in (name, "auto") and takes(tensor):
            return name
    able = [name for name, takes in levels if takes(tensor)]
    wanted = "" if forced == "auto" else f"{forced} "
    raise NotImplementedError(
        f"{operation} has no {wanted}implementation for {tensor.dtype} on {tensor.device}; "
        f"there is: {', '.join(able) or 'none'}"
    )
