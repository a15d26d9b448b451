"""Networks and latents as commands take them: names, files, addresses, seeds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ganedit.cli import console
from ganedit.cli.options import parse_seeds
from ganedit.errors import GaneditError
from ganedit.progress import OnStep

if TYPE_CHECKING:
    from ganedit.checkpoints import LoadedEncoder, Network
    from ganedit.io import ForeignLatent, Latent, OutputFolder
    from ganedit.io.download import OnBytes


def is_file(source: str | Path) -> bool:
    """Return whether a source is a file; a text that no system takes for a path is none."""
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # too long, or a zero byte
        return False


def is_folder(source: str | Path) -> bool:
    """Return whether a source is a folder; see `is_file`."""
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):
        return False


def locate_network(source: str) -> Path:
    """Return a network's file, with a bar on stderr while it is fetched.

    Raises:
        GaneditError: See `locate`.
    """
    from ganedit.checkpoints.sources import locate

    with fetching("Fetching the network, MB") as on_progress:
        return locate(source, on_progress=on_progress)


def open_network(source: str, *, device: str) -> "Network":
    """Return a generator, with a bar on stderr while it is fetched.

    Raises:
        GaneditError: See `load_network`.
    """
    from ganedit.checkpoints import load_network

    with fetching("Fetching the network, MB") as on_progress:
        return load_network(source, device=device, on_progress=on_progress)


def open_encoder(source: str, *, device: str) -> "LoadedEncoder":
    """Return an encoder, with a bar on stderr while it is fetched.

    Raises:
        GaneditError: See `load_encoder`.
    """
    from ganedit.checkpoints import load_encoder

    with fetching("Fetching the network, MB") as on_progress:
        return load_encoder(source, device=device, on_progress=on_progress)


@contextmanager
def fetching(title: str) -> "Iterator[OnBytes]":
    """Yield what shows a bar from its first call on; most runs need none."""
    with ExitStack() as bars:
        show: OnStep | None = None

        def on_progress(done: int, total: int | None) -> None:
            nonlocal show
            if show is None:
                show = bars.enter_context(console.progress(title))
            show(done >> 20, (total or done) >> 20, {})

        yield on_progress


def open_label(network: "Network", class_index: int | None) -> list[float] | None:
    """Return the label of a class; None for an unconditional generator, which takes none.

    Raises:
        GaneditError: There is no such class, or it is missing.
    """
    from ganedit.checkpoints import class_label, label_batch

    label = None if class_index is None else class_label(network, class_index)
    label_batch(network, label, 1)  # says what is missing, before any work
    return label


def open_latents(
    sources: Sequence[str],
    *,
    network: str | None,
    device: str,
    truncation_psi: float,
    class_index: int | None = None,
) -> "tuple[Network, list[Latent]]":
    """Return the generator and one latent a source, all with noise maps when a file brings some.

    When a file's generator was tuned, that is the one returned, and all latents are of it.

    Args:
        sources: Latent files, ours or of other projects, and seeds such as ``7`` or ``0-3``; a file
            goes first where both readings are possible.
        network: Overrides the generator that the files name; ``clay`` when there are only seeds.
        device: Where the generator lives.
        truncation_psi: For the seeds.
        class_index: For the seeds; None for an unconditional generator.

    Raises:
        GaneditError: A file is no latent, its generator or its tuning is gone or unknown, they do
            not belong together, or the class does not exist.
    """
    from dataclasses import replace

    from ganedit.checkpoints import class_label
    from ganedit.editing import fill_missing, sample
    from ganedit.io import read_latent

    read = {source: read_latent(source) for source in sources if not _is_seeds(source)}
    if class_index is not None and len(read) == len(set(sources)):
        raise GaneditError("--class is for seeds, and all latents here are files; leave it out")
    loaded = _open_network(read, network, device)
    files = {source: fit_latent(latent, loaded, source) for source, latent in read.items()}
    loaded, tuning = _tune(loaded, files)
    label = None if class_index is None else class_label(loaded, class_index)
    latents = [
        _named(files[source], source)
        if source in files
        else sample(loaded, parse_seeds(source), truncation_psi=truncation_psi, label=label)
        for source in sources
    ]
    latents = [replace(latent, tuning=tuning) for latent in latents]
    return loaded, fill_missing(latents, loaded)


def keep_tuning(folder: "OutputFolder", network: "Network") -> list[Path]:
    """Write what a generator was tuned by beside latents of `open_latents` that are saved.

    Returns:
        The file's path; nothing for a generator that was not tuned.
    """
    from ganedit.checkpoints import tuning_name
    from ganedit.io import write_bytes

    told = network.metadata.get("tuning")
    if told is None:
        return []
    path = Path(told["path"])
    name = tuning_name("", _digest(path))
    if (folder.path / name).is_file() and tuning_name("", _digest(folder.path / name)) == name:
        return [folder.path / name]
    content = path.read_bytes()
    return [folder.write(name, lambda file: write_bytes(file, content))]


def _tune(network: "Network", files: "Mapping[str, Latent]") -> "tuple[Network, str | None]":
    """Return the generator that the files' latents belong to, and how latents call its tuning.

    That name says what is in the file, so that tunings of two folders never meet under one name.
    """
    from ganedit.checkpoints import apply_tuning, check_tuning_name, load_tuning, tuning_name

    found: dict[str, tuple[str, Path]] = {}  # what it holds -> who names it, where it is
    for source, latent in files.items():
        if latent.tuning is not None:
            path = Path(source).parent / latent.tuning
            if not path.is_file():
                raise GaneditError(
                    f"{source}: its tuned generator is missing; {latent.tuning} belongs beside it"
                )
            digest = _digest(path)
            check_tuning_name(path, digest)
            found.setdefault(tuning_name("", digest), (source, path))
    if not found:
        return network, None
    (name, (first, path)), *others = found.items()
    if others:
        raise GaneditError(
            f"{first} and {others[0][1][0]}: their generators were tuned differently; take latents"
            " of one tuning"
        )
    plain = [source for source, latent in files.items() if latent.tuning is None]
    if plain:
        console.note(f"{', '.join(plain)}: drawn by the generator that was tuned for {first}")
    return apply_tuning(network, load_tuning(path)), name


def _digest(path: Path) -> str:
    from ganedit.io import file_digest

    try:
        return file_digest(path)
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error


def _is_seeds(source: str) -> bool:
    return bool(re.fullmatch(r"\d+(-\d+)?", source, re.ASCII)) and not is_file(source)


def _open_network(
    files: "Mapping[str, Latent | ForeignLatent]", network: str | None, device: str
) -> "Network":
    """Return the named generator, or the one of the first latent that knows its own."""
    from ganedit.checkpoints.sources import is_here
    from ganedit.io import Latent

    if network is not None or not files:
        return open_network(network or "clay", device=device)
    own = [(source, latent) for source, latent in files.items() if isinstance(latent, Latent)]
    if not own:
        raise GaneditError(
            f"{next(iter(files))}: a latent that ganedit did not write does not say which"
            " generator it belongs to; name it with --network"
        )
    source, latent = own[0]
    try:
        # Files come from anywhere: what they name is opened, but never fetched.
        if not is_here(latent.network):
            raise GaneditError(f"{latent.network} is not on this machine")
        return open_network(latent.network, device=device)
    except (GaneditError, OSError) as error:  # OSError: a name that no system takes
        raise GaneditError(
            f"{source}: its generator cannot be opened ({error}); name it with --network"
        ) from error


def fit_latent(latent: "Latent | ForeignLatent", network: "Network", source: str) -> "Latent":
    """Return a file's latent as one of the generator."""
    from dataclasses import replace

    from ganedit.editing import check_fits
    from ganedit.io import ForeignLatent

    if isinstance(latent, ForeignLatent):
        generator = network.generator
        bound = latent.bind(
            name=source,
            fingerprint=network.fingerprint,
            num_ws=generator.num_ws,
            w_dim=generator.w_dim,
            network=network.home,
            noise_shapes=generator.noise_shapes,
        )
        console.note(f"{source}: {latent.origin}, {latent.reading(generator.num_ws)}")
        return bound
    check_fits(network, latent, name=source)
    if latent.fingerprint == network.fingerprint:
        return latent
    console.note(f"{source}: made with {latent.network}, drawn by {network.source}")
    return replace(latent, fingerprint=network.fingerprint, network=network.home)


def _named(latent: "Latent", source: str) -> "Latent":
    """Return the latent with a name for each row, made from the file's where it has none."""
    from dataclasses import replace

    if latent.names:
        return latent
    stem = Path(source).stem
    if len(latent) == 1:
        return replace(latent, names=(stem,))
    return replace(latent, names=tuple(f"{stem}[{index}]" for index in range(len(latent))))
