"""Finding a dataset's raw files: in the data folders, else from their publisher, else from a package."""

import http.client
import io
import logging
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .artefact import sha256_of
from .errors import UserError
from .recbole_ml_100k import fetch_ml_100k
from .wheel_files import SECONDS_TO_ANSWER, unpack

log = logging.getLogger(__name__)

Fetch = Callable[[Path], None]


def find_raw_folder(
    raw_dir: str, files: list[dict], data_dirs: list[Path], publisher: str | None, wheel: str | None
) -> tuple[Path, dict[str, str]]:
    """Returns the folder that holds all raw files of a dataset, and the SHA-256 of each by name.

    The first data folder that has them all wins. Where none does, they are fetched into the last one; files already
    there are kept.

    Args:
        raw_dir: Name of the folder below a data folder, e.g. "ml-100k".
        files: `{"name": "u.data", "sha256": [accepted, ...]}` each; an empty list accepts any contents.
        data_dirs: Where to look, in order; the last is the project's own and may be written to.
        publisher: URL of a zip that holds `<raw_dir>/<name>`, or None.
        wheel: What to ask pip for when the publisher cannot be reached (MovieLens-100K only), or None.

    Raises:
        UserError: Files are missing everywhere, or their contents are others than expected.
    """
    names = [file["name"] for file in files]
    for data_dir in data_dirs:
        if all((data_dir / raw_dir / name).is_file() for name in names):
            return data_dir / raw_dir, _checked(data_dir / raw_dir, files)
    sources: dict[str, Fetch] = {}
    if publisher is not None:
        sources[publisher] = lambda folder: _fetch_from_publisher(publisher, raw_dir, names, folder)
    if wheel is not None:
        sources[f"the package {wheel}"] = lambda folder: fetch_ml_100k(wheel, folder)
    failures = []
    for source, fetch in sources.items():
        try:
            return _fetched(fetch, source, data_dirs[-1] / raw_dir, files)
        except UserError as error:
            failures.append(f"from {source}: {str(error).rstrip('.')}")
    raise UserError(_all_failed(raw_dir, names, data_dirs, failures))


def _checked(folder: Path, files: list[dict]) -> dict[str, str]:
    """Returns the SHA-256 of each file; a file that is not as pinned is truncated or another version."""
    sha256 = {file["name"]: sha256_of(folder / file["name"]) for file in files}
    for file in files:
        found = sha256[file["name"]]
        if file["sha256"] and found not in file["sha256"]:
            raise UserError(
                f"{folder / file['name']} has SHA-256 {found}, not {' or '.join(file['sha256'])}: it is truncated or "
                "another version; put the publisher's file there, or delete it so that it is fetched again."
            )
    return sha256


def _fetched(fetch: Fetch, source: str, folder: Path, files: list[dict]) -> tuple[Path, dict[str, str]]:
    """Fetches beside `folder`, checks, and only then moves in what is missing."""
    log.info("Fetching %s from %s", folder.name, source)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UserError(
            f"{folder.parent} cannot be written to ({error.strerror}): choose another data folder."
        ) from None
    try:
        fetch(temporary)
        _checked(temporary, files)
        folder.mkdir(exist_ok=True)
        for file in files:
            if not (folder / file["name"]).exists():
                (temporary / file["name"]).rename(folder / file["name"])
    finally:
        shutil.rmtree(temporary)
    return folder, _checked(folder, files)


def _fetch_from_publisher(url: str, raw_dir: str, names: list[str], folder: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS_TO_ANSWER) as response:
            content = response.read()
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        raise UserError(f"it could not be downloaded ({error}): check the network.") from None
    unpack(io.BytesIO(content), {f"{raw_dir}/{name}": folder / name for name in names}, sha256={})


def _all_failed(raw_dir: str, names: list[str], data_dirs: list[Path], failures: list[str]) -> str:
    wanted = ", ".join(names)
    looked = " or ".join(str(data_dir / raw_dir) for data_dir in data_dirs)
    missing = "; ".join(
        f"{', '.join(gone)} in {data_dir / raw_dir}"
        for data_dir in data_dirs
        if (gone := [name for name in names if not (data_dir / raw_dir / name).is_file()]) and len(gone) < len(names)
    )
    fetching = (
        "and could not be fetched (" + "; ".join(failures) + ")" if failures else "and have no source to fetch from"
    )
    only = f" (only {missing} is missing)" if missing else ""
    return (
        f"The raw files {wanted} are not to be found in {looked}{only} {fetching}: "
        f"put them into {data_dirs[-1] / raw_dir}, or set ANYO_DATA_DIR to a folder that holds {raw_dir}/."
    )
