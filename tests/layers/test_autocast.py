"""Autocast: what is cast, and to what."""

import pytest
import torch

from minicrnn.layers.autocast import autocast_is_on, match_autocast

FLOATS = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_casts_to_the_type_of_autocast_but_not_float64(dtype):
    given = [torch.ones(2, dtype=d) for d in [*FLOATS, torch.float64]]
    with torch.autocast("cpu", dtype):
        assert autocast_is_on(torch.device("cpu"))
        cast = match_autocast(None, *given)
    assert cast[0] is None
    assert [t.dtype for t in cast[1:]] == [dtype, dtype, dtype, torch.float64]


def test_without_autocast_tensors_are_returned_as_they_are():
    given = (torch.ones(2), None, torch.ones(2, dtype=torch.float16))
    for context in (torch.enable_grad(), torch.autocast("cpu", enabled=False)):
        with context:
            assert not autocast_is_on(torch.device("cpu"))
            assert all(a is b for a, b in zip(match_autocast(*given), given, strict=True))


def test_gradients_come_back_in_the_type_of_the_parameter():
    x = torch.ones(3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        (y,) = match_autocast(x)
    y.backward(torch.full_like(y, 2))
    assert x.grad.dtype == torch.float32
    assert x.grad.tolist() == [2, 2, 2]


def test_a_device_that_has_no_autocast_has_it_off():
    x = torch.ones(2, device="meta")
    assert not autocast_is_on(x.device)
    assert match_autocast(x)[0] is x
