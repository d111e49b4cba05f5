"""Reading: ours against torch.nn, and against onnxruntime running the exported twin.

The network is preset ``vgg``, or that of a model file.

One image of 32×100 and batches, from a tensor of pixels to logits, without gradients, as a ``Reader`` does it: weights
are prepared once, and the calls that one image takes are recorded once. torch.nn is measured in its default memory
layout and channels last. onnxruntime comes third where onnx and onnxruntime are installed. All sides have the same
weights, take turns in one run, and their logits are compared first.

    python benchmarks/read.py
    python benchmarks/read.py words        # the model that comes with minicrnn
"""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pairs import interleaved, machine
from torch import Tensor, nn

import minicrnn as mc
from minicrnn.replay import Replays

NUM_CLASSES = 37
OURS = "minicrnn"
IN_A_ROW = 5  # one image after the other, as somebody reads them


class Plain(nn.Module):
    """torch.nn's layers in a row, without what a CRNN does for images of several widths."""

    def __init__(self, twin: mc.CRNN) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, images: Tensor) -> Tensor:
        x = self.twin.features(images).squeeze(2).permute(2, 0, 1)
        for layer in self.twin.recurrent:
            x = layer(x)[0] if isinstance(layer, nn.LSTM) else layer(x)
        return x


def onnx_session(plain: Plain, images: Tensor, threads: int) -> Callable[[], Any] | None:
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return None
    file = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(plain, (images,), file, input_names=["images"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    values = images.numpy()
    return lambda: session.run(None, {"images": values})[0]


def sides_of(model: mc.CRNN, images: Tensor, threads: int) -> dict[str, Callable[[], Any]]:
    plain = Plain(mc.to_torch(model)).eval()
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images_last = images.to(memory_format=torch.channels_last)
    replays = Replays()
    sides: dict[str, Callable[[], Any]] = {
        "torch.nn": lambda: plain(images),
        "torch.nn, channels last": lambda: last(images_last),
        OURS: lambda: replays(model, images)[0],
    }
    session = onnx_session(plain, images, threads)
    return sides | ({"onnxruntime": session} if session else {})


def main(
    model_file: Annotated[str, typer.Argument(help="Model file, or a model's name; a new network by default.")] = "",
    threads: Annotated[int, typer.Option()] = 2,
    seconds: Annotated[float, typer.Option(help="Time for each batch size, at least.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if model_file:
        model = mc.Reader.load(model_file, "cpu").model
        about = f"{model_file}, {sum(p.numel() for p in model.parameters()):,} parameters"
    else:
        model, about = mc.CRNN.from_preset("vgg", NUM_CLASSES).eval(), "preset vgg"
    lines = ["| images of 32×100 | side | ms | × torch.nn's better layout |", "|---|---|---|---|"]
    with torch.no_grad():
        for batch in (1, 8, 64):
            images = torch.randn(batch, 1, 32, 100)
            sides = sides_of(model, images, threads)
            expected = torch.as_tensor(sides["torch.nn"]())
            for side, run in sides.items():
                # float32, sums in another order through nine layers.
                torch.testing.assert_close(
                    torch.as_tensor(run()), expected, atol=2e-3, rtol=1e-3, msg=f"{side} differs"
                )
            medians = interleaved(sides, seconds, in_a_row=IN_A_ROW)
            best = min(value for side, value in medians.items() if side.startswith("torch.nn"))
            lines += [f"| {batch} | {side} | {ms:.2f} | {best / ms:.2f} |" for side, ms in medians.items()]
    heading = f"Reading, {about}, float32, {machine(threads)}; medians of interleaved turns\n\n"
    print(heading + "\n".join(lines))
    if out:
        table = "\n".join(lines)
        out.write_text(f"# `benchmarks/read.py`\n\n{heading}{table}\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
