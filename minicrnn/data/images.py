"""Images: any file, bytes, Pillow image, array or tensor becomes a grey image of one height.

    load_image:        source          -> uint8 [h, w], 0 black, 255 white
    normalise_height:  uint8 [h, w]    -> uint8 [H, max(1, round(w·H/h))]
    to_tensor:         uint8 [H, W]    -> float32 [1, H, W] in [-1, 1]

The height is normalised and the width keeps its ratio, as in Shi, Bai and Yao (arXiv 1507.05717), section
3.2.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from minicrnn.text import printable

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray | Tensor

MAX_PIXELS = 64_000_000

# Pillow warns from its header parsers and from its rarer decoders. Warning filters belong to the whole
# process, so they may only be changed by one thread at a time; the common decoders, which do not warn, run in
# parallel.
_QUIET = threading.Lock()
_DECODERS_WITHOUT_WARNINGS = {"PNG", "JPEG", "BMP", "PPM", "WEBP"}

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image cannot be read: the message says which, what is wrong and what to do."""


class MissingImageError(ImageError):
    """There is no such file."""


def load_image(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> UInt8[np.ndarray, "h w"]:
    """Read one image, of any mode and depth, as grey values.

        grey = 0.299 R + 0.587 G + 0.114 B,   with transparency: alpha · grey + (1 - alpha) · 255

    Transparent images are laid on white. The EXIF orientation is obeyed. Of an animation the first frame is
    read. Two values become 0 and 255; unsigned 16 bits are divided by 257. Wider integers and floating-point
    values do not say what their range is, so the smallest of [0, 1] (integers: 0 or 1 only), [0, 255] and
    [0, 65535] that holds all values is taken to be their range, and otherwise [minimum, maximum] is.

    Args:
        source: a path, the bytes of a file, a Pillow image, an array [h, w] or [h, w, C], or a tensor [h, w]
            or [C, h, w]. C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
        max_pixels: the limit for width × height, read from the file's header before anything is decoded.
        name: what error messages call the image; the path unless given.

    Raises:
        ImageError: the file is missing, empty, a folder, truncated, no image, or larger than ``max_pixels``;
            an array has another shape, no pixels, or values that are not finite.
        TypeError: the source is something else.

    >>> load_image(np.array([[0.0, 0.5, 1.0]]))
    array([[  0, 128, 255]], dtype=uint8)
    """
    if isinstance(source, (str, Path)):
        return _read_file(Path(source), max_pixels, printable(name or str(source)))
    if isinstance(source, bytes):
        called = printable(name or "image given as bytes")
        if not source:
            raise ImageError(f"{called} is empty: it has no bytes")
        return _decode(BytesIO(source), max_pixels, called)
    if isinstance(source, Image.Image):
        called = name or str(getattr(source, "filename", "")) or "Pillow image"
        return _decode(source, max_pixels, printable(called))
    if isinstance(source, Tensor):
        tensor = source.detach().cpu()
        if tensor.dtype == torch.bfloat16:  # NumPy has no such type
            tensor = tensor.float()
        return _from_array(tensor.movedim(0, -1).numpy() if tensor.dim() == 3 else tensor.numpy(), name or "tensor")
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array")
    raise TypeError(f"an image is a path, bytes, a Pillow image, an array or a tensor, not {type(source).__name__}")


def normalise_height(
    image: UInt8[np.ndarray, "h w"], height: int = 32, max_width: int | None = None
) -> UInt8[np.ndarray, "H W"]:
    """Scale a grey image to a height; the width keeps its ratio.

        W = max(1, round(w · H / h)),   and at most ``max_width``: a wider image is squeezed into it

    Bicubic resampling, with the filter widened when the image shrinks, so that nothing aliases.

    Raises:
        ImageError: the image has no pixels, or would have more than 64 million at the new height.
        ValueError: ``height`` or ``max_width`` is below 1.

    >>> normalise_height(np.zeros((50, 200), np.uint8)).shape
    (32, 128)
    """
    if height < 1 or (max_width is not None and max_width < 1):
        raise ValueError(f"height and max_width must be at least 1, not {height} and {max_width}")
    h, w = image.shape
    if not h or not w:
        raise ImageError(f"an image of {w}×{h} pixels has nothing to read")
    width = scaled_width(w, h, height)
    if max_width is not None:
        width = min(width, max_width)
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"an image of {w}×{h} pixels is {width} wide at height {height}: "
            "crop it to a line of text, or set max_width"
        )
    if (h, w) == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def scaled_width(width: int, height: int, new_height: int) -> int:
    """How wide :func:`normalise_height` makes an image: max(1, round(w · H / h)).

    >>> scaled_width(200, 50, 32)
    128
    """
    return max(1, round(width * new_height / height))


