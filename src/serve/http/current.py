"""Which model answers: loaded whole, replaced while requests run, never by one that does not work."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ...core.errors import UserError
from ..files import ServedFiles
from ..recommender import Query, Recommender

log = logging.getLogger(__name__)


class CurrentModel:
    """The model that answers now. Whoever asks takes `recommender` once and keeps it until his answer is made.

    Args:
        find: Returns the folder of the model that should answer; raises UserError where there is none.
        threads: Of onnxruntime, for each question.
        earlier: Returns folders of which the first that works answers where that one does not when this begins: a
            process which begins beside others, or again, must not fail by a model that these have refused.

    Raises:
        UserError: There is no model, or none works.
    """

    def __init__(self, find: Callable[[], Path], threads: int, earlier: Callable[[], Sequence[Path]] = tuple) -> None:
        self._find, self._threads = find, threads
        self._refused: tuple[Path, object] | None = None
        folder = find()
        self._seen: tuple[Path, object] = (folder, _mark(folder))
        try:
            self.recommender = working(folder, threads)
        except UserError as error:
            self._refused = self._seen
            self._seen, self.recommender = self._first_working(earlier, folder, error)

    def _first_working(
        self, earlier: Callable[[], Sequence[Path]], refused: Path, why: UserError
    ) -> tuple[tuple[Path, object], Recommender]:
        for folder in earlier():
            if folder != refused:
                try:
                    seen, recommender = (folder, _mark(folder)), working(folder, self._threads)
                except (UserError, OSError):
                    continue
                log.warning("refused, %s answers in its place: %s", recommender.files.name, why)
                return seen, recommender
        raise why

    def look(self) -> bool | None:
        """Takes over the model that should answer now, if that is another one.

        Returns:
            True where one was taken over; False where it was refused and the earlier one stays; None where nothing has
            changed.
        """
        try:
            folder = self._find()
            seen = (folder, _mark(folder))
        except (UserError, OSError):  # between two models, while one is replaced
            return None
        if seen in (self._seen, self._refused):
            return None
        try:
            self.recommender = working(folder, self._threads)
        except UserError as error:
            log.warning("refused, %s stays: %s", self.recommender.files.name, error)
            self._refused = seen
            return False
        self._seen, self._refused = seen, None
        log.info("taken over: %s, version %s", self.recommender.files.name, self.recommender.files.version)
        return True


def _mark(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Returns what changes whenever a file of the folder does: one that is being copied is looked at again."""
    files = [(path.name, path.stat()) for path in sorted(folder.resolve().iterdir())]
    return tuple((name, about.st_size, about.st_mtime_ns) for name, about in files)


def working(folder: Path, threads: int) -> Recommender:
    """Returns the model of a folder, once it has recommended something.

    Raises:
        UserError: It is damaged, or does not.
    """
    recommender = Recommender(ServedFiles.load(folder), threads)
    try:
        (ranking,) = recommender.rank([Query([1], k=1)])
    except Exception as error:  # whatever is wrong with a model: the one before it goes on answering
        why = str(error).partition("\n")[0]
        raise UserError(f"The model in {folder} answers nothing ({why}): make it again.") from None
    if not ranking.items:
        raise UserError(f"The model in {folder} recommends nothing after item 1: make it again.")
    return recommender
