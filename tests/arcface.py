"""ArcFace's weight file, with random numbers, by the key list of its release."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
SHORT = ((64, 1), (128, 2), (256, 1), (512, 1))
"""Fewer units than the real network has."""


def write_arcface(path: Path, stages: Sequence[tuple[int, int]] = SHORT) -> dict[str, Tensor]:
    """Write a file as ``model_ir_se50.pth`` is made, and return what is in it."""
    stream = torch.Generator().manual_seed(0)

    def near_one(size: int) -> Tensor:
        return torch.rand(size, generator=stream) + 0.5

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=stream) / max(1, shape[-1] ** 0.5)

    state: dict[str, Tensor] = {}

    def norm(key: str, size: int) -> None:
        state[f"{key}.weight"], state[f"{key}.bias"] = near_one(size), normal(size)
        state[f"{key}.running_mean"], state[f"{key}.running_var"] = normal(size), near_one(size)

    def convolution(key: str, outputs: int, inputs: int, side: int) -> None:
        weight = torch.randn(outputs, inputs, side, side, generator=stream)
        state[f"{key}.weight"] = weight / (inputs * side**2) ** 0.5

    convolution("input_layer.0", 64, 3, 3)
    norm("input_layer.1", 64)
    state["input_layer.2.weight"] = near_one(64) / 4
    index, inputs = 0, 64
    for outputs, units in stages:
        for _ in range(units):
            unit = f"body.{index}"
            if inputs != outputs:
                convolution(f"{unit}.shortcut_layer.0", outputs, inputs, 1)
                norm(f"{unit}.shortcut_layer.1", outputs)
            norm(f"{unit}.res_layer.0", inputs)
            convolution(f"{unit}.res_layer.1", outputs, inputs, 3)
            state[f"{unit}.res_layer.2.weight"] = near_one(outputs) / 4
            convolution(f"{unit}.res_layer.3", outputs, outputs, 3)
            norm(f"{unit}.res_layer.4", outputs)
            convolution(f"{unit}.res_layer.5.fc1", outputs // 16, outputs, 1)
            convolution(f"{unit}.res_layer.5.fc2", outputs, outputs // 16, 1)
            index, inputs = index + 1, outputs
    norm("output_layer.0", 512)
    state["output_layer.3.weight"] = normal(512, 512 * 7 * 7)
    state["output_layer.3.bias"] = normal(512)
    norm("output_layer.4", 512)
    torch.save(state, path)
    return state