def to_tensor(image: UInt8[np.ndarray, "H W"]) -> Float32[Tensor, "1 H W"]:
    """A grey image as the network reads it: x / 127.5 - 1, so that black is -1, white 1 and mid-grey 0.

    >>> to_tensor(np.array([[0, 255]], np.uint8))
    tensor([[[-1.,  1.]]])
    """
    return torch.from_numpy(image.astype(np.float32)).div_(127.5).sub_(1).unsqueeze(0)


@contextmanager
def _without_warnings() -> Iterator[None]:
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_file(path: Path, max_pixels: int, name: str) -> np.ndarray:
    try:
        if path.is_dir():
            raise ImageError(f"{name} is a folder: pass an image file")
        if not path.exists():
            raise MissingImageError(f"{name} does not exist: check the path")
        if not path.is_file():
            raise ImageError(f"{name} is not an ordinary file: pass an image file")
        with path.open("rb") as file:
            if not file.read(1):
                raise ImageError(f"{name} is empty (0 bytes): copy or save it again")
            file.seek(0)
            return _decode(file, max_pixels, name)
    except OSError as error:  # permissions, a broken disk, too long a name
        raise ImageError(f"{name} cannot be opened: {error.strerror or error}") from error


def _decode(source: BinaryIO | BytesIO | Image.Image, max_pixels: int, name: str) -> np.ndarray:
    """Header, size, pixels, grey values, orientation; whatever a decoder raises becomes an ImageError."""
    try:
        with _without_warnings():
            image = source if isinstance(source, Image.Image) else Image.open(source)
        _check_size(image, max_pixels, name)
        parallel = image.format in _DECODERS_WITHOUT_WARNINGS
        with nullcontext() if parallel else _without_warnings():
            image.load()
        _check_size(image, max_pixels, name)  # an icon's pixels may be more than its header says
        grey = _grey(image, name)
        upright = _UPRIGHT.get(_orientation(image))
        if upright is not None:
            grey = np.array(Image.fromarray(grey).transpose(upright))
        return grey
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error} Crop it to a line of text") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image in a format that Pillow reads: convert it to PNG") from error
    except Exception as error:  # on broken files decoders raise anything from struct.error to KeyError
        raise ImageError(
            f"{name} is broken or truncated: {type(error).__name__}: {error}. Copy or save it again"
        ) from error


def _check_size(image: Image.Image, max_pixels: int, name: str) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}×{height} pixels, more than the limit of {max_pixels:,}: "
            "crop it to a line of text, or raise max_pixels"
        )
    if not width * height:
        raise ImageError(f"{name} has {width}×{height} pixels: nothing to read")


def _orientation(image: Image.Image) -> int:
    try:
        with _without_warnings():
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # broken EXIF data does not make the pixels unreadable
        return 1
    return orientation if isinstance(orientation, int) else 1


def _grey(image: Image.Image, name: str) -> np.ndarray:
    """A decoded Pillow image of any mode as uint8 [h, w]."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _to_uint8(np.asarray(image), name)
    if image.mode == "La":  # premultiplied alpha converts only to its plain form
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
    elif image.mode == "LAB":
        image = image.getchannel("L")
    elif image.mode not in ("1", "L", "P", "RGB", "YCbCr"):
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    name = printable(name)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (2, 3, 4)):
        raise ImageError(
            f"{name} has shape {list(array.shape)} (channels last): an image is [h, w] or has 1, 2, 3 or 4 channels"
        )
    if not array.size:
        raise ImageError(f"{name} has no pixels: its shape is {list(array.shape)}")
    if array.dtype.kind not in "buif":
        raise ImageError(f"{name} has type {array.dtype}: pass integers, booleans or floating-point values")
    pixels = _to_uint8(array, name)
    return pixels if pixels.ndim == 2 else _grey(Image.fromarray(np.ascontiguousarray(pixels)), name)


def _to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    """Scale values of any type to 0 .. 255 by the rules in :func:`load_image`."""
    if values.dtype == np.uint8:
        return values.copy()
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{name} holds NaN or infinite values: replace them")
    if values.dtype.kind == "b":
        low, high = 0.0, 1.0
    elif values.dtype.kind == "u" and values.dtype.itemsize == 2:
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, next(top for top in (1.0, 255.0, 65535.0) if high <= top)
    span = high - low or 1.0
    return np.round((values.astype(np.float64) - low) * (255 / span)).astype(np.uint8)
