"""How well clay heads are found: unseen ones in larger pictures, turned, off-centre."""

import math
import time

import torch

from ganedit.data.clayheads import sample_factors
from ganedit.data.clayheads.factors import FACTOR_INDEX
from ganedit.data.clayheads.render import CAMERA_RADIUS, _render_chunk, landmark_positions
from ganedit.features.landmarks import clay_centres, find_faces
from ganedit.three_d.cameras import FFHQ_FOCAL, camera_label, look_at_pose, project_points


def main(count: int = 16, side: int = 256) -> int:
    random = torch.Generator().manual_seed(7)
    errors, started = [], time.monotonic()
    for seed in range(2**30 + 100, 2**30 + 100 + count):
        size, turn, x, y = torch.rand(4, generator=random).tolist()
        zoom, roll = 0.2 * 4**size, (2 * turn - 1) * math.radians(30)
        factors = sample_factors([seed])
        yaw, pitch = (factors[:, FACTOR_INDEX[name]] for name in ("yaw", "pitch"))
        turned = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
        pose = look_at_pose(yaw, pitch, radius=CAMERA_RADIUS)
        pose = pose @ torch.block_diag(turned, torch.eye(2))
        camera = camera_label(pose, focal=FFHQ_FOCAL * zoom)
        camera[:, [18, 21]] = 0.3 + 0.4 * torch.tensor([x, y])  # the principal point
        photo, _ = _render_chunk(factors, camera, resolution=side, style="clay", supersample=2)
        truth = clay_centres(project_points(camera, landmark_positions(factors))[0] * side)
        for face in find_faces(photo, detector="clay")[:1]:
            gap = (clay_centres(face.landmarks) - truth).norm(dim=1).mean()
            errors.append(float(gap) / (zoom * side) * 64)
    found = torch.tensor(errors)
    print(f"found {len(errors)} of {count}; eyes and mouth off by {found.mean():.2f} pixels of 64")
    print(f"largest {found.max():.2f}; {(time.monotonic() - started) / count:.1f} s a photo")
    return len(errors)


if __name__ == "__main__":
    main()
