"""Measure what photos turned into volumes look like from elsewhere: [NETWORK]."""

import sys
import tempfile
import time

import torch

import ganedit
from ganedit.checkpoints import apply_tuning
from ganedit.checkpoints.tuning import save_tuning
from ganedit.data.clayheads import FACTOR_INDEX
from ganedit.features import load_clay_features
from ganedit.inversion import estimate_cameras
from ganedit.metrics import psnr
from ganedit.training.features import UNSEEN_SEED

ELSEWHERE = (-0.5, -0.25, 0.25, 0.5)  # yaw of the views that no photo shows, radians
METHODS = {"w": "w", "w+": "w+", "w+, tuned": "w+"}


def main(network: str = "clay-3d", heads: int = 16, steps: int = 100, updates: int = 100) -> float:
    model, features = ganedit.load(network), load_clay_features()
    all_factors = ganedit.sample_factors(range(UNSEEN_SEED, UNSEEN_SEED + heads))
    print("| photos | method | PSNR, dB | clay distance | PSNR elsewhere | depth | seconds |")
    for method, (name, yaws) in [(m, p) for p in ((1, ()), (3, (-0.4, 0.4))) for m in METHODS.items()]:
        pass
    return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
