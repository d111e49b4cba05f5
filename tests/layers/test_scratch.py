"""Scratch memory: one piece a thread and type, used again."""

import threading

import pytest
import torch

from minicrnn.layers.scratch import ScratchMemory, empty, scratch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_memory_is_used_again_and_grows(dtype):
    first = scratch(100, dtype)
    assert (first.shape, first.dtype) == ((100,), dtype)
    assert scratch(10, dtype).data_ptr() == first.data_ptr()
    larger = scratch(1 << 20, dtype)
    assert larger.shape == (1 << 20,)
    assert scratch(100, dtype).data_ptr() == larger.data_ptr()


def test_threads_do_not_share():
    here, there = scratch(10, torch.float32), []
    thread = threading.Thread(target=lambda: there.append(scratch(10, torch.float32)))
    thread.start()
    thread.join()
    assert there[0].data_ptr() != here.data_ptr()


def test_memory_of_ones_own_comes_before_the_threads():
    usual, own = scratch(10, torch.float32).data_ptr(), ScratchMemory()
    with own.in_use():
        mine = scratch(10, torch.float32).data_ptr()
        with ScratchMemory().in_use():
            assert scratch(10, torch.float32).data_ptr() not in (usual, mine)
        assert scratch(10, torch.float32).data_ptr() == mine != usual
    assert scratch(10, torch.float32).data_ptr() == usual
    assert own.piece(10, torch.float32).data_ptr() == mine


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int8])
@pytest.mark.parametrize("size", [(), (0, 3), (2, 3)])
def test_empty_has_the_size_and_type_asked_for(size, dtype):
    tensor = empty(size, dtype)
    assert (tensor.shape, tensor.dtype) == (size, dtype)


def test_memory_that_was_made_in_inference_mode_serves_outside_of_it():
    with torch.inference_mode():
        size = 1 << 21
        scratch(size, torch.float64).zero_()
    assert scratch(size, torch.float64).add_(1).sum() == size
