"""Maps of the plane as 3×3 matrices, and how a picture and points go through them.

    (x', y', 1) ∝ M (x, y, 1)

Looks of geometry multiply matrices; the picture is resampled once, at the end.
"""

import math

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

Matrix = Float64[np.ndarray, "3 3"]


def shift(x: float, y: float) -> Matrix:
    """Move by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def scale(x: float, y: float) -> Matrix:
    """Stretch by factors."""
    return np.array([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def turn(degrees: float) -> Matrix:
    """Rotate counter-clockwise as seen, y downwards."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def lean(amount: float) -> Matrix:
    """Shear: the top goes to the right by so many pixels per pixel of height, as italics do."""
    return np.array([[1.0, -amount, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def tilt(x: float, y: float) -> Matrix:
    """Perspective: points at (x', y') with x·x' + y·y' = 1 are twice as far away as the origin."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [x, y, 1.0]])


def map_points(matrix: Matrix, points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    """Where points go."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def corners(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "m 2"]:
    """The four corners of each box (left, top, right, bottom), box after box."""
    return boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)


def bounds(points: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "n 4"]:
    """The boxes around each four points in a row."""
    fours = points.reshape(-1, 4, 2)
    return np.concatenate([fours.min(axis=1), fours.max(axis=1)], axis=1)


def warp(image: UInt8[np.ndarray, "h w"], matrix: Matrix, width: int, height: int) -> UInt8[np.ndarray, "H W"]:
    """The picture after a map, 0 where nothing was; where it shrinks more than twofold, pixels are averaged first."""
    ratio = 1 / math.sqrt(max(abs(float(np.linalg.det(matrix[:2, :2] / matrix[2, 2]))), 1e-9))
    source = Image.fromarray(image)
    if (factor := int(ratio)) >= 2:
        source = source.reduce(factor)
        matrix = matrix @ scale(float(factor), float(factor))
    inverse = np.linalg.inv(matrix)
    inverse /= inverse[2, 2]
    # Pillow takes the middle of each pixel itself.
    coefficients = inverse.ravel()[:8].tolist()
    flat = abs(coefficients[6]) + abs(coefficients[7]) < 1e-9
    method = Image.Transform.AFFINE if flat else Image.Transform.PERSPECTIVE
    warped = source.transform(
        (width, height), method, coefficients[:6] if flat else coefficients, Image.Resampling.BILINEAR
    )
    return np.asarray(warped)
