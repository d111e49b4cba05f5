"""The schedule, point by point, and which parameters decay."""

import pytest
import torch

from minicrnn.checkpoint import CheckpointError
from minicrnn.crnn import CRNN
from minicrnn.training import TrainOptions
from minicrnn.training.optimiser import build_optimiser, check_rates, rate_factor


def test_cosine_rises_then_falls_to_zero():
    options = TrainOptions(steps=100, warmup=0.1)
    rates = [rate_factor(step, 100, options) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_constant_stays():
    options = TrainOptions(steps=10, warmup=0.0, schedule="constant")
    assert {rate_factor(step, 10, options) for step in range(10)} == {1.0}


def test_constant_falls_in_its_cooldown():
    options = TrainOptions(steps=10, warmup=0.2, schedule="constant", cooldown=0.4)
    rates = [rate_factor(step, 10, options) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def constant(steps, cooldown=0.0, warm_steps=2):
    return steps, TrainOptions(steps=steps, schedule="constant", warmup=warm_steps / steps, cooldown=cooldown)


def test_a_constant_schedule_may_be_made_longer_or_be_ended():
    check_rates(8, constant(10, cooldown=0.2), constant(40, cooldown=0.5))
    check_rates(8, constant(100), constant(10, cooldown=0.2))


@pytest.mark.parametrize(
    ("done", "before", "now"),
    [
        (10, constant(10, cooldown=0.2), constant(40)),  # two steps of the cooldown are done
        (5, constant(10), constant(10, warm_steps=3)),
        (5, constant(10), (10, TrainOptions(steps=10, warmup=0.2))),  # a cosine
        (9, constant(10), constant(8)),  # done is done
    ],
)
def test_rates_of_steps_already_taken_stay(done, before, now):
    with pytest.raises(CheckpointError, match="would have had other learning rates"):
        check_rates(done, before, now)


def test_adamw_decays_weights_alone():
    model = CRNN.from_preset("tiny", 5)
    optimiser = build_optimiser(model, TrainOptions(steps=1, weight_decay=0.1))
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert len(decays) == len(list(model.parameters()))
    assert decays[id(model.features.conv1.weight)] == 0.1
    assert decays[id(model.features.norm1.weight)] == decays[id(model.recurrent.classes.bias)] == 0.0


def test_adadelta_is_the_papers():
    optimiser = build_optimiser(CRNN.from_preset("tiny", 5), TrainOptions(steps=1, optimiser="adadelta"))
    assert isinstance(optimiser, torch.optim.Adadelta)
    assert optimiser.defaults["rho"] == 0.9
