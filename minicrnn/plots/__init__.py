"""Pictures: the curves of a training run; a reading on its image, its lattice, its beam; how far confidences hold."""

from minicrnn.plots.beam import plot_beam
from minicrnn.plots.curves import plot_curves
from minicrnn.plots.figures import require_picture
from minicrnn.plots.lattice import plot_lattice
from minicrnn.plots.reading import picture_paths, plot_all, plot_reading
from minicrnn.plots.reliability import plot_reliability

__all__ = [
    "picture_paths",
    "plot_all",
    "plot_beam",
    "plot_curves",
    "plot_lattice",
    "plot_reading",
    "plot_reliability",
    "require_picture",
]
