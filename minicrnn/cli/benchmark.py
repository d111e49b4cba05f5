"""``minicrnn benchmark``."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

import minicrnn
from minicrnn.benchmark import Row, benchmark
from minicrnn.checkpoint import write_atomically
from minicrnn.cli.common import Device, MaxBadShare, app, console
from minicrnn.files import require_no_input
from minicrnn.reader import Reader, choose_device
from minicrnn.shipped import model_file


@app.command("benchmark")
def benchmark_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
    sets: Annotated[Path, typer.Option(help="Folder of test sets: labelled folders and LMDBs, at any depth.")],
    *,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as JSON.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once; 1 is the time to read a single one.")] = 32,
    device: Device = "auto",
    max_bad_share: MaxBadShare = 0.01,
) -> None:
    """Score a model on scene-text test sets, beside what the CRNN paper published.

    Accuracy is the share of words read right after lower-casing and keeping only a–z and 0–9. A set with lexicon files
    (lexicon50.tsv: path, tab, words) or lexicons in its LMDB is read with them, too.
    """
    choose_device(device)
    for out in (markdown, json_file):
        if out is not None:
            require_no_input(out, [model, sets])
    reader = Reader.load(model, device)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        rows = benchmark(
            reader,
            sets,
            batch_size=batch_size,
            max_bad_share=max_bad_share,
            progress=lambda name, done, total: bar.update(task, description=name, completed=done, total=total),
        )
    about = _about(reader, model, batch_size)
    table = as_markdown(rows, about)
    print(table)
    if markdown is not None:
        write_atomically(markdown, (table + "\n").encode())
    if json_file is not None:
        record = about | {"rows": [dataclasses.asdict(row) for row in rows]}
        write_atomically(json_file, (json.dumps(record, indent=1) + "\n").encode())


def _about(reader: Reader, model: Path, batch_size: int) -> dict[str, Any]:
    return {
        "model": str(model),
        "bytes": model_file(model).stat().st_size,
        "parameters": sum(p.numel() for p in reader.model.parameters()),
        "characters": reader.alphabet.num_classes - 1,
        "device": str(reader.device),
        "batch_size": batch_size,
        "version": minicrnn.__version__,
    }


def as_markdown(rows: list[Row], about: dict[str, Any]) -> str:
    """The table, with a line above it about the model and one below it about what is left out."""
    lines = [
        f"{about['parameters']:,} parameters, {about['bytes'] / 1e6:.1f} MB, {about['characters']} characters; "
        f"batches of {about['batch_size']} on {about['device']}.",
        "",
        "| set | lexicon | images | word accuracy | paper | difference | 1-NED | ECE | ms an image |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        paper, difference = "–", "–"
        if row.published is not None:
            paper, difference = f"{row.published:.1%}", f"{100 * (row.accuracy - row.published):+.1f}"
        lines.append(
            f"| {row.name} | {row.lexicon or '–'} | {row.images:,} | {row.accuracy:.1%} | {paper} | {difference} | "
            f"{row.one_minus_ned:.4f} | {row.calibration_error:.1%} | {row.milliseconds:.1f} |"
        )
    lines += ["", "Paper: Shi, Bai and Yao, arXiv 1507.05717, table 2."]
    if not any(row.published_as for row in rows):
        lines.append("No set has the name of one that the paper scored (IIIT5K, SVT, IC03, IC13).")
    for row in rows:
        if row.left_out:
            lines.append(
                f"{row.name}{f', lexicon {row.lexicon}' if row.lexicon else ''}: {row.left_out:,} images are not "
                "counted: they could not be read, or their text has no letter a–z and no digit."
            )
        if row.words_left_out:
            lines.append(f"{row.name}: {row.words_left_out:,} words of lexicon {row.lexicon} cannot be spelled.")
    return "\n".join(lines)
