"""Files: images, latents, videos and output folders, all written atomically."""

from ganedit.io.done import DoneList, photo_digest
from ganedit.io.files import (
    file_digest,
    is_partial,
    make_folder,
    sweep_partials,
    write_atomic,
    write_bytes,
    write_error,
)
from ganedit.io.foreign_latents import ForeignLatent, read_foreign_latent, read_latent
from ganedit.io.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    comparison_strip,
    decode_image,
    encode_image,
    from_uint8,
    image_grid,
    labelled_grid,
    looks_like_picture,
    read_image,
    to_square,
    to_uint8,
    write_image,
)
from ganedit.io.latents import (
    Alignment,
    Latent,
    check_file_size,
    check_latent,
    load_latent,
    save_latent,
)
from ganedit.io.runs import OutputFolder
from ganedit.io.safe_pickle import Global, Record
from ganedit.io.stored import StoredTensor
from ganedit.io.torch_files import Pickled, load_tensors, open_pickled, pickled_container
from ganedit.io.video import write_gif, write_video

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Alignment",
    "DoneList",
    "ForeignLatent",
    "Global",
    "Latent",
    "OutputFolder",
    "Pickled",
    "Record",
    "StoredTensor",
    "check_file_size",
    "check_latent",
    "comparison_strip",
    "decode_image",
    "encode_image",
    "file_digest",
    "from_uint8",
    "image_grid",
    "is_partial",
    "labelled_grid",
    "load_latent",
    "load_tensors",
    "looks_like_picture",
    "make_folder",
    "open_pickled",
    "photo_digest",
    "pickled_container",
    "read_foreign_latent",
    "read_image",
    "read_latent",
    "save_latent",
    "sweep_partials",
    "to_square",
    "to_uint8",
    "write_atomic",
    "write_bytes",
    "write_error",
    "write_gif",
    "write_image",
    "write_video",
]
