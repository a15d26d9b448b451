"""Cameras and rays; volume rendering and meshes join them here."""

from ganedit.three_d.cameras import camera_label, camera_rays, look_at_pose, project_points

__all__ = ["camera_label", "camera_rays", "look_at_pose", "project_points"]
