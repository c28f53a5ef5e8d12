"""What a stage is: settings and the artefacts of other stages in, one artefact out."""

import logging
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ...core.artefact import (
    MANIFEST,
    Kind,
    digest,
    digest_as_it_is,
    fingerprint,
    making,
    opened,
    read_json,
    read_manifest,
    sha256_of,
    unfinished,
    write_text,
)
from ...core.errors import UserError
from ...core.git_info import environment
from ...core.paths import command_line
from ..program.run import Run

if TYPE_CHECKING:
    from ...data.dataset import Dataset

NOT_THERE, UNFINISHED = "not there", "goes on where it was stopped"
STALE, OTHER = "made from another", "not what its name says"

OVER = ".over"  # in an unfinished folder: which artefact was there when its making began
AGAIN = "made again (rerun=true)"

log = logging.getLogger(__name__)


class Prepared(Protocol):
    """What stages ask of the prepared dataset; all but the dataset itself is known without PyTorch.

    fingerprint: Of raw files and settings.
    counts: Numbers of users, items, interactions and examples.
    items_held_out: The share of the items that it is read without, None where all are there.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def counts(self) -> dict[str, int]: ...

    @property
    def dataset(self) -> "Dataset": ...

    @property
    def items_held_out(self) -> float | None: ...

    def is_made(self) -> bool: ...


class Stage(ABC):
    """One step of the road. Its folder is named by a key, computed from settings and from the keys of its inputs, so
    that it is known before anything is made; its manifest says which contents the inputs had.

    What is heavy (PyTorch above all) is imported in `make` and `load`, not before: a stage whose artefact is there
    costs nothing.

    Args:
        run: Whose settings it follows.
        prepared: The dataset.
    """

    title: ClassVar[str]  # as keys and manifests call it; log, time.json and plan, too, but see `label`
    what: ClassVar[str]  # what the artefact is, for messages
    kind: ClassVar[Kind]  # what it is, for programs
    command: ClassVar[str]  # the entry point that makes it
    elsewhere: ClassVar[str] = "its settings back"  # what else a user may set where it is missing

    def __init__(self, run: Run, prepared: Prepared) -> None:
        self.run, self.settings, self.prepared = run, run.settings, prepared

    @property
    def label(self) -> str:
        """What log, time.json and plan call it: several stages of a run may be the same but for their seed."""
        return self.title

    # --- what it reads, and its key

    def inputs(self) -> Sequence["Stage"]:
        """Returns the stages whose artefacts this one reads."""
        return ()

    def implied(self) -> Sequence["Stage"]:
        """Returns the inputs that are made with this stage wherever it is made, although nobody names them."""
        return ()

    def inputs_by_name(self) -> "dict[str, Stage]":
        """Returns `inputs` by what the manifest calls them."""
        return {stage.title: stage for stage in self.inputs()}

    @property
    def given(self) -> Path | None:
        """A folder that the config names in the place of this stage's own."""
        return None

    @abstractmethod
    def own_folder(self) -> Path:
        """Returns where the artefact lies or will lie."""

    @property
    def counted(self) -> list[Any]:
        """The settings that change the result, without seed and inputs, as JSON has them."""
        return []

    def all_counted(self) -> list[Any]:
        """Returns `counted` of this stage and of all that it is made from, as far as they are this program's: what is
        the same for trainings that differ in seeds alone.
        """
        if self.given is not None:
            return ["given"]
        return [self.counted, [stage.all_counted() for stage in self.inputs()]]

    @cached_property
    def folder(self) -> Path:
        """Where the artefact is, or will be."""
        return self.given or self.own_folder()

    @property
    def identity(self) -> str:
        """What keys of later stages are made of: this stage's key, or the contents of a given folder."""
        return self.folder.name if self.given is None else self.content_digest

    @property
    def content_digest(self) -> str:
        """Digest of the artefact that is there: of our own as it was written, of a given folder as it is now."""
        return digest(self.folder) if self.given is None else self._content_digest_of_given

    @cached_property
    def _content_digest_of_given(self) -> str:  # read once in a run: outputs of a teacher may be gigabytes
        return digest_as_it_is(self.require())

    @property
    def seed(self) -> int:
        """What random draws begin from when this stage is made."""
        return self.settings.seed

    def keyed(self, parent: Path, name: str, *parts: Any) -> Path:
        """Returns `parent/<dataset>/<name><key>`, the key being made of all `parts` and of the inputs."""
        dataset = self.prepared
        key = fingerprint(
            self.title, self.kind.format, dataset.fingerprint, [each.identity for each in self.inputs()], *parts
        )
        return parent / self.settings.dataset.name / f"{name}{key}"

    def find(self) -> None:
        """Puts what its key is made of into place, where that is not a stage: before anything asks for the folder.

        Raises:
            UserError: It is not to be had.
        """
        if self.given is None:
            for stage in self.inputs():
                stage.find()

    @property
    def is_named(self) -> bool:
        """Whether all that its key is made of is known, before `find` too."""
        return self.given is not None or all(stage.is_named for stage in self.inputs())

    # --- whether it is there

    def is_made(self) -> bool:
        """Whether the artefact is there, whole, and was made from its inputs as they are now."""
        return self.why_to_make() is None

    def why_to_make(self) -> str | None:
        """Returns why the artefact would be made, in words, or None where there is nothing to do."""
        if self.given is not None:
            return None if self.folder.is_dir() else "named by the config, but not there"
        if not (self.folder / MANIFEST).is_file():
            return UNFINISHED if any(unfinished(self.folder).glob("[!.]*")) else NOT_THERE
        manifest = read_manifest(self.folder)
        found = [manifest.get(name) for name in ("kind", "format", "artefact")]
        wanted = [self.kind.name, self.kind.format, self.folder.name]
        if found != wanted:
            return f"{OTHER}, but {' '.join(map(str, found))}"
        made_from = manifest.get("inputs", {})
        for name, stage in self.inputs_by_name().items():
            deeper = stage.why_to_make()
            if deeper is not None and deeper.startswith((STALE, OTHER)):
                return deeper
            there = stage.given is not None or (stage.folder / MANIFEST).is_file()
            if name in made_from and there and made_from[name] != stage.content_digest:
                return f"{STALE} {stage.what}"
        return None

    def why_to_make_now(self) -> str | None:
        """Returns `why_to_make`, or that `rerun` asks for it; None where this run makes nothing."""
        reason = self.why_to_make()
        if reason is None and self.given is None and self.settings.rerun:
            return AGAIN
        return reason

    def unchanged(self) -> None:
        """Makes sure that a given folder, just read, still holds what the keys of this run were made of.

        Raises:
            UserError: Somebody has changed it since this run began.
        """
        if self.given is not None and digest_as_it_is(self.folder) != self.content_digest:
            raise UserError(f"{self.folder} has changed since this run began: start the same command again.")

    def unchanged_since_named(self, what: str) -> None:
        """Makes sure that the files which this stage's own key is made of, just read, are what they were when the key
        was first asked for.

        Args:
            what: The files in words, with "has" or "have".

        Raises:
            UserError: Somebody has changed one since this run began.
        """
        if self.own_folder() != self.folder:
            raise UserError(f"{what} changed since this run began: start the same command again.")

    def require(self) -> Path:
        """Returns the artefact's folder.

        Raises:
            UserError: It is not there, or was made from an input that has other contents now; names the command that
                makes it from this config, and what else may be set.
        """
        make = f"make it with `{command_line(self.command)}` and the same overrides, or set {self.elsewhere}"
        if not self.folder.is_dir():
            raise UserError(f"There is no {self.what} at {self.folder}: {make}.")
        reason = self.why_to_make()
        if reason is not None and reason.startswith(STALE):
            raise UserError(f"The {self.what} at {self.folder} was {reason} than the one that is there now: {make}.")
        if reason is not None and reason.startswith(OTHER):
            raise UserError(f"The {self.what} at {self.folder}, or what it was made from, is {reason}: {make}.")
        return self.folder

    def read(self, file: str) -> Any:
        """Returns what a JSON file of the artefact holds.

        Raises:
            UserError: See `require`; or a file of it has changed since it was written.
        """
        opened(self.require(), self.kind)
        return read_json(self.folder / file)

    def forecast(self) -> list[str]:
        """Returns what making it will take beside time, in sentences (`dry_run`); makes nothing."""
        return []

    # --- making it

    def check_settings(self) -> None:  # noqa: B027 (most stages have nothing to tell)
        """Tells what the settings alone make impossible, before anything runs.

        Raises:
            UserError: This stage cannot be made.
        """

    def check(self) -> None:  # noqa: B027
        """Tells what else makes this stage impossible, once the dataset is prepared and before anything long runs.

        Raises:
            UserError: This stage cannot be made.
        """

    @abstractmethod
    def make(self) -> None:
        """Makes the artefact from inputs that are there."""

    def ensure(self) -> None:
        """Makes the artefact, unless it is there and `rerun` does not ask for it again.

        Raises:
            UserError: An input is missing, or this stage cannot be made.
        """
        if self.given is not None:
            self.require()
            return
        reason = self.why_to_make_now()
        if reason is None:
            log.info("already there: %s", self.folder)
            self.clear_leftovers()
            return
        with self.turn():  # another process may have made it while this one waited to begin
            if reason != AGAIN:
                reason = self.why_to_make()
            if reason is None:
                log.info("made by another process meanwhile: %s", self.folder)
                return
            for stage in self.inputs():
                stage.require()
            if reason.startswith((STALE, OTHER)):
                log.info("%s is %s: it is made again", self.folder.name, reason)
            self._make()

    def turn(self) -> AbstractContextManager[object]:
        """Returns the context in which the artefact is made: one process at a time has its turn."""
        return making(self.folder)

    def begin(self) -> None:
        """Makes the process ready for what is heavy."""
        from ...core.seed import seed_everything
        from ...training.memory import keep_freed_memory

        keep_freed_memory()
        seed_everything(self.seed)

    def _make(self) -> None:
        self.begin()
        # Now, since another run may replace them before this one is done.
        self.made_from = {name: stage.content_digest for name, stage in self.inputs_by_name().items()}
        self.started = time.perf_counter()
        left = unfinished(self.folder)
        try:
            with self.run.stopwatch.stage(self.label):
                self.make()
            log.info("made: %s", self.folder)
        finally:
            if not any(left.glob("[!.]*")):  # it failed before there was anything to go on from, or keeps nothing
                shutil.rmtree(left, ignore_errors=True)
        if left.is_dir():
            self.tidy(left)

    def kept_so_far(self) -> Path:
        """Returns the folder of what is done of the artefact already; empty where its making begins now.

        Two things are none to go on from, since the program may have changed since: what a making left that came to
        its end, but was killed before it could tidy up; and, where `rerun` asks for everything again, what was begun
        without it.
        """
        folder, there = unfinished(self.folder), self.there()
        anew, mark = f"{there} again", folder / OVER
        good = [anew] if self.settings.rerun else [anew, there]
        if not mark.is_file() or mark.read_bytes() not in [each.encode() for each in good]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_text(mark, good[-1])
        return folder

    def clear_leftovers(self) -> None:
        """Removes what a making that was killed once the artefact was there could not tidy up."""
        left, mark = unfinished(self.folder), unfinished(self.folder) / OVER
        if left.is_dir():
            with making(self.folder, wait=False) as its_turn:  # else another process is at it
                if its_turn and not (mark.is_file() and mark.read_bytes().startswith(self.there().encode())):
                    shutil.rmtree(left, ignore_errors=True)

    def there(self) -> str:
        """Returns which making of the artefact is there: what its manifest digests to."""
        manifest = self.folder / MANIFEST
        return sha256_of(manifest) if manifest.is_file() else "nothing"

    def tidy(self, left: Path) -> None:
        """Removes what was kept of an unfinished artefact, now that it is whole."""
        shutil.rmtree(left)

    def about(self, result: dict[str, Any]) -> dict[str, Any]:
        """Returns what every artefact's manifest says: of which dataset, from what, with what result, how and where. It
        tells the time since making began: to be asked when all is made.
        """
        return {
            "stage": self.title,
            "dataset": self.settings.dataset.name,
            "dataset_fingerprint": self.prepared.fingerprint,
            "seed": self.seed,
            "inputs": self.made_from,
            "config": self.settings.plain(),
            "result": result,
            "seconds_of_stage": round(time.perf_counter() - self.started, 3),
            **environment(),
        }
