"""Where networks come from: inside the package, a file, a URL, or the Hugging Face Hub.

Files of others are kept in a cache, one folder an address. Beside each lies a record with its
SHA-256: an address that once gave one network never silently gives another.
"""

import contextlib
import difflib
import hashlib
import json
import os
import re
import time
import urllib.parse
from dataclasses import asdict, dataclass
from pathlib import Path

from ganedit.assets import asset_path, embedded
from ganedit.checkpoints.native import is_safetensors
from ganedit.errors import GaneditError
from ganedit.io.download import START_BYTES, OnBytes, download
from ganedit.io.files import file_digest, read_start, write_bytes
from ganedit.io.hub import PREFIX, HubFile, cached_hub_file, fetch_hub_file, parse_hub_file
from ganedit.io.kinds import kind_of
from ganedit.io.torch_files import pickled_container

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_HASH = re.compile(r"sha256=([0-9a-f]{8,64})", re.IGNORECASE)
_OWN_MACHINE = ("127.0.0.1", "localhost", "::1")
_DRIVES = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_RECORD = "_source.json"  # names that a cached file can have never start like this


@dataclass(frozen=True)
class _Remote:
    """A network elsewhere.

    Attributes:
        address: As typed, without the hash.
        place: Where its file lies in the cache, or where a user can put it.
        sha256: What the user expects, 8 to 64 hex digits, or None.
        hub: The file on the Hub; None for a URL.
    """

    address: str
    place: Path
    sha256: str | None
    hub: HubFile | None = None

    @property
    def record(self) -> Path:
        return self.place.with_name(_RECORD)


@dataclass(frozen=True)
class _Record:
    """What is known of a fetched file since its first use.

    Attributes:
        url: Its address.
        sha256: Its hash, pinned.
        size: Its bytes.
        modified: Its time in nanoseconds.
        date: Of the first use.
        file: Its path.
    """

    url: str
    sha256: str
    size: int
    modified: int
    date: str
    file: str


def locate(source: str, *, on_progress: OnBytes | None = None) -> Path:
    """Return the file of a network, fetched where it has to be.

    A fetched file is hashed once. Later its size and time vouch for it, and it is hashed again when
    they differ; the record beside it says what its hash must be.

    Args:
        source: An embedded name; a path; ``https://...``, or ``http://...`` on this machine or with
            a hash; or ``hf://owner/repo[@revision]/path/in/repo``. An address may end in
            ``#sha256=<hex>`` (8 digits or more).
        on_progress: Called with the bytes so far and in all (None when unknown).

    Raises:
        GaneditError: No such network, it cannot be fetched, it is no network, or its hash is not
            the given or pinned one.
    """
    if source in _models():
        return asset_path(source)
    if not _is_address(source):
        return _existing_file(source)
    remote = _parse(source)
    record = _read_record(remote)
    path = _present(remote, record) or _fetch(remote, on_progress)
    return _verified(remote, path, record)


def home(source: str) -> str:
    """Return the name that finds the network again from any folder: latents remember it."""
    if source in _models() or _is_address(source):
        return source
    return str(Path(source).resolve())


def is_here(source: str) -> bool:
    """Return whether `locate` finds the network, or fails, without fetching anything."""
    if source in _models() or not _is_address(source):
        return True
    remote = _parse(source)
    return _present(remote, _read_record(remote)) is not None


def cache_folder() -> Path:
    """Return where fetched networks are kept: in GANEDIT_CACHE, or the user's cache folder.

    Raises:
        GaneditError: The system knows no home folder.
    """
    own = os.environ.get("GANEDIT_CACHE")
    if own:
        return Path(own).absolute() / "networks"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise GaneditError("no home folder to keep networks in; set GANEDIT_CACHE") from error
    return base / "ganedit" / "networks"


def _models() -> list[str]:
    return [name for name, asset in embedded().items() if asset.kind == "generator"]


def _is_address(source: str) -> bool:
    return _SCHEME.match(source) is not None


def _existing_file(source: str) -> Path:
    path = Path(source)
    try:
        if path.is_dir():
            raise GaneditError(f"{path}: is a folder; a network is a file")
        if path.is_file():
            return path
    except (OSError, ValueError) as error:  # a name that no system takes
        raise GaneditError(f"network {source[:80]!r}: cannot be a file") from error
    models = _models()
    near = difflib.get_close_matches(source.lower(), models, n=1, cutoff=0.6)
    raise GaneditError(
        f"network {source!r}: no such file, and no embedded model of that name"
        f" (embedded: {', '.join(models)}){f'; did you mean {near[0]}?' if near else ''}"
    )


# Addresses


def _parse(source: str) -> _Remote:
    """Return what an address names, after checking that it may be used."""
    address, _, fragment = source.partition("#")
    sha256 = _given_hash(source, fragment) if fragment else None
    scheme, _, rest = address.partition("://")
    address = f"{scheme.lower()}://{rest}"
    if address.startswith(PREFIX):
        hub = parse_hub_file(address)
        folder = f"{hub.repo.replace('/', '-')}-{_short_hash(address)}"
        return _Remote(address, cache_folder() / folder / _file_name(hub.path), sha256, hub)
    if scheme.lower() not in ("http", "https"):
        raise GaneditError(f"{source}: unknown kind of address; known: https://, hf://")
    try:
        parts = urllib.parse.urlsplit(address)
        host = parts.hostname or ""
        host.encode("ascii")
        host.encode("idna")  # refuses empty and long labels, as the look-up of the name will
        _ = parts.port
        quoted = urllib.parse.quote(address, safe="%/:=&?~+!$,;'@()*[]")
    except ValueError as error:
        raise GaneditError(f"{source}: not a proper address") from error
    _check_host(source, parts, host, sha256)
    folder = f"{_safe(host)}-{_short_hash(quoted)}"
    return _Remote(quoted, cache_folder() / folder / _file_name(parts.path), sha256)


