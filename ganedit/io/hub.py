"""Files of the Hugging Face Hub, through its own client and into its own cache."""

import difflib
import io
import logging
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganedit.errors import GaneditError
from ganedit.io.download import OnBytes

PREFIX = "hf://"

_KINDS: dict[str, Literal["model", "dataset", "space"]] = {
    "models": "model",
    "datasets": "dataset",
    "spaces": "space",
}


_ADDRESS = re.compile(
    r"hf://(?:(?P<kind>models|datasets|spaces)/)?(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>[^/]+))?/(?P<path>.+)",
    re.ASCII,
)


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hub.

    Attributes:
        source: As typed.
        repo: ``owner/name``.
        path: The file's path in the repository.
        revision: A branch, tag or commit; None for the main branch.
        kind: What the repository holds.
    """

    source: str
    repo: str
    path: str
    revision: str | None = None
    kind: Literal["model", "dataset", "space"] = "model"


def parse_hub_file(source: str) -> HubFile:
    """Return the file that ``hf://[datasets/|spaces/]owner/repo[@revision]/path/in/repo`` names.

    Raises:
        GaneditError: The address is incomplete.
    """
    match = _ADDRESS.fullmatch(source)
    path = match["path"].split("/") if match else [""]
    if match is None or not _is_text(source) or any(part in ("", ".", "..") for part in path):
        raise GaneditError(
            f"{source}: not an address on the Hub; try hf://owner/repo/file.pkl, with @revision"
            " after the repo for another than the main one"
        )
    # A branch such as refs/pr/1 is written refs%2Fpr%2F1, as the Hub's own file system does.
    revision = urllib.parse.unquote(match["revision"] or "") or None
    kind = _KINDS.get(match["kind"], "model")
    return HubFile(source, match["repo"], "/".join(path), revision, kind)


def _is_text(source: str) -> bool:
    """Return whether no byte of the command line was undecodable; an address cannot hold such."""
    try:
        source.encode()
    except UnicodeEncodeError:
        return False
    return True


def cached_hub_file(file: HubFile) -> Path | None:
    """Return a file of the Hub if it is in the Hub's own cache already; asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(
            file.repo, file.path, revision=file.revision, repo_type=file.kind
        )
    except (OSError, ValueError):  # names that the Hub or the system does not take
        return None
    # It may also remember that there is no such file.
    return Path(found) if isinstance(found, str) else None


def fetch_hub_file(file: HubFile, *, place: Path, on_progress: OnBytes | None = None) -> Path:
    """Return a file of the Hub, from the Hub's own cache or fetched into it.

    The client's settings hold: its cache, endpoint, token, offline mode.

    Args:
        file: The file.
        place: Where the caller would find the file if a user put it there; for the error.
        on_progress: Called with the bytes so far and in all (None when unknown).

    Raises:
        GaneditError: There is no such repository, revision or file, it wants a login, or the
            network or the disk fails.
    """
    from httpx2 import HTTPError
    from huggingface_hub import errors, hf_hub_download

    where = f"{file.source}: "
    try:
        with _quiet_client():
            found = hf_hub_download(
                file.repo,
                file.path,
                repo_type=file.kind,
                revision=file.revision,
                tqdm_class=_bar_class(on_progress),
            )
    except errors.GatedRepoError as error:
        raise GaneditError(
            f"{where}the repository wants its terms accepted; accept them on its page of the Hub,"
            " then run: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise GaneditError(
            f"{where}no {file.kind} repository {file.repo} on the Hub, or a private one; check the"
            " name, or run: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise GaneditError(f"{where}{file.repo} has no revision {file.revision!r}") from error
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(file, error.__cause__ or error, place) from error
    except errors.EntryNotFoundError as error:
        raise GaneditError(f"{where}no such file in {file.repo}{_nearest(file)}") from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise _unreachable(file, error, place) from error
    return Path(found)


def _unreachable(file: HubFile, error: BaseException, place: Path) -> GaneditError:
    from huggingface_hub.constants import is_offline_mode

    reason = " ".join(str(error).split()) or type(error).__name__
    why = "HF_HUB_OFFLINE is set" if is_offline_mode() else f"{reason:.160}"
    return GaneditError(
        f"{file.source}: cannot be fetched ({why}); check the connection, or put"
        f" {_address(file)} at {place}"
    )


def _address(file: HubFile) -> str:
    """Return where a browser downloads the file."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(file.repo, file.path, repo_type=file.kind, revision=file.revision)


def _nearest(file: HubFile) -> str:
    """Return a hint that names files of the repository, or nothing where that fails."""
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    try:
        names = HfApi().list_repo_files(file.repo, revision=file.revision, repo_type=file.kind)
    except (HTTPError, OSError, ValueError):
        return ""
    near = difflib.get_close_matches(file.path, names, n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(near)}?" if near else ""


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep the client's own notices off stderr: what went wrong comes as one line."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        set_verbosity(before)


def _bar_class(on_progress: OnBytes | None) -> Any:
    """Return a progress bar for the client that draws nothing and reports to ``on_progress``."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # it has none

    class Bar(tqdm):  # type: ignore[misc]  # of an untyped package
        monitor_interval = 0  # no thread that watches over the drawing

        def __init__(self, *args: Any, **settings: Any) -> None:
            settings.pop("name", None)  # an argument of the client's own bars
            super().__init__(*args, **(settings | {"disable": False, "file": io.StringIO()}))

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            if on_progress is not None:
                on_progress(int(self.n), int(self.total) if self.total else None)
            return drawn

    return Bar
