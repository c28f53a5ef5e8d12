"""The texts of prompts, one file each."""

from pathlib import Path

from ...core.errors import UserError

HISTORY, CANDIDATES = "[HistoryHere]", "[CansHere]"  # where titles come
FOLDERS = {"ranking": ".", "generation": "generation", "api": "api"}


def read_template(folder: Path, name: str, kind: str) -> str:
    """Returns the template of a kind of teacher (`TeacherSettings.prompts_like`): for "ranking" the text of
    `<folder>/<name>.txt`, for "api" that of `<folder>/api/<name>.txt`, for "generation" that of
    `<folder>/generation/<name>.txt`, a template in each line, of which the first is for evaluation.

    Raises:
        UserError: There is no such template, or it is empty or no text in UTF-8.
    """
    here = folder / FOLDERS[kind]
    path = here / f"{name}.txt"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in here.glob("*.txt")))
        raise UserError(f"dataset.prompt={name} has no template {path}: write one or use one of {there}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): convert it.") from None
    if not text.strip():
        raise UserError(f"{path} is empty: write the words around the history into it.")
    strange = [character for character in text if ord(character) < 32 and character not in "\t\n"]
    if strange:
        raise UserError(f"{path} holds {strange[0]!r}, which is in no text: write it again.")
    return text
