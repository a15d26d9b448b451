"""Networks on disk: load, save, tell apart by content."""

from ganedit.checkpoints.native import load_discriminator, save_network
from ganedit.checkpoints.networks import Network, fingerprint, load_network

__all__ = ["Network", "fingerprint", "load_discriminator", "load_network", "save_network"]
