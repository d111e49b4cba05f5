"""However many threads work on a network, its outputs and gradients are the same."""

import pytest
import torch

from minicrnn.crnn import CRNN


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("preset", ["vgg", "tiny"])
def test_threads_change_nothing(preset, threads):
    torch.manual_seed(0)
    model = CRNN.from_preset(preset, 7, out_channels=32, hidden_size=8).double()
    images, widths = torch.randn(5, 1, 32, 52, dtype=torch.float64), [52, 40, 52, 33, 47]
    weights = None
    results = []
    for count in (1, 2):
        threads(count)
        model.zero_grad()
        logits, _ = model(images, widths)
        weights = torch.randn_like(logits) if weights is None else weights
        (logits * weights).sum().backward()
        results.append([logits, *(p.grad.clone() for p in model.parameters())])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)
