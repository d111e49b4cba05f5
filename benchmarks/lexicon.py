"""Reading with a lexicon: exact decoding in a trie and the paper's BK-tree, against flashlight-text, in one run.

Emissions are peaky, as a trained model's: each word's labels at random frames, blanks between, and of some words
letters are exchanged, so that the greedy reading is no word. ``unsure`` emissions give the right class about half.
flashlight-text searches the same words with a beam of 50 (its users' usual value) and of 10, Σ over alignments, no
language model; of its hypotheses the best of a single word counts. Every sample is compared: a word of ours that were
less probable than its word would end the run.

Words come from a file of one word a line (a tab and a count may follow), the most frequent first:

    pip install flashlight-text symspellpy
    python benchmarks/lexicon.py
    python benchmarks/lexicon.py --words words.txt
    python benchmarks/lexicon.py --model RUN/best.safetensors --data FOLDER --out benchmarks/results/lexicon.md

With a model, what it says of a folder's images is read, too. They need not show words: the lexicon is then their texts,
and strings of the model's characters as long as these.
"""

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from emissions import trained_emissions
from pairs import interleaved, machine
from torch import Tensor

import minicrnn as mc

ALPHABET = mc.Alphabet("0123456789abcdefghijklmnopqrstuvwxyz")
T, K = 24, ALPHABET.num_classes
KINDS = {"sure": (8.0, 0.0), "one letter in five wrong": (8.0, 0.2), "unsure": (4.0, 0.0)}
BEAMS = (50, 10)


class Row(NamedTuple):
    """Milliseconds a sample; and of the samples, how often flashlight reads the same word, a worse one, none."""

    kind: str
    times: dict[str, float]
    same: dict[int, tuple[int, int, int]]
    missed: int  # by the BK-tree


