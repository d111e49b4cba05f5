"""A replay gives what the recorded function would have given, and runs none of its Python."""

import threading

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import minicrnn as mc
import minicrnn.layers
from minicrnn.layers import LSTM, BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from minicrnn.layers.fusion import groups
from minicrnn.layers.prepared_weights import PreparedWeights
from minicrnn.layers.recording import Recording
from minicrnn.layers.scratch import ScratchMemory
from minicrnn.threads import kernels_written_to
from tests.strategies import LAYOUTS, dtypes, feature_stacks, in_layout, seeds, tolerance


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def ours(layer):
    """Our layer of the same kind, options and weights as one of torch.nn."""
    names = set(layer.__constants__) & set(vars(layer)) | {"bias"} & set(layer._parameters)
    options = {name: getattr(layer, name) for name in names}
    if "bias" in options:
        options["bias"] = options["bias"] is not None
    for name in ("output_padding", "transposed", "_reversed_padding_repeated_twice", "inplace"):
        options.pop(name, None)
    made = getattr(minicrnn.layers, type(layer).__name__)(**options)
    made.load_state_dict(layer.state_dict())
    return made


def in_groups(stack, x):
    for group in groups(stack, x):
        x = group.run(x)
    return x


@pytest.mark.parametrize("level", ["auto", "numba", "torch"])
@given(feature_stacks(2), st.tuples(st.integers(8, 30), st.integers(8, 30)), dtypes, st.sampled_from(LAYOUTS), seeds)
def test_drawn_stacks(level, stack, size, dtype, layout, seed):
    stack = nn.Sequential(*map(ours, stack)).to(dtype).eval()
    torch.manual_seed(seed)
    first, second = in_layout(torch.randn(2, 2, *size, dtype=dtype), layout).unsqueeze(1)
    with torch.no_grad(), PreparedWeights().in_use(), mc.use_backend(level):
        try:
            expected = [in_groups(stack, x) for x in (first, second)]
        except (RuntimeError, ValueError):  # the image is too small
            assume(False)
        replay = Recording(lambda x: in_groups(stack, x), first, ScratchMemory())
        for _ in range(2):  # what was read before leaves no trace
            torch.testing.assert_close(replay(second), expected[1], **tolerance(dtype))
            torch.testing.assert_close(replay(first), expected[0], **tolerance(dtype))


@pytest.mark.parametrize("level", ["auto", "torch"])
@given(st.integers(1, 9), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(1, 2), seeds)
def test_lstms_and_linear_layers(level, T, N, both_ways, bias, layers, seed):
    torch.manual_seed(seed)
    lstm = LSTM(130, 5, num_layers=layers, bidirectional=both_ways, bias=bias).eval()
    linear = Linear(5 * (1 + both_ways), 3, bias=bias)
    first, second = torch.randn(2, T, N, 130)
    with torch.no_grad(), PreparedWeights().in_use(), mc.use_backend(level):
        replay = Recording(lambda x: linear(lstm(x)[0]), first, ScratchMemory())
        torch.testing.assert_close(replay(second), linear(lstm(second)[0]))


def test_what_is_summed_up_in_memory_begins_anew():
    def twice(x):
        total = torch.zeros_like(x)
        total += x
        return total.add_(x)

    replay = Recording(twice, torch.ones(3), ScratchMemory())
    for value in (1.0, 5.0):
        assert replay(torch.full((3,), value)).tolist() == [2 * value] * 3


def test_fresh_memory_is_not_made_again():
    replay = Recording(lambda x: torch.empty(3).copy_(x).view(3, 1), torch.zeros(3), ScratchMemory())
    assert replay(torch.ones(3)).tolist() == [[1], [1], [1]]
    assert len(replay._calls) == 1


def test_results_are_memory_of_their_own():
    replay = Recording(lambda x: x + 1, torch.zeros(1), ScratchMemory())
    first, _ = replay(torch.ones(1)), replay(torch.zeros(1))
    assert first.item() == 2


def test_the_input_is_left_as_it_is():
    x = torch.ones(3)
    replay = Recording(lambda x: x.mul_(2), x, ScratchMemory())
    assert replay(x).tolist() == [2, 2, 2]
    assert x.tolist() == [1, 1, 1]


def stack_with_kernels():
    torch.manual_seed(0)
    layers = [Conv2d(1, 16, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(16, 32, 3, padding=1), BatchNorm2d(32), ReLU()]
    return nn.Sequential(*layers).eval()


def test_python_does_not_run_again():
    stack, x = stack_with_kernels(), torch.randn(1, 1, 16, 20)
    runs, kernels = [], []
    replay = Recording(lambda x: runs.append(1) or in_groups(stack, x), x, ScratchMemory())
    with kernels_written_to(kernels):
        replay(x)
    assert len(runs) == 1
    assert not kernels  # they were called, and nobody was told: it is not a second recording


def test_scratch_memory_of_other_threads_is_not_touched():
    """A batch is read in one thread while a recording made in it is replayed in another."""
    stack, x = stack_with_kernels(), torch.randn(1, 1, 32, 40)
    expected, wrong = in_groups(stack, x), []
    replay = Recording(lambda x: in_groups(stack, x), x, ScratchMemory())

    def replays():
        for _ in range(200):
            if not torch.equal(replay(x), expected):
                wrong.append("replay")

    thread = threading.Thread(target=replays)
    thread.start()
    while thread.is_alive():
        with torch.no_grad():
            if not torch.equal(in_groups(stack, x), expected):
                wrong.append("ordinary")
    thread.join()
    assert not wrong


def test_another_number_of_threads_serves_too():
    stack, x, threads = stack_with_kernels(), torch.randn(1, 1, 16, 20), torch.get_num_threads()
    replay = Recording(lambda x: in_groups(stack, x), x, ScratchMemory())
    expected = replay(x)
    try:
        torch.set_num_threads(3 - threads if threads < 3 else 1)
        assert torch.equal(replay(x), expected)
    finally:
        torch.set_num_threads(threads)
