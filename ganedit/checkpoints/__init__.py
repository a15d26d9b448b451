"""Networks on disk: tell apart by content, load, describe, convert, save."""

from ganedit.checkpoints.checkpoint import Checkpoint, open_checkpoint
from ganedit.checkpoints.convert import Conversion, convert
from ganedit.checkpoints.describe import describe
from ganedit.checkpoints.labels import class_label, label_batch
from ganedit.checkpoints.native import PROMPT_JOINT, save_encoder, save_mapper, save_network
from ganedit.checkpoints.networks import (
    LoadedEncoder,
    LoadedMapper,
    Network,
    find_encoder,
    fingerprint,
    load_discriminator,
    load_encoder,
    load_mapper,
    load_network,
)
from ganedit.checkpoints.tuning import (
    Tuning,
    apply_tuning,
    check_tuning_name,
    load_tuning,
    pack_tuning,
    save_tuning,
    tuning_name,
)

__all__ = [
    "PROMPT_JOINT",
    "Checkpoint",
    "Conversion",
    "LoadedEncoder",
    "LoadedMapper",
    "Network",
    "Tuning",
    "apply_tuning",
    "check_tuning_name",
    "class_label",
    "convert",
    "describe",
    "find_encoder",
    "fingerprint",
    "label_batch",
    "load_discriminator",
    "load_encoder",
    "load_mapper",
    "load_network",
    "load_tuning",
    "open_checkpoint",
    "pack_tuning",
    "save_encoder",
    "save_mapper",
    "save_network",
    "save_tuning",
    "tuning_name",
]
