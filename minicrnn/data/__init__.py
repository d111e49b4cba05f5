"""Data: from files on disk, or from a font, to batches of images and labels."""

from minicrnn.data.augment import Augment
from minicrnn.data.batching import Batch, WidthBatchSampler, collate
from minicrnn.data.dataset import Item, Word, WordImages, prepare
from minicrnn.data.folder import Sample, read_samples
from minicrnn.data.images import ImageError, MissingImageError, load_image, normalise_height, to_tensor
from minicrnn.data.render import RenderedWords, random_words, render_word
from minicrnn.data.report import DataError, Problem, Report
from minicrnn.data.stream import Fitted, Mixture, Repeated, StreamBatches, WordStream

__all__ = [
    "Augment",
    "Batch",
    "DataError",
    "Fitted",
    "ImageError",
    "Item",
    "MissingImageError",
    "Mixture",
    "Problem",
    "RenderedWords",
    "Repeated",
    "Report",
    "Sample",
    "StreamBatches",
    "WidthBatchSampler",
    "Word",
    "WordImages",
    "WordStream",
    "collate",
    "load_image",
    "normalise_height",
    "prepare",
    "random_words",
    "read_samples",
    "render_word",
    "to_tensor",
]
