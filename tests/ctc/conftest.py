"""Every test of CTC runs at each level."""

import pytest
import torch

from minicrnn import use_backend


@pytest.fixture(autouse=True, params=["torch", "numba"])
def level(request):
    with use_backend(request.param):
        yield request.param


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
