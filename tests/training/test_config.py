import dataclasses

import pytest

from ganedit.errors import GaneditError
from ganedit.training.config import TrainingConfig, field_of, flag


def test_automatic_numbers_follow_resolution_and_batch():
    config = TrainingConfig(data="d", out="o", batch=32).resolved(256)
    assert config.r1_gamma == pytest.approx(0.0002 * 256**2 / 32)
    assert config.ema_kimg == pytest.approx(10)
    assert config.learning_rate == 0.0025
    assert config.mbstd_group == 4
    assert TrainingConfig(data="d", out="o").resolved(1024).learning_rate == 0.002
    assert TrainingConfig(data="d", out="o", batch=6).resolved(64).mbstd_group == 3


def test_given_numbers_stay():
    config = TrainingConfig(data="d", out="o", r1_gamma=0.0, mbstd_group=2).resolved(64)
    assert (config.r1_gamma, config.mbstd_group) == (0.0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "--batch must be 1 to 4096, got 0"),
        ({"r1_gamma": -1.0}, "--gamma"),
        ({"learning_rate": float("nan")}, "--lr"),
        ({"style_mixing": 1.5}, "--style-mixing must be 0 to 1, got 1.5"),
        ({"mbstd_group": 3}, "--mbstd-group must divide --batch 16, got 3"),
        ({"freeze_d": -1}, "--freeze-d"),
        ({"freeze_d": 1, "train_d_blocks": 1}, "--freeze-d and --train-d-blocks both"),
        ({"structure_weight": float("inf")}, "--structure-weight"),
        ({"max_minutes": -1.0}, "--max-minutes"),
        ({"augment": "sometimes"}, "--augment"),
    ],
)
def test_errors_name_the_flag(change, message):
    with pytest.raises(GaneditError, match=message):
        TrainingConfig(data="d", out="o", **change).validate()


def test_options_and_fields_translate_into_each_other():
    for field in dataclasses.fields(TrainingConfig):
        if not field.name.startswith("grid"):
            assert field_of(flag(field.name).removeprefix("--").replace("-", "_")) == field.name


def test_differences_ignore_what_does_not_change_a_step():
    config = TrainingConfig(data="d", out="o")
    longer = dataclasses.replace(config, kimg=1.0, threads=2, out="p")
    assert longer.differences(config.to_json()) == []
    other = dataclasses.replace(config, batch=8)
    assert other.differences(config.to_json()) == ["--batch 16 is now 8"]


def test_options_that_an_older_run_does_not_know_had_their_defaults():
    config = TrainingConfig(data="d", out="o")
    old = config.to_json()
    del old["structure_loss"], old["structure_weight"]
    assert config.differences(old) == []
    other = dataclasses.replace(config, structure_loss=2)
    assert other.differences(old) == ["--structure-loss 0 is now 2"]


def test_path_lengths_are_off_while_most_of_the_generator_stays():
    assert TrainingConfig(data="d", out="o").resolved(64).pl_weight == 2
    assert TrainingConfig(data="d", out="o", freeze_g=1).resolved(64).pl_weight == 0
