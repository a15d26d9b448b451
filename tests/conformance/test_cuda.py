"""A CUDA device gives the references' numbers, at the tolerances that were measured on a CPU."""

from pathlib import Path

import pytest
import torch
from checkpoint_files import open_case
from conformance_cases import Case

from ganedit.checkpoints import load_network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize(
    ("name", "output"), [("nv_sg2_cond32", "image_ws_const"), ("nv_sg3_t256", "image_ws")]
)
def test_cuda_draws_nvidias_pictures(name: str, output: str, tmp_path: Path) -> None:
    case = Case(name)
    path = open_case(case, tmp_path).path
    generator = load_network(path, device="cuda").generator
    z, ws = case.inputs["z"].cuda(), case.inputs["ws"].cuda()
    c = case.inputs["c"].cuda() if "c" in case.inputs else None
    for got, wanted in ((generator.map(z, c)[:, 0], "w"), (generator.synthesize(ws), output)):
        comparison = case.compare(wanted, got.cpu())
        assert comparison.ok, f"{name} {wanted}: {comparison}"
