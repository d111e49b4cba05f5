"""The layers: torch tensors in and out, forward and backward passes written by hand."""

from minicrnn.layers.linear import Linear

__all__ = ["Linear"]
