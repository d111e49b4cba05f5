"""Looks of geometry. Those of the plane multiply a matrix: (matrix, size, rng, strength) -> matrix, where size is the
word's width and height and its middle is at the origin. The curve bends the canvas itself."""

import math

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from minicrnn.data.rendering.geometry import Matrix, lean, scale, tilt, turn

_COLUMNS, _ROWS = 10, 3


def squeeze(matrix: Matrix, size: tuple[float, float], rng: np.random.Generator, strength: float) -> Matrix:
    """Narrower or wider letters: down to 0.65, up to 1.35 times."""
    factor = 1 - 0.35 * strength if rng.random() < 0.5 else 1 + 0.35 * strength
    return scale(factor, 1.0) @ matrix


def slant(matrix: Matrix, size: tuple[float, float], rng: np.random.Generator, strength: float) -> Matrix:
    """Leaning letters, two in three to the right."""
    sign = 1 if rng.random() < 0.67 else -1
    return lean(sign * 0.35 * strength) @ matrix


def rotation(matrix: Matrix, size: tuple[float, float], rng: np.random.Generator, strength: float) -> Matrix:
    """A turn: up to 20 degrees of a short word; of a long one no more than its height and a half from end to end."""
    width, height = size
    most = min(20.0, math.degrees(math.atan2(1.5 * height, width)))
    return turn(most * strength * _sign(rng)) @ matrix


def perspective(matrix: Matrix, size: tuple[float, float], rng: np.random.Generator, strength: float) -> Matrix:
    """A view from the side: one end up to twice as near as the other; and from above or below, half as much."""
    width, height = size
    return tilt(0.66 * strength * _sign(rng) / width, 0.3 * strength * rng.uniform(-1, 1) / height) @ matrix


def curve(
    ink: UInt8[np.ndarray, "h w"], points: Float64[np.ndarray, "m 2"], rng: np.random.Generator, strength: float
) -> tuple[UInt8[np.ndarray, "H W"], Float64[np.ndarray, "m 2"]]:
    """The word on an arc, arched or hanging, of up to 100 degrees; also returns where the points go.

    r = R - (y - y_middle),   phi = (x - x_middle) / R,   (x', y') = (r sin phi, R - r cos phi)
    """
    hangs = rng.random() < 0.4
    height, width = ink.shape
    if hangs:
        ink, points = ink[::-1], points * (1, -1) + (0, height)
    low, high = points.min(axis=0), points.max(axis=0)
    length = max(high[0] - low[0], height)
    radius = max(length / math.radians(20 + 80 * strength), 1.2 * height)
    middle = (low + high) / 2
    frame = np.array([(x, y) for x in np.linspace(0, width, 9) for y in (0, height)], np.float64)
    bent = _bend(frame, middle, radius)
    origin = bent.min(axis=0)
    size = np.maximum(np.ceil(bent.max(axis=0) - origin).astype(int), 1)
    image = _resample(np.ascontiguousarray(ink), (int(size[0]), int(size[1])), origin, middle, radius)
    points = _bend(points, middle, radius) - origin
    if hangs:
        image, points = image[::-1], points * (1, -1) + (0, float(size[1]))
    return image, points


def _bend(points: np.ndarray, middle: np.ndarray, radius: float) -> np.ndarray:
    x, y = (points - middle).T
    phi = np.clip(x / radius, -1.5, 1.5)
    return np.stack([(radius - y) * np.sin(phi), radius - (radius - y) * np.cos(phi)], axis=1)


def _straighten(points: np.ndarray, middle: np.ndarray, radius: float) -> np.ndarray:
    x, y = points.T
    phi, r = np.arctan2(x, radius - y), np.hypot(x, radius - y)
    return np.stack([phi * radius, radius - r], axis=1) + middle


def _resample(
    ink: np.ndarray, size: tuple[int, int], origin: np.ndarray, middle: np.ndarray, radius: float
) -> np.ndarray:
    """Cells of the bent picture, each filled from a quadrilateral of the straight one."""
    xs = sorted({round(size[0] * i / _COLUMNS) for i in range(_COLUMNS + 1)})
    ys = sorted({round(size[1] * i / _ROWS) for i in range(_ROWS + 1)})
    grid = np.array([(x, y) for x in xs for y in ys], np.float64) + origin
    sources = _straighten(grid, middle, radius).reshape(len(xs), len(ys), 2).tolist()
    mesh = []
    for i in range(len(xs) - 1):
        for j in range(len(ys) - 1):
            around = (sources[i][j], sources[i][j + 1], sources[i + 1][j + 1], sources[i + 1][j])
            mesh.append(((xs[i], ys[j], xs[i + 1], ys[j + 1]), [value for point in around for value in point]))
    warped = Image.fromarray(ink).transform(size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return np.asarray(warped)


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0
