"""Equality with NVIDIA's StyleGAN3, T and R, at the tolerance that each case states."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import open_case
from conformance_cases import Case
from torch import Tensor

from ganedit.checkpoints.building import build_generator
from ganedit.generators import StyleGAN3Generator

Check = Callable[[Case, str, Tensor], None]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tolerances were measured with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["nv_sg3_t256", "nv_sg3_r256"])
def test_generator_equals_nvidias(name: str, check: Check, tmp_path: Path) -> None:
    case = Case(name)
    checkpoint = open_case(case, tmp_path)
    generator = build_generator(checkpoint.generator, checkpoint.path)
    assert isinstance(generator, StyleGAN3Generator)
    psi, cutoff = case.settings["truncation_psi"], case.settings["truncation_cutoff"]
    z, ws = case.inputs["z"], case.inputs["ws"]
    got = {
        "w": generator.map(z)[:, 0],
        "w_truncated": generator.map(z, truncation_psi=psi)[:, 0],
        "ws_truncated_cutoff": generator.map(z, truncation_psi=psi, truncation_cutoff=cutoff),
        "fourier_features": generator.synthesis.input(ws[:, 0]),
        "image_ws_transform": generator.synthesize(ws, transform=case.inputs["transform"]),
    }
    if "grad_ws" in case.outputs:
        ws.requires_grad_()
    image = generator.synthesize(ws)
    got["image_ws"] = image
    if "grad_ws" in case.outputs:
        (got["grad_ws"],) = torch.autograd.grad(image.square().mean(), ws)
    assert set(got) == set(case.outputs)
    for output, value in got.items():
        check(case, output, value)


@pytest.mark.parametrize("name", ["nv_sg3_t256", "nv_sg3_r256"])
def test_filters_are_designed_as_nvidias(name: str) -> None:
    case = Case(name)
    arguments: dict[str, Any] = dict(case.settings["G"])
    mapping = arguments.pop("mapping_kwargs")
    generator = StyleGAN3Generator(**arguments, mapping_layers=mapping["num_layers"])
    designed = generator.state_dict()
    stored = case.state_dict("G_ema")
    names = [key for key in stored if key.endswith("_filter")]
    assert [key for key in designed if key.endswith("_filter")] == names
    for key in names:
        torch.testing.assert_close(designed[key], stored[key], rtol=1e-5, atol=1e-7)
