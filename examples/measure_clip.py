"""Measure how well the embedded CLIP, or one of ``ganedit train-clip``, knows unseen heads.

python examples/measure_clip.py [FILE.safetensors]
"""

import sys
import time

from ganedit.features import load_clip
from ganedit.training.clip_scores import PROMPTS, score_clip
from ganedit.training.features import UNSEEN_SEED


def main(name: str = "clay-clip", heads: int = 256) -> float:
    clip = load_clip(name)
    start = time.perf_counter()
    clip.encode_texts([prompt for prompt, _ in PROMPTS])
    print(f"{(time.perf_counter() - start) / len(PROMPTS) * 1000:.1f} ms a prompt")
    scores = score_clip(clip, range(UNSEEN_SEED, UNSEEN_SEED + heads))
    for prompt, opposite in PROMPTS:
        print(f"| {prompt} | {opposite} | {scores.prompts[prompt]:.1%} |")
    print(f"own caption of {heads}: first {scores.top1:.1%}, among five {scores.top5:.1%}")
    print(f"likeliest short caption true {scores.true1:.1%} (by chance {scores.chance:.1%})")
    return scores.true1


if __name__ == "__main__":
    main(*sys.argv[1:2])
