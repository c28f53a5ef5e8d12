"""Which language model it is: told by the contents of its files, wherever they lie."""

from pathlib import Path
from typing import Any

from ...core.artefact import fingerprint, read_json, sha256_of, write_json
from ...core.errors import UserError
from ..choices import LANGUAGE_MODELS
from ..settings import LanguageModelSettings

KNOWN = ".digests.json"


def language_model_digest(llm: LanguageModelSettings, language_models_dir: Path) -> str | None:
    """Returns 16 hex digits that change with any file of a language model; for one that is made here, its name.

    Gigabytes are read once: digests are kept in `<language_models_dir>/.digests.json` with size and times of each file,
    and a model that is not there any more keeps the one it had.

    Args:
        llm: Which one.
        language_models_dir: Where the program keeps models.

    Returns:
        The digest, or None for a model that has never been on this machine.
    """
    if llm.name in LANGUAGE_MODELS:
        return llm.name
    kept = language_models_dir / KNOWN
    known = _known(kept)
    called = llm.name if llm.path is None else str(llm.path)
    folder = llm.path or _folder_of(llm.name, language_models_dir)
    if folder is None or not folder.is_dir():
        return known.get(called, {}).get("digest")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    seen = {path.name: _seen(path) for path in files}
    if known.get(called, {}).get("files") != seen:
        digest = fingerprint({path.name: sha256_of(path) for path in files})
        known[called] = {"digest": digest, "files": seen}
        language_models_dir.mkdir(parents=True, exist_ok=True)
        write_json(kept, known)
    return known[called]["digest"]


def _known(path: Path) -> dict[str, Any]:
    try:
        known = read_json(path)
    except (UserError, OSError):  # not there, or damaged: all is read again
        return {}
    return {name: of for name, of in known.items() if isinstance(of, dict)} if isinstance(known, dict) else {}


def _seen(path: Path) -> list[int]:
    """Returns what changes with a file's contents even where whoever replaces it gives it the old time."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _folder_of(name: str, language_models_dir: Path) -> Path | None:
    """Returns where a model's files lie on this machine: in the program's folder or in the hub's cache."""
    if (language_models_dir / name).is_dir():
        return language_models_dir / name
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):  # not there, or no name that the hub could have
        return None
