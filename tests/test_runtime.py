import warnings

import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.runtime import _refuse_tf32, resolve_device


def test_float32_on_a_gpu_is_float32() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                _refuse_tf32()
            assert not cudnn.allow_tf32
            assert not matmul.allow_tf32
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def test_a_cpu_changes_no_setting() -> None:
    before = torch.backends.cudnn.allow_tf32
    assert resolve_device("cpu").type == "cpu"
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("device", ["gizmo", "cuda:99", "", "meta"])
def test_a_device_that_is_not_there_is_one_line(device: str) -> None:
    with pytest.raises(GaneditError, match="is not available here; use auto, cpu, cuda"):
        resolve_device(device)
