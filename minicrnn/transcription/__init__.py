"""From log-probabilities to texts, by the decoder that the options ask for."""

from minicrnn.transcription.decode import Transcript, transcribe
from minicrnn.transcription.options import Decoding

__all__ = ["Decoding", "Transcript", "transcribe"]
