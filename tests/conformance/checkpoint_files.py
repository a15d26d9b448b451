"""Write a case as the file that its own project would write, and open that file as users do."""

from pathlib import Path
from typing import Any

import nvlabs_pickle
import torch
from conformance_cases import Case
from torch import Tensor

from ganedit.checkpoints.checkpoint import Checkpoint, open_checkpoint

_NVIDIA_LAYOUTS = {
    "stylegan2-ada-pytorch": "stylegan2-ada",
    "stylegan3": "stylegan3",
    "stylegan3-stylegan2": "stylegan3",
    "eg3d": "eg3d",
}


def open_case(case: Case, folder: Path, **options: Any) -> Checkpoint:
    """Write a case to a file in ``folder`` and open it; ``options`` are those of the writer."""
    layout = _NVIDIA_LAYOUTS.get(case.doc["family"])
    if layout is None:
        return open_torch(_torch_layout(case), folder / f"{case.name}.pt")
    path = folder / f"{case.name}.pkl"
    networks: dict[str, Any] = {"G": None, "D": None, "G_ema": None}
    if case.has("G_ema"):
        kind = "TriPlaneGenerator" if layout == "eg3d" else "Generator"
        attributes = {}
        if layout == "eg3d":
            resolution = case.settings["neural_rendering_resolution"]
            attributes["neural_rendering_resolution"] = resolution
        networks["G_ema"] = nvlabs_pickle.Net(
            arrays(case, "G_ema"), case.settings["G"], kind, attributes
        )
    if case.has("D"):
        networks["D"] = nvlabs_pickle.Net(arrays(case, "D"), case.settings["D"], "Discriminator")
    nvlabs_pickle.write(path, layout, networks, {"path": "images.zip", "xflip": True}, **options)
    return open_checkpoint(path)


def open_torch(content: Any, path: Path) -> Checkpoint:
    """Write with ``torch.save`` and open."""
    torch.save(content, path)
    return open_checkpoint(path)


def arrays(case: Case, group: str) -> dict[str, Any]:
    """Return a state dict as numpy arrays."""
    return {key: value.numpy() for key, value in case.state_dict(group).items()}


def _torch_layout(case: Case) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for group, spec in case.doc["groups"].items():
        state: dict[str, Tensor] = case.state_dict(group)
        content[group] = state[group] if spec.get("bare") else state
    if "opts" in case.settings:
        content["opts"] = case.settings["opts"]
    return content
