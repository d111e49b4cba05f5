"""Products of a few rows with weights that are kept from call to call, on the CPU: for reading one image.

    out[b] = a[:, b] W[b]          a: [P, B, K]   W: [B, K, C]   out: [B, P, C]

The kernel, and why it is faster than a BLAS for few rows, is in ``minicrnn_kernels.few_rows``.
"""

from jaxtyping import Float
from torch import Tensor

from minicrnn.threads import kernel_threads, run_kernel

PANEL = 16  # columns of W that the kernel takes together
MOST_ROWS = 64  # with more, the rows take the time and not the weights, and a BLAS is as fast
FEWEST_FEATURES = 128  # with fewer, too


def suits(P: int, K: int) -> bool:
    """Whether P rows of K features are multiplied faster so than by a BLAS."""
    return 0 < P <= MOST_ROWS and K >= FEWEST_FEATURES


def pack(W: Float[Tensor, "B K C"]) -> Float[Tensor, "B panels K 16"]:
    """W as the kernel reads it: sixteen columns at a time, with columns of zeros after the last.

    >>> import torch
    >>> pack(torch.ones(1, 4, 17)).shape
    torch.Size([1, 2, 4, 16])
    """
    B, K, C = W.shape
    panels = -(-C // PANEL)
    padded = W.new_zeros(B, K, panels * PANEL)
    padded[:, :, :C] = W
    return padded.view(B, K, panels, PANEL).transpose(1, 2).contiguous()


def products(a: Float[Tensor, "P B K"], packed: Float[Tensor, "B panels K 16"], out: Float[Tensor, "B P C"]) -> None:
    """out[b] = a[:, b] W[b], for packed weights.

    No size is 0. All are of one type, float32 or float64, and contiguous, ``out`` along its columns at least.

    Raises:
        ValueError: the sizes do not fit.

    >>> import torch
    >>> out = torch.empty(1, 2, 3)
    >>> products(torch.ones(2, 1, 4), pack(torch.ones(1, 4, 3)), out)
    >>> out
    tensor([[[4., 4., 4.],
             [4., 4., 4.]]])
    """
    from minicrnn_kernels import few_rows

    sizes = (a.shape[1], out.shape[1], a.shape[2], -(-out.shape[2] // PANEL))
    if sizes != (out.shape[0], a.shape[0], packed.shape[2], packed.shape[1]) or not all(sizes):
        raise ValueError(f"{list(a.shape)} times weights packed as {list(packed.shape)} is not {list(out.shape)}")
    threads = kernel_threads()
    B, P, C = out.shape
    tasks = -(-threads // B)
    product_step, row_step, _ = out.stride()
    flat = out.as_strided(((B - 1) * product_step + (P - 1) * row_step + C,), (1,))
    run_kernel(
        few_rows.products, threads, a.dtype,
        a.detach().numpy(), packed.numpy(), C, flat.numpy(), product_step, row_step, tasks,
    )  # fmt: skip
