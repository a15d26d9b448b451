"""Turn heads of clay-3d and of the clay world itself, and read pose and identity off both.

python examples/measure_views.py [NETWORK]
"""

import math
import sys

import torch

from ganedit.checkpoints import load_network
from ganedit.data.clayheads import sample_factors
from ganedit.features import load_clay_features
from ganedit.metrics.multiview import Multiview, clay_views, measure_views, volume_views
from ganedit.runtime import seeded_normal

UNSEEN = 2**30  # no training head has a seed from here on


def main(source: str = "clay-3d", heads: int = 32, views: int = 9) -> dict[str, Multiview]:
    generator = load_network(source, device="cpu").generator
    ws = generator.map(seeded_normal(range(heads), [generator.z_dim]))
    draws = {
        source: volume_views(generator, ws),
        "the world itself": clay_views(sample_factors(range(UNSEEN, UNSEEN + heads))),
    }
    yaws = [math.radians(yaw) for yaw in torch.linspace(-30, 30, views).tolist()]
    found = {}
    for name, draw in draws.items():
        found[name] = told = measure_views(draw, yaws, load_clay_features())
        read = " ".join(f"{yaw:.1f}" for yaw in told.read)
        print(f"\n{name}: slope {told.slope:.3f}, error {told.error:.2f} degrees, read {read}")
        for factor, spread in told.spread.items():
            print(f"{factor}: over views {spread:.3f}, between heads {told.between[factor]:.3f}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
