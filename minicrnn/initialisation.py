"""First weights of the presets: chosen so that signals keep their size on the way through the network.

torch's defaults, which the layers share, shrink a signal a little in each layer. By the time it reaches the LSTMs,
their own state speaks louder than the image, and they first learn which labels are frequent where, without
looking. With the weights below the frames are heard from the first step. Measured on the demo's words, the mean loss
of steps 200 to 300 (of 16 words) is 0.65 nats a character with them, and 2.7 with torch's.

- convolutions: He et al., *Delving deep into rectifiers* (arXiv 1502.01852), section 2.2: variance 2 / fan_in,
  which keeps the size of a signal through a ReLU; biases zero.
- LSTMs: input weights after Glorot and Bengio (2010), variance 2 / (fan_in + fan_out), and orthogonal recurrent
  weights (Saxe et al., arXiv 1312.6120), gate by gate; the forget gate's bias is 1, so that a memory is kept until
  the net learns otherwise (Gers, Schmidhuber and Cummins 2000; Jozefowicz et al. 2015).
- linear layers: Glorot and Bengio (2010); biases zero.
"""

from torch import nn

from minicrnn.layers import LSTM, Conv2d, Linear


def initialise(model: nn.Module) -> None:
    """Draw first weights for every convolution, LSTM and linear layer of a model, in place."""
    for module in model.modules():
        if isinstance(module, Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            _zero_bias(module)
        elif isinstance(module, LSTM):
            _initialise_lstm(module)
        elif isinstance(module, Linear):
            nn.init.xavier_uniform_(module.weight)
            _zero_bias(module)


def _initialise_lstm(lstm: LSTM) -> None:
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            for gate in parameter.data.chunk(4):
                nn.init.xavier_uniform_(gate)
        elif name.startswith("weight_hh"):
            for gate in parameter.data.chunk(4):
                nn.init.orthogonal_(gate)
        elif name.startswith("bias"):
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):  # of the gates i, f, g, o, the second
                nn.init.ones_(parameter.data.chunk(4)[1])


def _zero_bias(layer: Conv2d | Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
