"""The layers: torch tensors in and out, forward and backward passes written by hand."""

from minicrnn.layers.activation import ReLU
from minicrnn.layers.avg_pool import AvgPool2d
from minicrnn.layers.batch_norm import BatchNorm2d
from minicrnn.layers.conv import Conv2d
from minicrnn.layers.dropout import Dropout
from minicrnn.layers.linear import Linear
from minicrnn.layers.local_response_norm import LocalResponseNorm
from minicrnn.layers.lstm import LSTM
from minicrnn.layers.max_pool import MaxPool2d
from minicrnn.layers.sequence import MapToSequence

__all__ = [
    "LSTM",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Linear",
    "LocalResponseNorm",
    "MapToSequence",
    "MaxPool2d",
    "ReLU",
]
