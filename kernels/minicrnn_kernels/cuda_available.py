"""Whether CUDA kernels can run here. Imports without numba-cuda, unlike the kernels."""

import functools


@functools.cache
def why_no_cuda(device: int | None = None) -> str:
    """What stands in the way of the CUDA kernels, in words; empty if nothing does.

    They are compiled to find out. That takes a second or two, and the first loss needs them anyway.

    Args:
        device: its index; by default the one that is current when first asked.
    """
    try:
        import numba_cuda  # type: ignore[import-untyped]  # noqa: F401  (numba alone brings an older numba.cuda)
        from numba import cuda
    except ImportError:
        return "numba-cuda is not installed"
    if not cuda.is_available():
        return "numba-cuda finds no usable CUDA driver"
    from minicrnn_kernels import ctc_cuda

    try:
        ctc_cuda.compile_for(cuda.get_current_device().id if device is None else device)
    except Exception as error:  # compiler, linker and driver have their own, and a new GPU or driver brings new ones
        says = str(error).strip().splitlines() or ["no reason given"]
        return (
            f"numba-cuda cannot compile for this GPU and its driver ({type(error).__name__}: {says[0]}; "
            'a driver for CUDA 12 needs "minicrnn[cuda12]")'
        )
    return ""
