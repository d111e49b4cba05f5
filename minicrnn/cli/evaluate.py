"""``minicrnn eval``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from minicrnn.checkpoint import write_atomically
from minicrnn.cli.common import Device, Labels, MaxBadShare, Pattern, app, console
from minicrnn.evaluation import Evaluation, evaluate
from minicrnn.reader import Reader
from minicrnn.text import printable, tsv_row


@app.command("eval")
def eval_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled images.")],
    labels: Labels = None,
    pattern: Pattern = None,
    predictions: Annotated[Path | None, typer.Option(help="Write name, truth, text, confidence as TSV.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst mistakes to show.")] = 10,
    device: Device = "auto",
    max_bad_share: MaxBadShare = 0.01,
) -> None:
    """Score a model on a folder of labelled images.

    Word accuracy is the share of texts read without a mistake; "protocol", the same after lower-casing and keeping
    only a–z and 0–9, as scene-text papers do. 1-NED is 1 minus the edit distance, as a share of the longer text; CER
    is the edit distance as a share of all true characters.
    """
    reader = Reader.load(model, device)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        scores = evaluate(
            reader,
            data,
            labels=labels,
            pattern=pattern,
            batch_size=batch_size,
            max_bad_share=max_bad_share,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _print_scores(scores, worst)
    if predictions is not None:  # after the scores: a path that cannot be written does not cost them
        rows = [("name", "truth", "text", "confidence")]
        rows += [(p.name, p.truth, p.text, f"{p.confidence:.4f}") for p in scores.predictions]
        write_atomically(predictions, "".join(tsv_row(*row) + "\n" for row in rows).encode())


def _print_scores(scores: Evaluation, worst: int) -> None:
    if scores.skipped.problems:
        console.print(str(scores.skipped), markup=False)
    print(f"images                    {len(scores.predictions):,}")
    print(f"word accuracy             {scores.word_accuracy:.2%}")
    compared = (
        f"; {scores.protocol_images:,} images have any" if scores.protocol_images < len(scores.predictions) else ""
    )
    print(f"word accuracy, protocol   {scores.protocol_accuracy:.2%}   (lower-cased, a–z and 0–9 only{compared})")
    print(f"1-NED                     {scores.one_minus_ned:.4f}")
    print(f"CER                       {scores.cer:.2%}")
    print(f"images a second           {scores.images_per_second:,.0f}")
    mistakes = scores.worst(worst)
    if mistakes:
        table = Table("image", "truth", "read", "confidence", title="Worst mistakes", title_justify="left")
        for p in mistakes:
            table.add_row(*(Text(printable(value)) for value in (p.name, p.truth, p.text, f"{p.confidence:.3f}")))
        Console().print(table)
