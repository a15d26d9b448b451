"""Make `clay-detector` again, from an archive of clay heads."""

import sys
from pathlib import Path

from ganedit.training.detector import save_clay_detector, train_clay_detector


def main(data: str, out: str = "clay-detector.safetensors", steps: int = 2500) -> None:
    detector = train_clay_detector(data, steps=steps, on_step=show)
    save_clay_detector(Path(out), detector)


def show(step: int, steps: int, values: dict[str, float]) -> None:
    if step % 100 == 0 or step == steps:
        print(f"step {step} of {steps}, loss {values['loss']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
