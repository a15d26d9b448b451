"""Measure what SeFa's, GANSpace's and the embedded supervised directions do to clay heads.

python examples/measure_directions.py
"""

import torch

from ganedit.checkpoints import load_network
from ganedit.editing.directions import find_directions, latent_axes, scales_of
from ganedit.editing.factorize import ganspace, sefa
from ganedit.features import load_clay_features
from ganedit.metrics import directions as metrics


def main(count: int = 10, heads: int = 64) -> dict[str, torch.Tensor]:
    network = load_network("clay", device="cpu")
    generator, meter = network.generator, metrics.clay_meter(load_clay_features())
    found, axes = find_directions(network), latent_axes(generator)
    steps = {"supervised": found.vectors * found.scales[:, None, None]}
    for method, find in (("SeFa", sefa), ("GANSpace", ganspace)):
        vectors = find(generator, count=count).directions[:, None]
        steps[method] = vectors * scales_of(vectors, [()] * count, axes)[:, None, None]
    for method, vectors in steps.items():
        everywhere = [()] * len(vectors)
        effects = metrics.measure_effects(generator, vectors, everywhere, meter, heads=heads)
        names, pure = found.names, metrics.purity(effects)
        if method != "supervised":
            effects = effects * metrics.rising(effects)[:, None]
            names = metrics.name_directions(effects, meter.names)
        mostly = int((pure[:count] >= metrics.MOSTLY).sum())
        print(f"\n{method}: {mostly} of the first {count} move one factor mostly")
        print("| direction | purity |", " | ".join(meter.names), "|")
        for name, value, row in zip(names, pure, effects, strict=True):
            print(f"| {name} | {value:.2f} |", " | ".join(f"{x:+.2f}" for x in row), "|")
        steps[method] = effects
    return steps


if __name__ == "__main__":
    main()
