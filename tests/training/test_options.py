"""Options are checked at once, each by name."""

import pytest

from minicrnn.training import TrainOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either epochs or steps"),
        ({"epochs": 1, "steps": 1}, "either epochs or steps"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"steps": 5, "batch_size": 0}, "batch_size"),
        ({"steps": 5, "rate": 0.0}, "rate must be positive"),
        ({"steps": 5, "rate": float("nan")}, "rate must be positive"),
        ({"steps": 5, "warmup": 1.5}, "warmup must be a share"),
        ({"steps": 5, "clip": -1.0}, "clip"),
        ({"steps": 5, "optimiser": "sgd"}, "one of adamw, adadelta"),
        ({"steps": 5, "cooldown": 0.2}, "a cooldown is of the constant schedule, not of the cosine"),
        ({"steps": 5, "schedule": "constant", "warmup": 0.6, "cooldown": 0.6}, "more than all steps together"),
        ({"steps": 5, "schedule": "step"}, "one of cosine, constant"),
        ({"steps": 5, "preset": "huge"}, "preset must be one of vgg, paper, tiny, music"),
        ({"steps": 5, "augment": 3.0}, "augment"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)


def test_rates_default_by_optimiser():
    assert TrainOptions(steps=1).peak_rate == 3e-3
    assert TrainOptions(steps=1, optimiser="adadelta").peak_rate == 1.0
    assert TrainOptions(steps=1, rate=0.5).peak_rate == 0.5


def test_changes_are_named_but_for_those_that_change_nothing_learnt():
    options = TrainOptions(steps=1, seed=3)
    given = {"steps": 1, "seed": 2, "workers": 2, "device": "cpu", "max_bad_share": 0.5}
    assert options.forbidden_changes(given) == ["seed is 2 now and was 3"]


def test_the_schedule_is_left_to_the_trainer_who_knows_the_steps_done():
    options = TrainOptions(steps=1)
    assert options.forbidden_changes({"steps": 2, "schedule": "constant", "warmup": 0.0, "cooldown": 0.5}) == []
    assert options.forbidden_changes({"epochs": 2}) == ["epochs is 2 now and was None"]
