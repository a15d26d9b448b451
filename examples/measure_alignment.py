"""How well clay heads are found: unseen ones, turned, before backdrops and scenes; and none."""

import time

import torch

from ganedit.data.clayheads.factors import sample_factors
from ganedit.data.clayheads.render import CAMERA_RADIUS, _render_chunk, landmark_positions
from ganedit.features.landmarks import clay_centres, find_faces
from ganedit.three_d.cameras import FFHQ_FOCAL, camera_label, look_at_pose, project_points
from ganedit.training.detector import random_scenes


def main(count: int = 24, side: int = 256, largest: float = 0.52) -> int:
    random, rows = torch.Generator().manual_seed(7), []
    scenes = random_scenes(2 * count, side, random).split(1)
    for number, scene in enumerate(scenes[:count]):
        size, turn, *at = torch.rand(4, generator=random).tolist()
        factors, zoom = sample_factors([2**30 + 100 + number]), 0.2 * 4**size
        pose = look_at_pose(factors[:, -2], factors[:, -1], radius=CAMERA_RADIUS)  # yaw, pitch
        turned = torch.zeros(4, 4)
        turned[1, 0] = (2 * turn - 1) * largest
        camera = camera_label(pose @ (turned - turned.mT).matrix_exp(), focal=FFHQ_FOCAL * zoom)
        camera[:, [18, 21]] = 0.3 + 0.4 * torch.tensor(at)  # the principal point
        photo, depth = _render_chunk(factors, camera, resolution=side, style="clay", supersample=2)
        photo = torch.where(depth.isinf() & (number % 2 > 0), scene, photo)
        truth = clay_centres(project_points(camera, landmark_positions(factors))[0] * side)
        for face in find_faces(photo)[:1]:
            gap = (clay_centres(face.landmarks) - truth).norm(dim=1).mean() / (zoom * side)
            rows.append((64 * float(gap), face.score))
    started, error = time.process_time(), torch.tensor(rows)[:, 0]
    seen = sum(map(bool, map(find_faces, scenes[count:])))
    print(f"found {len(rows)} of {count}, scores from {min(row[1] for row in rows):.2f}")
    print(f"eyes and mouth off by {error.mean():.2f} pixels of 64, at most {error.max():.2f}")
    print(f"scenes: {seen} of {count}; {(time.process_time() - started) / count:.2f} s each")
    return len(rows)


if __name__ == "__main__":
    main()
