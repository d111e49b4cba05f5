"""The demo, cut to a few steps: it trains, reads, saves and says what next."""

import io

from rich.console import Console

from minicrnn.demo import run_demo
from minicrnn.reader import Reader


def test_demo_leaves_a_model_and_a_picture(tmp_path):
    said = io.StringIO()
    assert run_demo(tmp_path / "demo", steps=3, seed=0, console=Console(file=said, width=120))
    text = said.getvalue()
    assert "words never seen" in text
    assert "minicrnn train" in text
    assert (tmp_path / "demo" / "reading.png").stat().st_size > 10_000
    assert Reader.load(tmp_path / "demo" / "last.safetensors").alphabet.num_classes == 37
