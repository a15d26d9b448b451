import pytest
import torch

from ganedit.checkpoints.rosinality import discriminator_from_rosinality, from_rosinality
from ganedit.errors import GaneditError


def test_other_state_dicts_are_refused_in_one_sentence() -> None:
    with pytest.raises(GaneditError, match="not a rosinality generator: it has no tensor"):
        from_rosinality({"weight": torch.zeros(1)})
    with pytest.raises(GaneditError, match="not a rosinality discriminator: it has no tensor"):
        discriminator_from_rosinality({"weight": torch.zeros(1)})
