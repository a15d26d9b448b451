import torch
from conformance_cases import Case

from ganedit.features import VGG16
from ganedit.losses import PerceptualDistance, lpips_distance


def _images(case: Case) -> list[torch.Tensor]:
    return [case.inputs[f"image{i}_uint8"].float() / 127.5 - 1 for i in (0, 1)]


def _build(case: Case) -> PerceptualDistance:
    state = case.state_dict("lpips")
    trunk = {}
    for key, value in state.items():
        if key.startswith("net.slice"):
            _, _, index, kind = key.split(".")
            trunk[f"features.{index}.{kind}"] = value
    vgg = VGG16()
    vgg.load_state_dict(trunk)
    return lpips_distance(vgg.requires_grad_(False))


def test_lpips_with_the_packages_heads_equals_the_package(check):
    case = Case("lpips_vgg")
    a, b = _images(case)
    distance = _build(case)
    a.requires_grad_(True)
    features, targets = distance.encode(a), distance.encode(b)
    total = distance.distance(features, targets)
    check(case, "distance", total.detach().reshape(-1, 1, 1, 1))
    per_layer = torch.stack(distance.distance_per_layer(features, targets))
    check(case, "distance_per_layer", per_layer.detach().reshape(5, -1, 1, 1, 1))
    (gradient,) = torch.autograd.grad(total.sum(), a)
    check(case, "grad_image0", gradient)


def test_the_packages_heads_are_those_of_the_reference():
    case = Case("lpips_vgg")
    state = case.state_dict("lpips")
    for index, weight in enumerate(_build(case).weights):
        assert torch.equal(weight, state[f"lin{index}.model.1.weight"])


def test_unweighted_variant_with_unit_weights(check):
    case = Case("lpips_vgg")
    weighted = _build(case)
    plain = PerceptualDistance(
        weighted.features, [torch.tensor(1.0)] * 5, unit_length=True, name="plain"
    )
    with torch.no_grad():
        check(case, "distance_unweighted", plain(*_images(case)).reshape(-1, 1, 1, 1))
