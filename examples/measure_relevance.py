"""Measure what the style channels of a generator do, as a CLIP sees it, and write it to a file.

    python examples/measure_relevance.py clay-relevance.safetensors

`ganedit clip-edit --method global` does this itself, once, and keeps the result in the cache; the
embedded measurement of the embedded networks was made by this script.
"""

import sys
import time
from pathlib import Path

from ganedit.checkpoints import load_network
from ganedit.editing.style_statistics import (
    RelevanceSettings,
    measure_relevance,
    save_relevance,
)
from ganedit.features import load_clip


def main(
    out: Path, network: str = "clay", clip: str = "clay-clip", **settings: float
) -> tuple[int, ...]:
    """Measure, write, and return the number of channels and of CLIP's directions."""
    model = load_network(network)
    eyes = load_clip(clip, device=model.generator.w_avg.device)
    start = time.perf_counter()
    relevance = measure_relevance(model, eyes, RelevanceSettings(**settings))
    save_relevance(out, relevance)
    channels, width = relevance.effects.shape
    seconds = time.perf_counter() - start
    print(f"{out}: {channels} channels, directions of {width} numbers, {seconds:.0f} s")
    return channels, width


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
