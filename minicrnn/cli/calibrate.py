"""``minicrnn calibrate``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from minicrnn.calibration import calibrate, save_calibration
from minicrnn.cli.common import Device, Labels, MaxBadShare, Pattern, app, console
from minicrnn.errors import OptionError
from minicrnn.evaluation import readable_samples
from minicrnn.files import require_folder_of, require_no_input
from minicrnn.reader import Reader
from minicrnn.shipped import model_file


@app.command("calibrate")
def calibrate_command(
    model: Annotated[
        Path,
        typer.Argument(help="Model file, such as RUN/best.safetensors; it is written anew, unless there is --out."),
    ],
    data: Annotated[Path, typer.Argument(help="Folder of labelled images that the model was not trained on.")],
    out: Annotated[Path | None, typer.Option(help="Write a calibrated copy to this file instead.")] = None,
    labels: Labels = None,
    pattern: Pattern = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    device: Device = "auto",
    max_bad_share: MaxBadShare = 0.01,
) -> None:
    """Fit the temperature that makes confidences shares of right readings, and measure how far from their pixels
    characters are said; both are kept in the model file.

    Texts stay as they are. ``minicrnn train`` does it on its validation images by itself.
    """
    path = model_file(model)
    if out is None and path != model:
        raise OptionError(f"{model} comes with minicrnn and stays as it is: give --out FILE for a calibrated copy")
    if out is not None:
        require_folder_of(out)
        require_no_input(out, [data])
    reader = Reader.load(path, device)
    samples, skipped = readable_samples(data, reader.alphabet, labels, pattern, max_bad_share)
    if skipped.problems:
        console.print(str(skipped), markup=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        found = calibrate(
            reader,
            [image for _, image in samples],
            [reader.alphabet.normalise(sample.text) for sample, _ in samples],
            batch_size=batch_size,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    save_calibration(path, found, out)
    print(f"{out or model}: {found}")
