"""Cameras and rays; volume rendering and meshes join them here."""

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
from ganedit.three_d.volume import Draws, RayOptions, random_draws, render_rays

__all__ = [
    "Draws",
    "RayOptions",
    "camera_angles",
    "camera_label",
    "camera_rays",
    "check_camera",
    "focal_of_fov",
    "look_at_pose",
    "mirror_camera",
    "project_points",
    "random_draws",
    "render_rays",
    "sample_cameras",
]
