"""Training of generators: StyleGAN2-ADA with FreezeD, resumable."""

from ganedit.training.augment import augment
from ganedit.training.config import TrainingConfig
from ganedit.training.freeze import freeze_layers
from ganedit.training.loop import TrainingResult, plan, train

__all__ = ["TrainingConfig", "TrainingResult", "augment", "freeze_layers", "plan", "train"]
