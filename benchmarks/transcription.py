"""What each way to read gains, and what it costs: greedy, beam, beam and n-gram, lexicons of 50 and of 1,000 words.

A lexicon is of one image: its truth and words drawn at random, as the scene-text benchmarks have them; its trie is made
when the image is read, and that time counts. All ways read the same outputs of the network. Milliseconds are for one
word, on so many threads as are given, and include the characters' spans and confidences.

    python benchmarks/transcription.py RUN/best.safetensors FOLDER --labels test.tsv
    python benchmarks/transcription.py RUN/best.safetensors FOLDER --labels test.tsv --words words.txt
    python benchmarks/transcription.py RUN/best.safetensors FOLDER --labels test.tsv --out results.md  # adds a section

The words are symspellpy's unless a file is given, most frequent first; those that the alphabet cannot spell are left
out. With ``--random`` they are strings of the model's own characters, as long as the truths: captchas are no words. The
n-gram model is trained on the same words, or on ``--lm-texts``.
"""

import importlib.util
import random
from pathlib import Path
from typing import Annotated

import torch
import typer
from pairs import machine

import minicrnn as mc
from minicrnn.data import read_samples
from minicrnn.evaluation import Evaluation, compare

SIZES = (50, 1000)


def word_list(path: Path | None, alphabet: mc.Alphabet, count: int) -> list[str]:
    """The first words that the alphabet spells."""
    if path is None:
        found = importlib.util.find_spec("symspellpy")
        if found is None or found.origin is None:
            raise typer.BadParameter("no word list: pip install symspellpy, or give --words or --random")
        path = Path(found.origin).with_name("frequency_dictionary_en_82_765.txt")
    words = (line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    return [word for word in dict.fromkeys(words) if not alphabet.unknown(word)][:count]


def random_strings(truths: list[str], alphabet: mc.Alphabet, count: int, draw: random.Random) -> list[str]:
    return ["".join(draw.choices(alphabet.characters, k=len(draw.choice(truths)))) for _ in range(count)]


def lexicons_of(
    names: list[str], truths: list[str], words: list[str], size: int, alphabet: mc.Alphabet, draw: random.Random
) -> dict[str, mc.Lexicon]:
    """For each image its truth, if the alphabet spells it, and words drawn, ``size`` in all."""
    lexicons = {}
    for name, truth in zip(names, truths, strict=True):
        own = {truth} if not alphabet.unknown(truth) else set()
        while len(own) < size:
            own.add(draw.choice(words))
        lexicons[name] = mc.Lexicon(sorted(own), alphabet)
    return lexicons


def row(name: str, one: Evaluation) -> str:
    ms = 1000 * one.decode_seconds / len(one.predictions)
    cells = f"{one.word_accuracy:.1%} | {one.cer:.2%} | {one.calibration_error:.1%} | {ms:.3f}"
    return f"| {name} | {cells} |"


def main(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    data: Annotated[Path, typer.Argument(help="Folder of labelled images that the model was not trained on.")],
    labels: Annotated[str | None, typer.Option(help="Label file.")] = None,
    words: Annotated[Path | None, typer.Option(help="One word a line, most frequent first.")] = None,
    random_words: Annotated[bool, typer.Option("--random", help="Random strings instead of words.")] = False,
    lm_texts: Annotated[Path | None, typer.Option(help="Texts to train the n-gram model on, instead.")] = None,
    count: Annotated[int, typer.Option(help="Words to draw from.")] = 50_000,
    beam: Annotated[int, typer.Option(help="Width of the beam.")] = 10,
    order: Annotated[int, typer.Option(help="Of the n-gram model of characters.")] = 6,
    weight: Annotated[float, typer.Option(help="Of the n-gram model: choose it on validation data.")] = 0.3,
    threads: Annotated[int, typer.Option(help="For all.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Add the table to this file, too, in a section of its own.")] = None,
) -> None:
    torch.set_num_threads(threads)
    reader, draw = mc.Reader.load(model, "cpu"), random.Random(0)
    samples = [sample for sample in read_samples(data, labels) if sample.problem is None and sample.text]
    names, truths = [s.name for s in samples], [reader.alphabet.normalise(s.text) for s in samples]
    listed = (
        random_strings(truths, reader.alphabet, count, draw)
        if random_words
        else word_list(words, reader.alphabet, count)
    )
    texts = listed if lm_texts is None else lm_texts.read_text(encoding="utf-8").splitlines()
    model_of_characters = mc.NGramModel.train(texts, order)
    modes = {
        "greedy": {},
        f"beam {beam}": {"beam": beam},
        f"beam {beam} + {order}-gram of characters, weight {weight:g}": {
            "beam": beam, "language_model": model_of_characters, "weight": weight,
        },
    }  # fmt: skip
    found = compare(reader, samples, modes)
    for size in SIZES:
        lexicons = lexicons_of(names, truths, listed, size, reader.alphabet, draw)
        for method in ("trie", "bk-tree"):
            name = f"lexicon of {size:,} each, {method}"
            found |= compare(reader, samples, {name: {"lexicon": "each", "method": method}}, lexicons=lexicons)
    greedy = found["greedy"]
    network = 1000 * (greedy.seconds - greedy.decode_seconds) / len(greedy.predictions)
    kind = "random strings" if random_words else "words"
    lines = [
        f"{len(greedy.predictions)} images; {len(listed):,} {kind} to draw from; {machine(threads)};",
        f"opening an image and running the network: {network:.2f} ms a word",
        "",
        "| how | word accuracy | CER | calibration error | decoding, ms a word |",
        "|---|---|---|---|---|",
        *(row(name, one) for name, one in found.items()),
    ]
    print("\n".join(lines))
    if out:
        head = "" if out.exists() else "# `benchmarks/transcription.py`\n"
        with out.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"{head}\n## {data.resolve().name}", "", *lines]) + "\n")


if __name__ == "__main__":
    typer.run(main)
