"""Equality with StyleCLIP's latent mapper."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import open_torch
from conformance_cases import Case
from torch import Tensor, nn

from ganedit.checkpoints import load_mapper
from ganedit.encoders import MAPPER_STRENGTH, LevelsMapper, SingleMapper

Check = Callable[[Case, str, Tensor], None]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("styleclip_levels", lambda: LevelsMapper(num_ws=18, w_dim=512)),
        (
            "styleclip_levels_nocoarse",
            lambda: LevelsMapper(num_ws=18, w_dim=512, levels=["medium", "fine"]),
        ),
        ("styleclip_single", lambda: SingleMapper(num_ws=18, w_dim=512)),
    ],
)
def test_mappers(name: str, build: Callable[[], nn.Module], check: Check, tmp_path: Path) -> None:
    """The network alone, and from the file that StyleCLIP itself would write."""
    case = Case(name)
    state, opts, ws = case.state_dict("mapper"), case.settings["opts"], case.inputs["w_plus"]
    bare = build()
    bare.load_state_dict(state)
    content = {
        "state_dict": {f"mapper.{key}": value for key, value in state.items()},
        "opts": {**opts, "description": "a smiling face"},
    }
    loaded = load_mapper(open_torch(content, tmp_path / "mapper.pt").path, device="cpu")
    assert type(loaded.mapper).__name__ == case.settings["class"]
    assert (loaded.num_ws, loaded.w_dim) == (18, 512)
    assert (loaded.prompt, loaded.family) == ("a smiling face", "StyleCLIP mapper")
    assert loaded.fingerprint is None
    with torch.no_grad():
        for mapper in (bare, loaded.mapper):
            delta = mapper(ws)
            check(case, "delta", delta)
            check(case, "w_edited", ws + MAPPER_STRENGTH * delta)
