"""What stages that read the frozen language model have in common: its contents are part of their key."""

from abc import ABC
from typing import TYPE_CHECKING

from ..base import Stage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ReadsLanguageModel(Stage, ABC):
    """A stage whose key holds the contents of `teacher.llm`'s files, not where they lie."""

    @property
    def language_model(self) -> str | None:
        """The digest of the language model's files; None where they have never been on this machine."""
        from ....teacher.language_model.contents import language_model_digest

        return language_model_digest(self.settings.teacher.llm, self.settings.paths.language_models_dir)

    @property
    def is_named(self) -> bool:
        return super().is_named and self.language_model is not None

    def find(self) -> None:
        """Fetches the language model where no key can be told without it."""
        super().find()
        if self.language_model is None:
            self.tokenizer()

    def check(self) -> None:
        """Fetches the language model where it is missing, and makes sure that it can do what is asked."""
        self.tokenizer()

    def tokenizer(self) -> "tuple[PreTrainedTokenizerBase, int]":
        """Returns the language model's tokenizer and its number of positions.

        Raises:
            UserError: The language model is not to be had, or cannot write although the objective asks for it.
        """
        from ....teacher.language_model.loading import check_language_model

        teacher = self.settings.teacher
        folder = self.settings.paths.language_models_dir
        return check_language_model(teacher.llm, folder, head=teacher.objective == "generation")
