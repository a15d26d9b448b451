"""Cameras, the paths that they take around a head, and volume rendering."""

from ganedit.three_d.between import between_cameras
from ganedit.three_d.cameras import (
    camera_angles,
    camera_label,
    camera_rays,
    check_camera,
    focal_of_fov,
    look_at_pose,
    mirror_camera,
    project_points,
    sample_cameras,
)
from ganedit.three_d.orbits import circle, poses, sweep
from ganedit.three_d.volume import Draws, RayOptions, random_draws, render_rays

__all__ = [
    "Draws",
    "RayOptions",
    "between_cameras",
    "camera_angles",
    "camera_label",
    "camera_rays",
    "check_camera",
    "circle",
    "focal_of_fov",
    "look_at_pose",
    "mirror_camera",
    "poses",
    "project_points",
    "random_draws",
    "render_rays",
    "sample_cameras",
    "sweep",
]
