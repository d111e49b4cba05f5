"""``minicrnn demo``: the whole job on words that it renders itself, in about two minutes."""

import shutil
import time
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minicrnn.checkpoint import CheckpointError
from minicrnn.crnn import CRNN
from minicrnn.data import RenderedWords
from minicrnn.evaluation import Evaluation, score
from minicrnn.reader import Reader
from minicrnn.text import Alphabet
from minicrnn.training.display import Display
from minicrnn.training.loop import Trainer
from minicrnn.training.options import TrainOptions
from minicrnn.training.run import RUN_FILES, STATE, RunResult, run_folder
from minicrnn.training.state import read_identity

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
BATCH_SIZE = 16  # small batches: in two minutes, more steps are worth more than better ones
RATE = 5e-3
PICTURE = "reading.png"
UNSEEN_WORDS = 200
SHOWN = 12


def run_demo(out: Path, *, steps: int, seed: int, console: Console) -> bool:
    """Train preset ``tiny`` on rendered words, read unseen ones, save model and picture in ``out``.

    Every word is trained on once, so the loss that the bar shows is already one on words not seen before.
    An earlier demo in ``out`` is replaced. Returns False when Ctrl-C ended the training early.

    Raises:
        CheckpointError: ``out`` cannot be written, or holds a run that is no demo.
    """
    folder = _fresh_folder(out)
    options = TrainOptions(preset="tiny", steps=steps, batch_size=BATCH_SIZE, rate=RATE, augment=0.0, seed=seed)
    alphabet = Alphabet(ALPHABET)
    torch.manual_seed(seed)
    model = CRNN.from_preset(options.preset, alphabet.num_classes)
    words = RenderedWords(steps * BATCH_SIZE, seed, alphabet, frames_for_width=model.frames_for_width)
    unseen = RenderedWords(
        UNSEEN_WORDS, seed + 1, alphabet, exclude=set(words.texts), frames_for_width=model.frames_for_width
    )
    console.print(
        f"Training preset tiny ({sum(p.numel() for p in model.parameters()):,} parameters) from scratch on "
        f"{len(words):,} rendered words …"
    )
    identity = {"demo": True, "options": asdict(options)}
    trainer = Trainer(model, alphabet, words, None, options, folder, Display(console), identity)
    result = RunResult.of(folder, trainer.run())
    if not result.finished:
        _say(
            console,
            f"Interrupted after {trainer.progress.step} of {steps} steps, before reading anything.\n"
            f"Model so far: {result.best}. Run minicrnn demo again to start anew.",
        )
        return False
    _read_and_tell(result, unseen, console)
    return True


def _read_and_tell(result: RunResult, unseen: RenderedWords, console: Console) -> None:
    """Read words never seen, draw one of the readings, and say what to do next."""
    from minicrnn.plots import plot_reading  # brings matplotlib, which nothing before needs

    reader = Reader.load(result.best)
    scores = read_words(reader, unseen)
    _print_readings(scores, console)
    picture = result.folder / PICTURE
    plot_reading(reader, unseen.pixels(0), picture)
    _say(
        console,
        f"{len(scores.predictions)} words never seen: {scores.word_accuracy:.1%} read right "
        f"(CER {scores.cer:.1%}), {scores.images_per_second:.0f} images a second.\n"
        f"Model:   {result.best}\nPicture: {picture} (image, frames and alignment)\n"
        f"Next:    minicrnn train FOLDER --out run   (your images; FOLDER/labels.tsv has path, tab, text)",
    )


def read_words(reader: Reader, words: RenderedWords) -> Evaluation:
    """Read every word of a rendered set and score the readings."""
    began = time.perf_counter()
    readings = reader.read([words.pixels(i) for i in range(len(words))])
    return score(words.names, words.texts, readings, time.perf_counter() - began)


def _fresh_folder(out: Path) -> Path:
    """The demo's folder, without what an earlier demo left there."""
    state = out / STATE
    if state.is_file() and "demo" in read_identity(state):
        try:
            shutil.rmtree(out / "tensorboard", ignore_errors=True)
            for name in (PICTURE, "curves.png", *RUN_FILES):  # the state last: until then this is a demo's folder
                (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"{out}: the earlier demo there cannot be removed: {error}") from error
    return run_folder(out, resume=False)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_readings(scores: Evaluation, console: Console) -> None:
    table = Table("truth", "read", "confidence", "", title="Words never seen", title_justify="left")
    for one in scores.predictions[:SHOWN]:
        mark = "right" if one.text == one.truth else "wrong"
        table.add_row(Text(one.truth), Text(one.text), f"{one.confidence:.1%}", mark)
    console.print(table)
