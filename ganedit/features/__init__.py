"""Frozen feature networks that take [-1, 1] and normalise themselves."""

from ganedit.features.clay import ClayFeatures, ClayPrediction, load_clay_features
from ganedit.features.clip import Clip
from ganedit.features.clip_models import load_clip
from ganedit.features.vgg import VGG16, download_vgg16, load_vgg16, vgg16_cache_path

__all__ = [
    "VGG16",
    "ClayFeatures",
    "ClayPrediction",
    "Clip",
    "download_vgg16",
    "load_clay_features",
    "load_clip",
    "load_vgg16",
    "vgg16_cache_path",
]
