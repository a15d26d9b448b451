"""Equality with the encoders of pSp and e4e."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from checkpoint_files import open_case
from conformance_cases import Case
from torch import Tensor, nn

from ganedit.checkpoints import find_encoder, load_encoder, load_network
from ganedit.encoders import BackboneEncoder, Encoder4Editing
from ganedit.inversion import encode

Check = Callable[[Case, str, Tensor], None]


def load(encoder: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    encoder.load_state_dict(state)
    return encoder.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("psp_backbone_w", lambda: BackboneEncoder(num_ws=18)),
        ("e4e_backbone_w", lambda: BackboneEncoder(num_ws=18)),
        ("psp_backbone_wplus", lambda: BackboneEncoder(num_ws=18, space="w+")),
    ],
)
def test_backbone_encoders(name: str, encoder: Callable[[], nn.Module], check: Check) -> None:
    case = Case(name)
    codes = load(encoder(), case.state_dict("encoder"))(case.inputs["image_uint8"] / 127.5 - 1)
    check(case, "codes", codes if len(case.doc["outputs"]["codes"]["shape"]) == 3 else codes[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "architecture"),
    [("psp_ffhq1024", "GradualStyleEncoder"), ("e4e_ffhq1024", "Encoder4Editing")],
)
def test_bundles(name: str, architecture: str, check: Check, tmp_path: Path) -> None:
    """The encoder and its generator, both from the file that the project itself would write."""
    case = Case(name)
    path = open_case(case, tmp_path).path
    network, encoder = load_network(path, device="cpu"), load_encoder(path, device="cpu")
    assert find_encoder(network) == str(path)
    assert (encoder.architecture, encoder.encoder.num_ws) == (architecture, 18)
    images = case.inputs["image_uint8"] / 127.5 - 1
    with torch.no_grad():
        check(case, "encoder_codes", encoder.encoder(images))
        codes = encode(network, encoder, images)
        check(case, "codes", codes)
        check(case, "image_256", F.adaptive_avg_pool2d(network.generator.synthesize(codes), 256))


def test_progressive_stages_add_offsets_one_by_one() -> None:
    encoder = Encoder4Editing(num_ws=10).eval()
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    with torch.no_grad():
        first, some, every = (encoder(images, stages=stages) for stages in (0, 4, None))
    assert torch.equal(first, first[:, :1].expand(-1, 10, -1))
    assert torch.equal(some[:, :5], every[:, :5])
    assert torch.equal(some[:, 5:], first[:, 5:])
