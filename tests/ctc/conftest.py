"""Every test of CTC runs at each level."""

import pytest

from minicrnn import use_backend


@pytest.fixture(autouse=True, params=["torch", "numba"])
def level(request):
    with use_backend(request.param):
        yield request.param
