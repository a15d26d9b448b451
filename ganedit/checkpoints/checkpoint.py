"""Open a file of any known family, told by its content and never by its name."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganedit.checkpoints import bundles, genforce, nvidia, rosinality, tensorflow
from ganedit.checkpoints.contents import Contents, Part, StoredEncoder, StoredMapper, text
from ganedit.checkpoints.native import is_safetensors, read_native
from ganedit.errors import GaneditError
from ganedit.io.files import read_start
from ganedit.io.torch_files import open_pickled

_FAMILIES: tuple[Callable[[Any], Contents | None], ...] = (
    nvidia.recognise,
    tensorflow.recognise,
    bundles.recognise,
    genforce.recognise,
    rosinality.recognise,
)
_KNOWN = (
    "ganedit, stylegan2-ada-pytorch, stylegan3, eg3d, StyleGAN2 of TensorFlow, rosinality,"
    " Cartoon-StyleGAN, genforce, pSp, e4e, SAM, StyleCLIP"
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened network file; no weight has been read yet.

    Attributes:
        path: The file.
        container: ``safetensors``, ``torch-zip``, ``torch-legacy`` or ``pickle``.
        contents: The networks in it, and what else there is.
        refused: Names of what the file wanted to be called and what was not; nothing ever is.
    """

    path: Path
    container: str
    contents: Contents
    refused: tuple[str, ...] = ()

    @property
    def generator(self) -> Part:
        """The generator to use.

        Raises:
            GaneditError: The file holds none.
        """
        if self.contents.generator is None:
            if self.contents.mapper is not None:
                raise GaneditError(
                    f"{self.path}: a mapper without a generator; 'ganedit clip-edit --mapper' takes"
                    " it"
                )
            if self.contents.family == "ganedit":
                raise GaneditError(
                    f"{self.path}: an encoder, not a generator; name it as --encoder"
                )
            raise GaneditError(f"{self.path}: a {self.contents.family} file without a generator")
        return self.contents.generator

    @property
    def discriminator(self) -> Part:
        """The discriminator.

        Raises:
            GaneditError: The file holds none.
        """
        if self.contents.discriminator is None:
            raise GaneditError(f"{self.path}: holds no discriminator; only training snapshots do")
        return self.contents.discriminator

    @property
    def encoder(self) -> StoredEncoder:
        """The encoder to use.

        Raises:
            GaneditError: The file holds none.
        """
        if not self.contents.encoders:
            raise GaneditError(
                f"{self.path}: a {self.contents.family} file without an encoder; train one with"
                " 'ganedit train-encoder'"
            )
        return self.contents.encoders[0]

    @property
    def mapper(self) -> StoredMapper:
        """The mapper.

        Raises:
            GaneditError: The file holds none.
        """
        if self.contents.mapper is None:
            raise GaneditError(
                f"{self.path}: a {self.contents.family} file without a mapper; train one with"
                " 'ganedit train-mapper'"
            )
        return self.contents.mapper


def open_checkpoint(path: str | Path, *, describe_refused: bool = False) -> Checkpoint:
    """Open a network file and find out what it holds, without running or reading much of it.

    Args:
        path: A safetensors file of ours, an NVlabs or TensorFlow pickle, a torch file.
        describe_refused: Also describe a file that asks for code to be run, to say what is in it;
            otherwise such a file is an error. Nothing is run in either case.

    Raises:
        GaneditError: The file cannot be read, is broken, is of no known family, or asks for code.
    """
    path = Path(path)
    start = read_start(path, 16)
    if is_safetensors(start):
        return Checkpoint(path, "safetensors", read_native(path))
    pickled = open_pickled(path)
    value = pickled.value if describe_refused else pickled.trusted()
    try:
        contents = _recognise(value)
    except GaneditError as error:
        if pickled.refused:
            pickled.trusted()  # what was refused says more than what is therefore missing
        raise GaneditError(f"{path}: {error}") from error
    if contents is None:
        pickled.trusted()
        raise GaneditError(f"{path}: {_unknown(value)}; known families: {_KNOWN}")
    return Checkpoint(path, pickled.container, contents, pickled.refused)


def _recognise(value: Any) -> Contents | None:
    for recognise in _FAMILIES:
        contents = recognise(value)
        if contents is not None:
            return contents
    return None


def _unknown(value: Any) -> str:
    """Say what a file of no known family holds."""
    if isinstance(value, dict):
        if value.get("format") == "ganedit-latent":
            return "a latent, which commands take as an argument, not as a network"
        names = ", ".join(text(key, length=40) for key in itertools.islice(value, 6))
        more = f" and {len(value) - 6} more" if len(value) > 6 else ""
        return f"no network that ganedit knows (it holds {names or 'nothing'}{more})"
    return f"no network that ganedit knows (it holds a {type(value).__name__})"
