"""What emojify keeps of an expression: python examples/measure_emojify.py [STYLE [READER]]."""

import sys

import torch

import ganedit
from ganedit.blending import blend, level_shares, levels
from ganedit.checkpoints import load_network
from ganedit.cli.toonify import STEPS
from ganedit.data.clayheads import FACTOR_INDEX
from ganedit.features import load_clay_features

FACTORS = ("smile", "brows")


def main(style: str = "clay-emoji", reader: str = "", *, heads: int = 32, steps: int = STEPS):
    base, other = ganedit.load("clay"), load_network(style)
    photos = ganedit.render(ganedit.sample_factors(range(2**30, 2**30 + heads))).image
    start = ganedit.encode(base, ganedit.load_encoder("clay-encoder"), photos)
    ws = ganedit.project(base, photos, initial=start, steps=steps, optimize_noise=False).ws
    readers = {"clay-features": load_clay_features()}
    readers |= {"READER": load_clay_features(path=reader)} if reader else {}
    columns = [FACTOR_INDEX[name] for name in FACTORS]
    before = readers["clay-features"].predict(photos).factors[:, columns].T  # [2, heads]
    print("| at | read by |", " | ".join(FACTORS), "|\n| --- | --- | ---: | ---: |")
    found = {}
    for level in (0, *reversed(levels(base.generator))):
        shares = level_shares(base.generator, {level: 1.0} if level else {})
        image = blend(base.generator, other.generator, shares).synthesize(ws).detach().clamp(-1, 1)
        for name, network in readers.items():
            after = network.predict(image).factors[:, columns].T
            pairs = [torch.stack(pair) for pair in zip(before, after, strict=True)]
            found[level, name] = [float(torch.corrcoef(pair)[0, 1]) for pair in pairs]
            print(f"| {level or 'clay'} | {name} |", *(f"{x:.2f} |" for x in found[level, name]))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:3])
