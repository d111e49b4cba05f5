"""Whether CUDA kernels can run here. Imports without numba-cuda, unlike the kernels."""

import functools


@functools.cache
def why_no_cuda() -> str:
    """What stands in the way of the CUDA kernels, in words; empty if nothing does."""
    try:
        import numba_cuda  # type: ignore[import-untyped]  # noqa: F401  (numba alone brings an older numba.cuda)
        from numba import cuda
    except ImportError:
        return "numba-cuda is not installed"
    if not cuda.is_available():
        return "numba-cuda finds no usable CUDA driver"
    return ""
