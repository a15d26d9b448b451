"""Measure an adapted generator of clay heads: has every head what was asked, and the rest kept?

python examples/measure_adapt.py bald.safetensors hair_style=0 glasses=1
"""

import sys

import torch

import ganedit
from ganedit.data.clayheads import FACTORS
from ganedit.editing import sample, synthesize
from ganedit.features import load_clay_features
from ganedit.training.features import UNSEEN_SEED


def main(path: str, wanted: dict[str, float], heads: int = 64) -> float:
    networks = ganedit.load("clay"), ganedit.load(path)
    features, perceptual = load_clay_features(), ganedit.load_perceptual("clay")
    latent = sample(networks[0], range(UNSEEN_SEED, UNSEEN_SEED + heads), truncation_psi=0.7)
    images = [torch.cat(list(synthesize(one, latent))).clamp(-1, 1) for one in networks]
    factors = torch.stack([features.predict(x).factors for x in images], dim=1)  # [N, 2, F]
    right = torch.ones(heads) > 0
    for factor, pair in zip(FACTORS, factors.permute(2, 1, 0), strict=True):
        if factor.name in wanted:
            near = (pair - wanted[factor.name]).abs() < (factor.high - factor.low) / 3
            right &= near[1]
            told = "of heads {:.0%}, before {:.0%}".format(*near.flip(0).double().mean(dim=1))
        else:
            told = f"correlation with before {torch.corrcoef(pair)[0, 1]:.2f}"
        print(f"{factor.name}: {told}")
    apart = [perceptual.distance_table(*[perceptual.encode(x)] * 2) for x in images]
    spread = [table.sum() / (heads * (heads - 1)) for table in apart]
    share = float(right.double().mean())
    print(f"all that was asked {share:.0%}, diversity {spread[1]:.3f}, before {spread[0]:.3f}")
    return share


if __name__ == "__main__":
    main(sys.argv[1], {k: float(v) for k, v in (pair.split("=") for pair in sys.argv[2:])})
