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
                    assert prepared_weight("way", prepare, weight).tolist() == [2, 2, 2]
        assert len(calls) == 1
        prepared_weight("way", prepare, weight)
        prepared_weight("way", prepare, weight)
    assert len(calls) == 3


def test_not_kept_where_a_gradient_is_asked_for(weight, prepare, calls):
    with PreparedWeights().in_use():
        for _ in range(2):
            assert not prepared_weight("way", prepare, weight).requires_grad
    assert len(calls) == 2


@pytest.mark.parametrize("change", ["in place", "state dict", "memory", "way"])
def test_changes_are_noticed(change, prepare):
    layer = Conv2d(1, 1, 1, bias=False)
    way = "way"
    with PreparedWeights().in_use(), torch.no_grad():
        layer.weight.fill_(1)
        assert prepared_weight(way, prepare, layer.weight).item() == 2
        if change == "in place":
            layer.weight.add_(1)
        elif change == "state dict":
            layer.load_state_dict({"weight": torch.full((1, 1, 1, 1), 2.0)})
        elif change == "memory":
            layer.weight.data = torch.full((1, 1, 1, 1), 2.0)
        else:
            assert prepared_weight("another way", lambda w: 4 * w, layer.weight).item() == 4
            return
        assert prepared_weight(way, prepare, layer.weight).item() == 4


@pytest.mark.parametrize("further", [False, True])
def test_weights_of_inference_mode_do_not_count_their_changes(further):
    with PreparedWeights().in_use(), torch.inference_mode():
        weights = [torch.ones(1)]
        if further:
            with torch.inference_mode(False):
                weights.insert(0, torch.zeros(1))
        assert prepared_weight("sum", lambda *weights: sum(weights), *weights).item() == 1
        weights[-1].add_(1)
        assert prepared_weight("sum", lambda *weights: sum(weights), *weights).item() == 2


def test_each_thread_has_its_own(weight, prepare, calls):
    kept = PreparedWeights()

    def elsewhere():
        with torch.no_grad():
            prepared_weight("way", prepare, weight)

    with kept.in_use(), torch.no_grad():
        prepared_weight("way", prepare, weight)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(calls) == 2


def test_a_weight_that_is_gone_is_forgotten():
    kept = PreparedWeights()
    with kept.in_use(), torch.no_grad():
        prepared_weight("way", lambda weight: 2 * weight, nn.Parameter(torch.ones(3)))
        assert len(kept._kept) == 0


@pytest.mark.parametrize("change", ["in place", "another", "another in the same memory", "none"])
def test_changes_of_further_weights_are_noticed(change, weight):
    def total(weight, *more):
        return weight + sum(m for m in more if m is not None)

    more = [torch.ones(3), torch.ones(3)]
    with PreparedWeights().in_use(), torch.no_grad():
        before = prepared_weight("sum", total, weight, *more)
        assert prepared_weight("sum", total, weight, *more) is before
        if change == "in place":
            more[0].add_(1)
        elif change == "another":
            more[0] = 2 * more[0]
        elif change == "another in the same memory":
            counted, more[0] = more[0]._version, nn.Parameter(more[0].data)
            more[0].data.mul_(2)
            assert more[0]._version == counted
        else:
            more[1] = None
        assert torch.equal(prepared_weight("sum", total, weight, *more), total(weight, *more))


def test_results_do_not_hold_the_weight(weight):
    with PreparedWeights().in_use(), torch.no_grad():
        assert not prepared_weight("itself", lambda weight, more: more, weight, weight).requires_grad
