"""Prepared weights are kept while they are in use and nothing has changed, and at no other time."""

import threading

import pytest
import torch
from torch import nn

from minicrnn.layers import Conv2d
from minicrnn.layers.prepared_weights import PreparedWeights, prepared_weight


@pytest.fixture
def calls():
    return []


@pytest.fixture
def prepare(calls):
    def prepare(weight):
        calls.append(weight)
        return 2 * weight

    return prepare


@pytest.fixture
def weight():
    return nn.Parameter(torch.ones(3))


def test_kept_inside_and_not_outside(weight, prepare, calls):
    kept = PreparedWeights()
    with torch.no_grad():
        for _ in range(2):  # it may be entered again
            with kept.in_use():
                for _ in range(2):
                    assert prepared_weight(weight, "way", prepare).tolist() == [2, 2, 2]
        assert len(calls) == 1
        prepared_weight(weight, "way", prepare)
        prepared_weight(weight, "way", prepare)
    assert len(calls) == 3


def test_not_kept_where_a_gradient_is_asked_for(weight, prepare, calls):
    with PreparedWeights().in_use():
        for _ in range(2):
            assert not prepared_weight(weight, "way", prepare).requires_grad
    assert len(calls) == 2


@pytest.mark.parametrize("change", ["in place", "state dict", "memory", "way"])
def test_changes_are_noticed(change, prepare):
    layer = Conv2d(1, 1, 1, bias=False)
    way = "way"
    with PreparedWeights().in_use(), torch.no_grad():
        layer.weight.fill_(1)
        assert prepared_weight(layer.weight, way, prepare).item() == 2
        if change == "in place":
            layer.weight.add_(1)
        elif change == "state dict":
            layer.load_state_dict({"weight": torch.full((1, 1, 1, 1), 2.0)})
        elif change == "memory":
            layer.weight.data = torch.full((1, 1, 1, 1), 2.0)
        else:
            assert prepared_weight(layer.weight, "another way", lambda w: 4 * w).item() == 4
            return
        assert prepared_weight(layer.weight, way, prepare).item() == 4


def test_weights_of_inference_mode_do_not_count_their_changes(prepare):
    with PreparedWeights().in_use(), torch.inference_mode():
        weight = torch.ones(1)
        assert prepared_weight(weight, "way", prepare).item() == 2
        weight.add_(1)
        assert prepared_weight(weight, "way", prepare).item() == 4


def test_each_thread_has_its_own(weight, prepare, calls):
    kept = PreparedWeights()

    def elsewhere():
        with torch.no_grad():
            prepared_weight(weight, "way", prepare)

    with kept.in_use(), torch.no_grad():
        prepared_weight(weight, "way", prepare)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(calls) == 2


def test_a_weight_that_is_gone_is_forgotten():
    kept = PreparedWeights()
    with kept.in_use(), torch.no_grad():
        prepared_weight(nn.Parameter(torch.ones(3)), "way", lambda weight: 2 * weight)
        assert len(kept._kept) == 0