def word_list(path: Path | None, count: int) -> list[str]:
    """The first words that the alphabet spells."""
    if path is None:
        found = importlib.util.find_spec("symspellpy")
        if found is None or found.origin is None:
            raise typer.BadParameter("no word list: pip install symspellpy, or give --words")
        path = Path(found.origin).with_name("frequency_dictionary_en_82_765.txt")
    words = (line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    return [word for word in dict.fromkeys(words) if not ALPHABET.unknown(word)][:count]


def emissions(words: list[str], sureness: float, wrong: float, draw: random.Random) -> Tensor:
    """[T, N, K]: normal noise, and ``sureness`` on top for the class of each frame."""
    logits = torch.randn(T, len(words), K, generator=torch.Generator().manual_seed(draw.randrange(2**31)))
    for n, word in enumerate(words):
        read = [draw.choice(ALPHABET.characters[10:]) if draw.random() < wrong else letter for letter in word]
        path = torch.zeros(T, dtype=torch.long)
        path[sorted(draw.sample(range(T), len(read)))] = torch.tensor(ALPHABET.encode("".join(read)))
        logits[torch.arange(T), n, path] += sureness
    return logits.log_softmax(2)


def flashlight(words: list[str], beam: int, alphabet: mc.Alphabet = ALPHABET) -> Callable[[Any], list[Any]]:
    """A decoder of emissions [N, T, K + 1]; the last class is a silence that never occurs."""
    from flashlight.lib.text import decoder

    K = alphabet.num_classes

    trie = decoder.Trie(K + 1, K)
    for number, word in enumerate(words):
        trie.insert(alphabet.encode(word), number, 0.0)
    trie.smear(decoder.SmearingMode.MAX)
    options = decoder.LexiconDecoderOptions(
        beam_size=beam, beam_size_token=K + 1, beam_threshold=50.0, lm_weight=0.0, word_score=0.0,
        unk_score=-np.inf, sil_score=0.0, log_add=True, criterion_type=decoder.CriterionType.CTC,
    )  # fmt: skip
    search = decoder.LexiconDecoder(options, trie, decoder.ZeroLM(), K, alphabet.blank, -1, [], False)
    return lambda frames: [search.decode(row.ctypes.data, len(row), K + 1) for row in frames]


def single_words(words: list[str], results: list[Any]) -> list[str | None]:
    """The best hypothesis of one word for each sample."""
    found: list[str | None] = []
    for hypotheses in results:
        read = ([word for word in hypothesis.words if word >= 0] for hypothesis in hypotheses)
        found.append(next((words[numbers[0]] for numbers in read if len(numbers) == 1), None))
    return found


def log_likelihood(log_probs: Tensor, n: int, word: str, alphabet: mc.Alphabet) -> float:
    return mc.score(log_probs[:, n], [word], alphabet=alphabet)[0][0]


def compare(
    log_probs: Tensor, ours: list[str], theirs: list[str | None], alphabet: mc.Alphabet
) -> tuple[int, int, int]:
    """How often theirs is the same word, one less probable, none at all.

    Raises:
        AssertionError: theirs is more probable.
    """
    same = worse = none = 0
    for n, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if their is None:
            none += 1
        elif their == our:
            same += 1
        else:
            our_log_prob, their_log_prob = (log_likelihood(log_probs, n, word, alphabet) for word in (our, their))
            assert our_log_prob >= their_log_prob - 1e-6, (our, their)
            worse += 1
    return same, worse, none


def measure(kind: str, log_probs: Tensor, lexicon: mc.Lexicon, words: list[str], seconds: float, peers: bool) -> Row:
    T, samples, _ = log_probs.shape
    alphabet: Any = lexicon.alphabet
    silence = torch.full((samples, T, 1), -1e4)
    frames = torch.cat((log_probs.transpose(0, 1), silence), 2).contiguous().numpy()
    steps: dict[str, Callable[[], Any]] = {
        "trie": lambda: lexicon.decode(log_probs),
        "bk-tree": lambda: lexicon.decode(log_probs, method="bk-tree"),
        "trie, one": lambda: lexicon.decode(log_probs[:, :1]),
    }
    ours = [reading.text for reading in lexicon.decode(log_probs)]
    near = [reading.text for reading in lexicon.decode(log_probs, method="bk-tree")]
    same = {}
    for beam in BEAMS if peers else ():
        search = flashlight(words, beam, alphabet)
        steps[f"flashlight {beam}"] = lambda search=search: search(frames)  # type: ignore[misc]
        same[beam] = compare(log_probs, ours, single_words(words, search(frames)), alphabet)
    times = interleaved(steps, seconds)
    each = {name: time / (1 if name == "trie, one" else samples) for name, time in times.items()}
    return Row(kind, each, same, sum(a != b for a, b in zip(ours, near, strict=True)))


def of_model(model: Path, data: Path, count: int, samples: int) -> tuple[Tensor, mc.Lexicon, list[str]]:
    """A trained model's emissions; a lexicon of their texts, and strings drawn; its words."""
    log_probs, texts, alphabet = trained_emissions(model, data, samples)
    draw, strings = random.Random(0), set(texts)
    while len(strings) < count:
        strings.add("".join(draw.choices(alphabet.characters, k=len(draw.choice(texts)))))
    words = sorted(strings)
    return log_probs, mc.Lexicon(words, alphabet), words


def table(rows: list[Row], samples: int) -> str:
    beams = list(rows[0].same)
    heads = ["emissions", "trie, ms", "trie, a batch of 1, ms", "BK-tree δ = 3, ms", "other word than the trie's"]
    for beam in beams:
        heads += [f"flashlight, beam {beam}, ms", "× trie", "same / less probable / no single word"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind, times, same, missed in rows:
        cells = [kind, *(f"{times[name]:.3f}" for name in ("trie", "trie, one", "bk-tree")), f"{missed} of {samples}"]
        for beam in beams:
            theirs = times[f"flashlight {beam}"]
            cells += [f"{theirs:.3f}", f"{theirs / times['trie']:.1f}", " / ".join(map(str, same[beam]))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    words: Annotated[Path | None, typer.Option(help="A word list; symspellpy's if none is given.")] = None,
    count: Annotated[int, typer.Option(help="Words of the lexicon.")] = 50_000,
    samples: Annotated[int, typer.Option(help="Samples of each kind.")] = 64,
    seconds: Annotated[float, typer.Option(help="Time for each row, at least.")] = 8.0,
    threads: Annotated[int, typer.Option(help="Ours; flashlight-text has one.")] = 1,
    model: Annotated[Path | None, typer.Option(help="A trained model, whose emissions are read, too.")] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled images for it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table to this file, too.")] = None,
) -> None:
    torch.set_num_threads(threads)
    listed = word_list(words, count)
    lexicon = mc.Lexicon(listed, ALPHABET)
    peers = importlib.util.find_spec("flashlight") is not None
    rows = []
    for kind, settings in KINDS.items():
        draw = random.Random(0)
        log_probs = emissions(draw.sample([word for word in listed if len(word) <= 10], samples), *settings, draw)
        rows.append(measure(kind, log_probs, lexicon, listed, seconds, peers))
    if model and data:
        rows.append(measure("trained model", *of_model(model, data, count, samples), seconds, peers))
    lines = [
        f"{len(lexicon):,} words, T = {T}, K = {K}, a batch of {samples}; milliseconds a sample, {machine(threads)}",
        "",
        table(rows, samples),
    ]
    if not peers:
        lines += ["", "flashlight-text is not installed, so that there is nothing to compare with"]
    print("\n".join(lines))
    if out:
        out.write_text("# `benchmarks/lexicon.py`\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
