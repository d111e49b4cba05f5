"""``minicrnn eval``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from minicrnn.checkpoint import write_atomically
from minicrnn.cli import decoding as choose
from minicrnn.cli.common import Device, Labels, MaxBadShare, Pattern, app, console
from minicrnn.evaluation import Evaluation, compare
from minicrnn.files import require_folder_of, require_no_input
from minicrnn.reader import Reader, choose_device
from minicrnn.reliability import BINS
from minicrnn.text import printable, tsv_row


@app.command("eval")
def eval_command(
    model: Annotated[Path, typer.Argument(help="Model file, such as RUN/best.safetensors.")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled images.")],
    *,
    labels: Labels = None,
    pattern: Pattern = None,
    predictions: Annotated[Path | None, typer.Option(help="Write name, truth, text, confidence as TSV.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw confidence against the share of right readings.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst mistakes to show.")] = 10,
    device: Device = "auto",
    max_bad_share: MaxBadShare = 0.01,
    beam: choose.Beam = None,
    top: choose.Top = 1,
    lexicon: choose.LexiconFile = None,
    lexicons: choose.LexiconsFile = None,
    lexicon_method: choose.LexiconMethod = choose.Method.trie,
    delta: choose.Delta = choose.DELTA,
    lexicon_case: choose.LexiconCase = choose.Case.KEEP,
    lm: choose.LanguageModelFile = None,
    lm_weight: choose.Weight = choose.WEIGHT,
    word_bonus: choose.WordBonus = choose.WORD_BONUS,
    hotword: choose.Hotwords = None,
    hotword_bonus: choose.HotwordBonus = choose.HOTWORD_BONUS,
) -> None:
    """Score a model on a folder of labelled images.

    Word accuracy is the share of texts read without a mistake; "protocol", the same after lower-casing and keeping
    only a–z and 0–9, as scene-text papers do. 1-NED is 1 minus the edit distance, as a share of the longer text; CER
    is the edit distance as a share of all true characters. The calibration error (ECE) is how far confidences are from
    shares of right readings, over ten bins of confidence.

    With options that choose a decoder, a table compares it with simpler ones on the same outputs of the network; the
    other figures are the last one's.
    """
    choose_device(device)  # before anything is read
    if predictions is not None:
        require_folder_of(predictions)
    if plot is not None:
        from minicrnn.plots import require_picture  # brings matplotlib, which nothing else needs

        require_picture(plot)
    for out in (predictions, plot):
        if out is not None:
            require_no_input(out, [model, data, lexicon, lexicons, lm])
    reader = Reader.load(model, device)
    chosen = choose.chosen_decoding(
        reader.alphabet, beam=beam, top=top, lexicon=lexicon, lexicons=lexicons, method=lexicon_method, delta=delta,
        case=lexicon_case, lm=lm, weight=lm_weight, word_bonus=word_bonus, hotwords=hotword,
        hotword_bonus=hotword_bonus,
    )  # fmt: skip
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        found = compare(
            reader,
            data,
            chosen.modes,
            labels=labels,
            pattern=pattern,
            batch_size=batch_size,
            max_bad_share=max_bad_share,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            lexicons=chosen.lexicons,
        )
    scores = list(found.values())[-1]
    if len(found) > 1:
        _print_modes(found)
    _print_scores(scores, worst, reader.temperature, top)
    if predictions is not None:  # after the scores: a path that cannot be written does not cost them
        rows = [("name", "truth", "text", "confidence")]
        rows += [(p.name, p.truth, p.text, f"{p.confidence:.4f}") for p in scores.predictions]
        write_atomically(predictions, "".join(tsv_row(*row) + "\n" for row in rows).encode())
    if plot is not None:
        from minicrnn.plots import plot_reliability

        plot_reliability(scores, plot)


def _print_modes(found: dict[str, Evaluation]) -> None:
    """One row for each way to read. Milliseconds are for a word, the network's share apart."""
    network = next(iter(found.values()))
    count = max(1, len(network.predictions))
    shared = 1000 * (network.seconds - network.decode_seconds) / count
    table = Table("how", "word accuracy", "1-NED", "CER", "ECE", "ms a word", title_justify="left",
                  title=f"Ways to read; opening the image and the network take {shared:.2f} ms a word")  # fmt: skip
    for name, one in found.items():
        ms = 1000 * one.decode_seconds / count
        table.add_row(name, f"{one.word_accuracy:.2%}", f"{one.one_minus_ned:.4f}", f"{one.cer:.2%}",
                      f"{one.calibration_error:.1%}", f"{ms:.3f}")  # fmt: skip
    Console().print(table)


def _print_scores(scores: Evaluation, worst: int, temperature: float, top: int) -> None:
    if scores.skipped.problems:
        console.print(str(scores.skipped), markup=False)
    print(f"images                    {len(scores.predictions):,}")
    print(f"word accuracy             {scores.word_accuracy:.2%}")
    if top > 1:
        print(f"  truth in the best {top:<7} {scores.accuracy_in_best:.2%}")
    compared = (
        f"; {scores.protocol_images:,} images have any" if scores.protocol_images < len(scores.predictions) else ""
    )
    print(f"word accuracy, protocol   {scores.protocol_accuracy:.2%}   (lower-cased, a–z and 0–9 only{compared})")
    print(f"1-NED                     {scores.one_minus_ned:.4f}")
    print(f"CER                       {scores.cer:.2%}")
    before = "" if temperature == 1 else f"; {scores.raw_calibration_error:.1%} before calibration"
    print(f"calibration error         {scores.calibration_error:.1%}   (ECE, {BINS} bins of equal width{before})")
    print(f"images a second           {scores.images_per_second:,.0f}")
    mistakes = scores.worst(worst)
    if mistakes:
        table = Table("image", "truth", "read", "confidence", title="Worst mistakes", title_justify="left")
        for p in mistakes:
            table.add_row(*(Text(printable(value)) for value in (p.name, p.truth, p.text, f"{p.confidence:.3f}")))
        Console().print(table)
