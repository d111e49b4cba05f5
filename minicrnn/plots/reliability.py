"""Confidence against the share of right readings."""

from pathlib import Path

from matplotlib.figure import Figure

from minicrnn.plots.figures import BLUE, GREY, ORANGE, save
from minicrnn.reliability import BINS, calibration_error
from minicrnn.scores import Evaluation


def plot_reliability(scores: Evaluation, path: str | Path) -> None:
    """Draw, for ten bins of confidence, the share of readings that are right; and how many readings each bin has.

    On the diagonal, confidence is what it says. Where the model has been calibrated, the confidences at temperature 1
    are drawn beside them.

    Args:
        path: where the picture goes; its suffix chooses the format.

    Raises:
        CheckpointError: the file cannot be written.
    """
    now, raw = scores.reliability(), scores.reliability(raw=True)
    sides = [("confidence", now, BLUE, "o-")]
    if any(p.raw_confidence not in (None, p.confidence) for p in scores.predictions):
        sides = [("at temperature 1", raw, ORANGE, "s--"), ("calibrated", now, BLUE, "o-")]
    figure = Figure(figsize=(5.2, 6), layout="constrained")
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    shares.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for number, (name, bins, colour, style) in enumerate(sides):
        full = [one for one in bins if one.size]
        label = f"{name}: ECE {calibration_error(bins):.1%}"
        shares.plot([b.confidence for b in full], [b.accuracy for b in full], style, color=colour, label=label)
        breadth = 0.8 / len(sides) / BINS
        places = [(b.low + b.high) / 2 + (number - (len(sides) - 1) / 2) * breadth for b in bins]
        counts.bar(places, [b.size for b in bins], breadth, color=colour)
    shares.set_ylabel("share of readings that are right")
    shares.set_xlim(-0.02, 1.02)
    shares.set_ylim(-0.02, 1.02)
    shares.grid(alpha=0.3)
    shares.legend(loc="upper left", fontsize=9)
    counts.set_ylabel("readings")
    counts.set_yscale("symlog", linthresh=1)
    counts.set_xlabel(f"confidence, in {BINS} bins; {len(scores.predictions):,} readings")
    save(figure, path)
