"""An unseen head and prompts, by optimisation and global directions: of docs/clip-edit.md."""

import sys
from pathlib import Path

import torch

import ganedit
from ganedit.cli.edit_methods import Tools, Words, find_change  # as clip-edit calls them
from ganedit.editing.global_directions import default_neutral
from ganedit.io import labelled_grid
from ganedit.losses.clip import Prompt, encode_prompts

IMAGES = Path(__file__).parent.parent / "docs" / "images"
PROMPTS = ("smile", "angry", "old", "glasses", "beard", "bald", "dark skin")
UNSEEN = 2**30 + 38  # the first man with short hair and a shaved, light skin
METHODS = {"optimize": {"latent_weight": 0.02}, "global": {}}


def main(out: Path, prompts: tuple[str, ...] = PROMPTS, methods=METHODS, **settings: int) -> None:
    network, clip = ganedit.load("clay"), ganedit.load_clip()
    photo = ganedit.render(ganedit.sample_factors([UNSEEN])).image
    start = ganedit.encode(network, ganedit.load_encoder("clay-encoder"), photo)
    latent = ganedit.project(network, photo, initial=start).latent(network)
    pictures, captions = [], []
    for method, chosen in methods.items():
        neutral = default_neutral(clip) if method == "global" else None
        pictures += ganedit.synthesize(network, latent)
        captions.append(f"before ({method})")
        for prompt in prompts:
            words = Words(prompt, clip, encode_prompts(clip, [Prompt(prompt)], neutral=neutral))
            edit = find_change(method, network, latent, words, Tools(), chosen | settings)
            pictures += ganedit.synthesize(network, ganedit.apply_change(latent, edit.change))
            captions.append(prompt)
    sheet = labelled_grid(torch.cat(pictures), captions, columns=1 + len(prompts))
    ganedit.write_image(out / "clip-edit.png", sheet)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
