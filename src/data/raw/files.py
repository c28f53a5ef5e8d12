"""Finding a dataset's raw files: in the data folders, else from their publisher, else from a package."""

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pooch

from ...core.downloads import SECONDS_TO_ANSWER, unpack
from ...core.errors import UserError
from ...core.paths import command_line
from ..hashes import remembered_sha256
from ..settings import DatasetSettings, RawFile

log = logging.getLogger(__name__)
pooch.get_logger().setLevel(logging.WARNING)

Fetch = Callable[[Path], None]


def find_raw_folder(
    settings: DatasetSettings, data_dirs: list[Path], fetch: bool = True
) -> tuple[Path, dict[str, str]]:
    """Returns the folder that holds all raw files of a dataset, and the SHA-256 of each by name.

    The first data folder that has them all wins. Where none does, they are fetched into the last one; files already
    there are kept.

    Args:
        settings: Key `dataset`: the files, their folder, and where they can be fetched from (a publisher's zip that
            holds `<raw_dir>/<name>`, a package).
        data_dirs: Where to look, in order; the last is the project's own and may be written to.
        fetch: Whether files that are found nowhere are fetched.

    Raises:
        UserError: Files are missing everywhere, or their contents are others than expected.
    """
    raw_dir, files, publisher, wheel = settings.raw_dir, settings.files, settings.publisher, settings.wheel
    names = [file.name for file in files]
    there = local_folder(settings, data_dirs)
    if there is not None:
        return there, _checked(there, files, data_dirs[-1])
    if not fetch:
        raise UserError(
            f"The raw files of {settings.name} are not there yet, and all else is named by their contents: fetch "
            f"them with `{command_line('run_prepare')} dataset={settings.name}` first."
        )
    sources: dict[str, Fetch] = {}
    if publisher is not None:
        sources[publisher] = lambda folder: _fetch_from_publisher(publisher, raw_dir, names, folder)
    if wheel is not None:
        sources[f"the package {wheel}"] = lambda folder: _fetch_from_recbole(wheel, folder)
    failures = []
    for source, fetch_into in sources.items():
        try:
            return _fetched(fetch_into, source, data_dirs[-1], raw_dir, files)
        except UserError as error:
            failures.append(f"from {source}: {str(error).rstrip('.')}")
    raise UserError(_all_failed(raw_dir, names, data_dirs, failures))


def local_folder(settings: DatasetSettings, data_dirs: list[Path]) -> Path | None:
    """Returns the first folder that holds all raw files of a dataset, or None."""
    folders = (data_dir / settings.raw_dir for data_dir in data_dirs)
    whole = (folder for folder in folders if all((folder / file.name).is_file() for file in settings.files))
    return next(whole, None)


def _checked(folder: Path, files: list[RawFile], remembered_in: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file; a file that is not as pinned is truncated or another version."""
    try:
        sha256 = {file.name: remembered_sha256(folder / file.name, remembered_in) for file in files}
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}): put the publisher's file there."
        ) from None
    for file in files:
        found = sha256[file.name]
        if file.sha256 and found not in file.sha256:
            raise UserError(
                f"{folder / file.name} has SHA-256 {found}, not {' or '.join(file.sha256)}: it is truncated or "
                "another version; put the publisher's file there, or delete it so that it is fetched again."
            )
    return sha256


def _fetched(
    fetch: Fetch, source: str, data_dir: Path, raw_dir: str, files: list[RawFile]
) -> tuple[Path, dict[str, str]]:
    """Fetches beside `data_dir/raw_dir`, checks, and only then moves in what is missing."""
    folder = data_dir / raw_dir
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
        _checked(temporary, files, data_dir)
        folder.mkdir(exist_ok=True)
        for file in files:
            if not (folder / file.name).exists():
                (temporary / file.name).rename(folder / file.name)
    finally:
        shutil.rmtree(temporary)
    return folder, _checked(folder, files, data_dir)


def _fetch_from_publisher(url: str, raw_dir: str, names: list[str], folder: Path) -> None:
    try:
        archive = pooch.retrieve(
            url, known_hash=None, path=folder, downloader=pooch.HTTPDownloader(timeout=SECONDS_TO_ANSWER)
        )
    except (OSError, ValueError) as error:  # what requests raises is an OSError
        raise UserError(f"it could not be downloaded ({error}): check the network.") from None
    unpack(Path(archive), {f"{raw_dir}/{name}": folder / name for name in names}, sha256={})


def _fetch_from_recbole(wheel: str, folder: Path) -> None:
    from .recbole import fetch_ml_100k  # reads tables, which is needed here alone

    fetch_ml_100k(wheel, folder)


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
