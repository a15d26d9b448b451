"""The models that travel inside the package, each with its card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ganedit.errors import GaneditError

_FOLDER = Path(__file__).parent

Kind = Literal["generator", "encoder", "features", "clip", "relevance", "directions"]

_KINDS: dict[str, Kind] = {
    "clay": "generator",
    "clay-emoji": "generator",
    "clay-3d": "generator",
    "clay-encoder": "encoder",
    "clay-features": "features",
    "clay-detector": "features",
    "clay-clip": "clip",
    "clay-relevance": "relevance",
    "clay-directions": "directions",
}
_SUFFIXES = {"directions": ".pt"}


@dataclass(frozen=True)
class Asset:
    """One embedded model.

    Attributes:
        name: What commands call it.
        weights: The `.safetensors` file; `.pt` of directions.
        card: Markdown: data, recipe, figures, licence.
        kind: Which loader reads the weights.
    """

    name: str
    weights: Path
    card: Path
    kind: Kind


def embedded() -> dict[str, Asset]:
    """Return the embedded models by name."""
    return {
        name: Asset(
            name,
            _FOLDER / f"{name}{_SUFFIXES.get(kind, '.safetensors')}",
            _FOLDER / f"{name}.md",
            kind,
        )
        for name, kind in _KINDS.items()
    }


def asset_path(name: str) -> Path:
    """Return the weights file of the embedded model ``name``.

    Raises:
        GaneditError: No model of this name is embedded, or its file is missing.
    """
    models = embedded()
    if name not in models:
        raise GaneditError(f"no embedded model {name!r}; there are: {', '.join(models)}")
    path = models[name].weights
    if not path.is_file():
        raise GaneditError(f"embedded model {name!r} is missing ({path}); reinstall ganedit")
    return path
