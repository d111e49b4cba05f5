"""The samples of a run without end: rendered words, folders over and over, or a mixture of them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minicrnn.crnn import CRNN
from minicrnn.data import DataError, Fitted, Mixture, Repeated, Sample, WordImages, WordStream
from minicrnn.text import Alphabet, AlphabetError
from minicrnn.training.display import Display
from minicrnn.training.options import TrainOptions
from minicrnn.training.parts import prepare_folder, read_part
from minicrnn.training.rendered import check_render_options, open_renderer, summary
from minicrnn.training.start import characters_of

RENDER = "render"  # the name of rendered words in a mixture
DEFAULT_VALIDATE_EVERY_STEPS = 1000
HEIGHT = 32  # of the images of every preset
_LOOKED_AT = 16  # rendered words that the fingerprint is taken of


def check_mix(source: Mapping[str, Any], data: object, options: Mapping[str, Any] | None) -> dict[str, float] | None:
    """The ratios of a run's mixture, or None where it has none: it trains on the samples of one folder.

    Args:
        source: ``mix``, ``render``, ``val`` and ``labels`` of :func:`minicrnn.train`.
        data: the folder.
        options: what was given of :class:`TrainOptions`; None for a run that is resumed, whose options are known.

    Raises:
        ValueError: options that do not go together; the message says which.
    """
    mix, render, val, labels = (source.get(name) for name in ("mix", "render", "val", "labels"))
    ratios = dict(mix) if mix else {RENDER: 1.0} if render is not None else None
    if ratios is None:
        if data is None:
            raise ValueError("there is nothing to train on: give a folder, or --render, or --mix")
        return None
    if render and RENDER not in ratios:
        raise ValueError(f"there are options for rendering, and no {RENDER!r} in the mix: add it, or leave them out")
    check_render_options(render or {})
    for name, ratio in ratios.items():
        if not isinstance(ratio, (int, float)) or not 0 < ratio < float("inf"):
            raise ValueError(f"mix: the ratio of {name} must be a positive number, not {ratio!r}")
    if data is not None:
        raise ValueError(f"give either one folder or a mixture: {data} can be part of the mix, as {data}=1")
    if val is None:
        raise ValueError("rendered words and mixtures have no end, and nothing to hold out: give --val FOLDER")
    if options is not None:
        _check_options(options)
    if labels is not None and Path(str(labels)).name != str(labels):
        raise ValueError(f"labels: {labels} is a path; give the name that the label file has in every folder")
    return {name: float(ratio) for name, ratio in ratios.items()}


def _check_options(options: Mapping[str, Any]) -> None:
    if options.get("steps") is None or options.get("epochs") is not None:
        raise ValueError("rendered words and mixtures have no epochs: give --steps, and no --epochs")
    for name in ("validate_every", "val_share"):
        if options.get(name) is not None:
            raise ValueError(f"{name} is of folders with epochs; for rendered words and mixtures leave it out")


class Mix:
    """What a run without end trains on, and what it validates on.

    Args:
        ratios: of each folder, and of rendered words under the name ``"render"``.
        render: options of the renderer.
        val: the folder to validate on.
        labels, pattern: of all folders, see :func:`minicrnn.data.read_samples`.
        alphabet: the characters to read; None takes those of the folders' labels, and
        options: of the run.
        known: those of the model that the run starts from.

    Raises:
        DataError: a folder or its labels cannot be read, or words cannot be rendered.
        AlphabetError: words are to be rendered, and no alphabet is given.
    """

    def __init__(
        self,
        ratios: Mapping[str, float],
        render: Mapping[str, Any],
        val: str,
        labels: str | None,
        pattern: str | None,
        alphabet: Alphabet | None,
        options: TrainOptions,
        known: Alphabet | None = None,
    ) -> None:
        self.ratios, self.render = dict(ratios), dict(render)
        self.folders = {name: read_part(name, labels, pattern) for name in ratios if name != RENDER}
        self.val = read_part(val, labels, pattern)
        if alphabet is None and known is None and RENDER in ratios:
            raise AlphabetError("give the characters to render and to read, with --alphabet")
        texts = (sample.text for samples in self.folders.values() for sample in samples)
        self.alphabet = alphabet or characters_of(texts, known)
        self.rendered = open_renderer(self.alphabet, options.seed, HEIGHT, self.render) if RENDER in ratios else None

    def digest(self) -> str:
        """A fingerprint of ratios, names, texts, fonts and the look of the first rendered words."""
        digest = hashlib.sha256()
        for samples in (*self.folders.values(), self.val):
            digest.update(json.dumps([(sample.name, sample.text) for sample in samples]).encode())
        digest.update(json.dumps([list(self.ratios.values()), self.render], sort_keys=True).encode())
        if self.rendered is not None:
            for index in range(_LOOKED_AT):
                word = self.rendered.word(index)
                digest.update(word.text.encode() + word.image.tobytes())
            digest.update(json.dumps([face.name for face in self.rendered.fonts.faces]).encode())
        return digest.hexdigest()

    def prepare(
        self, model: CRNN, options: TrainOptions, folder: Path, display: Display
    ) -> tuple[WordStream, WordImages]:
        """Check all samples of the folders; lists of them are written into ``folder``.

        Raises:
            DataError: more of a folder than ``max_bad_share`` cannot be used.
            CheckpointError: a list cannot be written.
        """
        streams: list[WordStream] = []
        for number, name in enumerate(self.ratios, start=1):
            if name == RENDER:
                assert self.rendered is not None
                display.say(f"rendering: {summary(self.rendered)}")
                streams.append(Fitted(self.rendered, model.windows()))
            else:
                words = self._checked(f"train-{number}", name, self.folders[name], model, options, folder, display)
                streams.append(Repeated(words, options.seed))
        val_set = self._checked("val", "val", self.val, model, options, folder, display)
        shares = ", ".join(f"{ratio:g} of {name}" for name, ratio in self.ratios.items())
        display.say(f"training on a stream of {shares}; {len(val_set):,} to validate on")
        if len(streams) == 1:
            return streams[0], val_set
        return Mixture(streams, list(self.ratios.values()), options.seed), val_set

    def _checked(
        self,
        part: str,
        name: str,
        samples: list[Sample],
        model: CRNN,
        options: TrainOptions,
        folder: Path,
        display: Display,
    ) -> WordImages:
        words, report = prepare_folder(part, samples, self.alphabet, model, options, folder, display)
        report.check(options.max_bad_share)
        display.say(f"{name}: {report}")
        if words is None:
            raise DataError(f"no sample of {name} can be used. {report}", report)
        return words
