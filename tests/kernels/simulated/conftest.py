"""CPU tensors stand in for CUDA ones in all simulated tests."""

import pytest

from minicrnn.ctc import cuda_device
from tests.ctc.fake_gpu import FakeGpu


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    fake = FakeGpu()
    monkeypatch.setattr(cuda_device, "gpu", fake)
    monkeypatch.setattr(cuda_device, "_pending", {})
    return fake
