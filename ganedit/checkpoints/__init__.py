"""Networks on disk: tell apart by content, load, describe, convert, save."""

from ganedit.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ganedit.checkpoints.convert import Conversion, convert
from ganedit.checkpoints.describe import describe
from ganedit.checkpoints.labels import class_label, label_batch
from ganedit.checkpoints.native import save_network
from ganedit.checkpoints.networks import Network, fingerprint, load_discriminator, load_network

__all__ = [
    "Checkpoint",
    "Conversion",
    "Network",
    "class_label",
    "convert",
    "describe",
    "fingerprint",
    "label_batch",
    "load_discriminator",
    "load_network",
    "open_checkpoint",
    "save_network",
]
