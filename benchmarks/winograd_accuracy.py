"""How exact Winograd convolution is in float32: the layers of preset vgg, against float64.

    python benchmarks/winograd_accuracy.py --out benchmarks/results/winograd_accuracy.md

Errors of the output y, and of the gradients dx and dw, are given relative to the root mean square of what they are
errors of: the root mean square error, and the largest. The answers in float32 are

    direct      the matrix of windows, ``minicrnn.layers.conv``
    F(2×2)      Winograd with the points 0, ±1, ∞
    F(4×4)      Winograd with the points 0, ±5/8, ±3/2, ∞
    ±1, ±2      F(4×4) as Lavin and Gray have it, with the points 0, ±1, ±2, ∞: computed here, with torch's einsum

from one batch of normal numbers, and of normal numbers behind a ReLU; weights have the standard deviation that keeps
variances, √(2 / 9 C_in); upstream gradients are normal. The reference is the matrix of windows in float64.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from minicrnn.layers import winograd
from minicrnn.layers.conv import Conv2dSaved, conv2d_backward, conv2d_forward
from minicrnn.layers.window_matrix import ConvOptions
from minicrnn.naive.winograd import winograd_matrices

# C_in, C_out, H, W of the 3×3 convolutions after the first, for images of 32×100.
LAYERS = ((64, 128, 16, 50), (128, 256, 8, 25), (256, 256, 8, 25), (256, 512, 4, 25), (512, 512, 4, 25))
OPTIONS = ConvOptions((3, 3), pads=(1, 1, 1, 1))
LAVIN = (0.0, 1.0, -1.0, 2.0, -2.0)
Answer = tuple[Tensor, Tensor, Tensor]  # y, dx [N, H, W, C] and dw


def direct(x: Tensor, weight: Tensor, dy: Tensor) -> Answer:
    images, upstream = x.permute(0, 3, 1, 2), dy.permute(0, 3, 1, 2)
    y, _ = conv2d_forward(images, weight, None, OPTIONS)
    dx, dw, _ = conv2d_backward(upstream, Conv2dSaved(images, weight, OPTIONS))
    assert dx is not None
    assert dw is not None
    return y.permute(0, 2, 3, 1), dx.permute(0, 2, 3, 1), dw


def ours(x: Tensor, weight: Tensor, dy: Tensor, tile: int) -> Answer:
    U = winograd.prepare(weight, tile)
    y, dx, dU = torch.empty_like(dy), torch.empty_like(x), torch.zeros_like(U)
    N, H, W, C_in = x.shape
    scratch = x.new_empty(winograd.scratch_numbers(N, H, W, C_in, len(weight), OPTIONS, tile))
    winograd.forward(x, U, OPTIONS, tile, y, scratch)
    winograd.backward(x, dy, U, OPTIONS, tile, dU, dx, scratch)
    return y, dx, winograd.finish(dU, tile)


def with_points(x: Tensor, weight: Tensor, dy: Tensor, points: tuple[float, ...]) -> Answer:
    """F(4×4, 3×3) with any points, by the equations; the transforms one axis after the other, as the kernels do."""
    A, B, G = (torch.tensor(matrix, dtype=x.dtype) for matrix in winograd_matrices(4, points))
    (N, H, W, C_in), C_out = x.shape, len(weight)
    rows, columns = -(-H // 4), -(-W // 4)
    places = [(slice(4 * h, 4 * h + 6), slice(4 * w, 4 * w + 6)) for h in range(rows) for w in range(columns)]
    xp, dyp = x.new_zeros(N, 4 * rows + 2, 4 * columns + 2, C_in), x.new_zeros(N, 4 * rows, 4 * columns, C_out)
    xp[:, 1 : H + 1, 1 : W + 1], dyp[:, :H, :W] = x, dy
    yp, dxp = torch.zeros_like(dyp), torch.zeros_like(xp)

    def both_axes(matrix: Tensor, tiles: Tensor) -> Tensor:
        return torch.einsum("bj,kajc->kabc", matrix, torch.einsum("ai,kijc->kajc", matrix, tiles))

    d = torch.cat([xp[:, h, w] for h, w in places])
    dd = torch.cat([dyp[:, h.start : h.start + 4, w.start : w.start + 4] for h, w in places])
    V, dM = both_axes(B.T, d).permute(1, 2, 0, 3), both_axes(A, dd).permute(1, 2, 0, 3)  # [6, 6, P, C]
    U = both_axes(G, weight.permute(1, 2, 3, 0)).permute(1, 2, 0, 3)  # [6, 6, C_in, C_out]
    results = both_axes(A.T, (V @ U).permute(2, 0, 1, 3)).split(N)
    gradients = both_axes(B, (dM @ U.mT).permute(2, 0, 1, 3)).split(N)
    for (h, w), result, gradient in zip(places, results, gradients, strict=True):
        yp[:, h.start : h.start + 4, w.start : w.start + 4] = result
        dxp[:, h, w] += gradient
    dw = both_axes(G.T, (V.mT @ dM).permute(2, 0, 1, 3)).permute(3, 0, 1, 2)
    return yp[:, :H, :W], dxp[:, 1 : H + 1, 1 : W + 1], dw


def errors(answer: Answer, reference: Answer) -> str:
    cells = []
    for result, exact in zip(answer, reference, strict=True):
        scale, error = exact.square().mean().sqrt(), result.double() - exact
        cells.append(f"{1e6 * error.square().mean().sqrt() / scale:.2f} / {1e6 * error.abs().max() / scale:.1f}")
    return " | ".join(cells)


def table(relu: bool, images: int) -> list[str]:
    lines = ["| layer | method | y | dx | dw |", "|---|---|---|---|---|"]
    generator = torch.Generator().manual_seed(0)
    for C_in, C_out, H, W in LAYERS:
        shapes = (images, H, W, C_in), (C_out, C_in, 3, 3), (images, H, W, C_out)
        x, weight, dy = (torch.randn(shape, generator=generator) for shape in shapes)
        if relu:
            x.clamp_(min=0)
        weight *= (2 / (9 * C_in)) ** 0.5
        reference = direct(x.double(), weight.double(), dy.double())
        answers = {
            "direct": direct(x, weight, dy),
            "F(2×2)": ours(x, weight, dy, 2),
            "F(4×4)": ours(x, weight, dy, 4),
            "±1, ±2": with_points(x, weight, dy, LAVIN),
        }
        for method, answer in answers.items():
            lines.append(f"| {C_in}→{C_out}, {H}×{W} | {method} | {errors(answer, reference)} |")
    return lines


def main(
    images: Annotated[int, typer.Option(help="in the batch")] = 16,
    out: Annotated[Path | None, typer.Option(help="a Markdown file to write")] = None,
) -> None:
    """Print the tables, and write them to a file if one is given."""
    lines = [
        "# Accuracy of Winograd convolution in float32",
        "",
        f"`python benchmarks/winograd_accuracy.py --images {images}`, torch {torch.__version__}. Errors in millionths",
        "of the root mean square of the exact values: root mean square / largest.",
    ]
    for relu in (False, True):
        lines += ["", f"## Inputs: normal{' behind a ReLU' if relu else ''}", "", *table(relu, images)]
    text = "\n".join(lines) + "\n"
    print(text)
    if out is not None:
        out.write_text(text)


if __name__ == "__main__":
    typer.run(main)
