import math

import pytest
import torch
from torch import Tensor, nn

from ganedit.data.clayheads import FACTORS, render, sample_factors
from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.features.clay import ClayFeatures, load_clay_features
from ganedit.features.clay_clip import load_clay_clip
from ganedit.losses.identity import ClayIdentity, identity_loss, read_factors, spoken_factors


class _Directions(nn.Module):
    """The direction of a picture's first two numbers."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(images.flatten(1)[:, :2])


def test_the_angle_between_people_is_measured() -> None:
    images, targets = torch.zeros(3, 3, 4, 4), torch.zeros(3, 3, 4, 4)
    images[:, 0, 0, 0] = 2.0
    targets[0, 0, 0, 0] = 1.0
    targets[1, 0, 0, 1] = 1.0
    targets[2, 0, 0, 0] = -3.0
    images.requires_grad_()
    loss = identity_loss(_Directions(), images, targets)
    torch.testing.assert_close(loss, torch.tensor([0.0, 1.0, 2.0]))
    loss.sum().backward()
    assert images.grad is not None
    # Turning the second picture towards its target brings them closer.
    assert images.grad[1, 0, 0, 1] < 0


@pytest.fixture(scope="module")
def features() -> ClayFeatures:
    return load_clay_features()


def _heads(**changes: float) -> Tensor:
    factors = sample_factors([3, 4])
    for name, value in changes.items():
        factors[:, FACTOR_INDEX[name]] = value
    return render(factors, resolution=64).image


def test_a_clay_head_is_its_own_and_another_is_not(features: ClayFeatures) -> None:
    loss = ClayIdentity(features)
    heads = _heads()
    assert (loss(heads, heads) == 0).all()
    assert (loss(heads, heads.flip(0)) > 0.3).all()


def test_what_is_spared_may_change(features: ClayFeatures) -> None:
    light, dark = _heads(skin_tone=0.1), _heads(skin_tone=0.9)
    held, free = ClayIdentity(features), ClayIdentity(features, spared={"skin_tone": 1})
    assert (held(dark, light) > 0.5).all()
    assert (free(dark, light) < 0.5 * held(dark, light)).all()
    half = ClayIdentity(features, spared={"skin_tone": 0.5})(dark, light)
    torch.testing.assert_close(half, (held(dark, light) + 3 * free(dark, light)) / 4)


@pytest.mark.parametrize("spared", [{"charm": 1.0}, {"age": 1.5}, {"age": math.nan}])
def test_only_shares_of_factors_can_be_spared(
    features: ClayFeatures, spared: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="spared"):
        ClayIdentity(features, spared=spared)


def test_gradients_flow_to_the_picture_and_not_to_the_target(features: ClayFeatures) -> None:
    image, target = (x.requires_grad_() for x in _heads().split(1))
    ClayIdentity(features)(image, target).sum().backward()
    assert image.grad is not None
    assert image.grad.any()
    assert target.grad is None


def test_a_reading_has_an_owner_and_a_hue_has_no_seam(features: ClayFeatures) -> None:
    readings, owners = read_factors(features, _heads())
    assert readings.shape == (2, len(owners))
    assert set(owners.tolist()) == set(range(len(FACTORS)))
    red, almost_red, green = (_heads(background=hue)[:1] for hue in (0.01, 0.99, 0.4))
    loss = ClayIdentity(features)
    assert loss(red, almost_red) < 0.3 * loss(red, green)


def test_what_a_prompt_speaks_of_is_found() -> None:
    clip = load_clay_clip()
    truth = sample_factors(range(64))
    images = render(truth, resolution=64).image
    with torch.no_grad():
        readings, owners = read_factors(load_clay_features(), images)
        scores = clip.encode_images(images) @ clip.encode_texts(["glasses"])[0]
    assert int(spoken_factors(readings, owners, scores).argmax()) == FACTOR_INDEX["glasses"]
    spoken = spoken_factors(readings, owners, truth[:, FACTOR_INDEX["age"]])
    assert spoken[FACTOR_INDEX["age"]] == 1
    assert 0.2 < spoken[FACTOR_INDEX["grey"]] < 1  # it comes with age
    assert spoken[FACTOR_INDEX["yaw"]] < 0.2
    hue = (2 * torch.pi * truth[:, FACTOR_INDEX["background"]]).cos()
    assert int(spoken_factors(readings, owners, hue).argmax()) == FACTOR_INDEX["background"]
    assert bool(spoken_factors(readings, owners, torch.zeros(64)).isfinite().all())