def _given_hash(source: str, fragment: str) -> str:
    match = _HASH.fullmatch(fragment)
    if match is None:
        raise GaneditError(
            f"{source}: after # only sha256= and 8 to 64 hex digits may stand; got {fragment!r:.90}"
        )
    return match[1].lower()


def _check_host(
    source: str, parts: urllib.parse.SplitResult, host: str, sha256: str | None
) -> None:
    if not host:
        raise GaneditError(f"{source}: names no host")
    if parts.username or parts.password:
        raise GaneditError(
            f"{parts.scheme}://{host}{parts.path}: an address with a password would be kept in"
            " latents and records; fetch the file by hand"
        )
    if host in _DRIVES:
        raise GaneditError(
            f"{source}: Google Drive asks before it hands out large files; fetch the file in a"
            " browser and name it with its path"
        )
    if parts.scheme == "http" and host not in _OWN_MACHINE and sha256 is None:
        raise GaneditError(
            f"{source}: http:// lets anyone on the way change the file; use https://, or add"
            " #sha256= and the file's hash"
        )


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _safe(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._-")[-100:].lstrip("._-")


def _file_name(path: str) -> str:
    return _safe(urllib.parse.unquote(path.rpartition("/")[2])) or "network"


# Files


def _present(remote: _Remote, record: _Record | None) -> Path | None:
    """Return the file where it is already: put there by a user, fetched, or in the Hub's cache.

    The record comes before that cache's newest version: a branch may have moved on.
    """
    if remote.place.is_file():
        return remote.place
    if remote.hub is None:
        return None
    if record is not None and Path(record.file).is_file():
        return Path(record.file)
    return cached_hub_file(remote.hub)


def _fetch(remote: _Remote, on_progress: OnBytes | None) -> Path:
    if remote.hub is None:
        return download(
            remote.address,
            remote.place,
            sha256=remote.sha256,
            check_start=lambda start: _check_start(start, remote),
            on_progress=on_progress,
        )
    return fetch_hub_file(remote.hub, place=remote.place, on_progress=on_progress)


def _verified(remote: _Remote, path: Path, record: _Record | None) -> Path:
    """Return the file, after comparing its hash with the given and the pinned one."""
    try:
        state = path.stat()
        now = (state.st_size, state.st_mtime_ns, str(path))
        if record is not None and now == (record.size, record.modified, record.file):
            _check_hash(remote, path, record.sha256, record)
            return path
        _check_start(read_start(path, START_BYTES), remote, path)
        digest = file_digest(path)
    except OSError as error:
        raise GaneditError(f"{path}: cannot be read ({error.strerror or error})") from error
    _check_hash(remote, path, digest, record)
    date = time.strftime("%Y-%m-%d") if record is None else record.date
    with contextlib.suppress(GaneditError):  # a cache for reading only: hashed at each use
        made = _Record(remote.address, digest, *now[:2], date, str(path))
        write_bytes(remote.record, json.dumps(asdict(made), indent=2).encode())
    return path


def _check_hash(remote: _Remote, path: Path, digest: str, record: _Record | None) -> None:
    """Refuse a file of another hash than the given one, or without that, the pinned one."""
    if remote.sha256 is not None:
        if not digest.startswith(remote.sha256):
            raise GaneditError(
                f"{remote.address}: expected SHA-256 {remote.sha256}, but {path} has {digest};"
                " correct the hash, or delete the file to fetch it again"
            )
    elif record is not None and digest != record.sha256:
        raise GaneditError(
            f"{remote.address}: {path} has SHA-256 {digest}, but {record.sha256} was pinned on"
            f" {record.date}; delete {remote.record} to accept the new file, or {path} to fetch it"
            " again"
        )


def _read_record(remote: _Remote) -> _Record | None:
    """Return the record; None where there is none, or none that can be read."""
    try:
        content = json.loads(remote.record.read_bytes())
        record = _Record(**content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    strings = (record.url, record.sha256, record.date, record.file)
    good = all(isinstance(text, str) for text in strings) and record.url == remote.address
    return record if good and re.fullmatch(r"[0-9a-f]{64}", record.sha256) else None


# What came instead of a network


def _check_start(start: bytes, remote: _Remote, path: Path | None = None) -> None:
    """Refuse what cannot be a network by its first bytes.

    Args:
        start: The first `START_BYTES` of the file.
        remote: Where it comes from.
        path: Where it lies; None while it is being fetched.
    """
    if pickled_container(start) is not None or is_safetensors(start):
        return
    advice = (
        f"delete {path}" if path else f"fetch the file in a browser and put it at {remote.place}"
    )
    if "/blob/" in remote.address:
        advice = "this is the address of a page about the file; take its download link"
    raise GaneditError(f"{remote.address}: expected a network, got {kind_of(start)}; {advice}")
