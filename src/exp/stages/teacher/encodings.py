"""Dataset and language model → encodings of the items' texts, for students that begin with them."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import ENCODINGS, opened, read_tensors, writing
from ....core.errors import UserError
from .language_model import ReadsLanguageModel

if TYPE_CHECKING:
    from torch import Tensor

FILE = "item_texts.safetensors"

log = logging.getLogger(__name__)


class Encodings(ReadsLanguageModel):
    """`data/models/<dataset>/encodings-<key>/`: what the language model makes of each item's text, untrained."""

    title = "item encoding"
    what = "encodings of the items' texts"
    kind = ENCODINGS
    command = "run_student_baseline"
    elsewhere = "text_init=0 and item_vectors=free"

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.models_dir, "encodings-", *self.counted)

    @property
    def counted(self) -> list[Any]:
        llm = self.settings.teacher.llm
        how = [llm.dtype, llm.quantization, llm.pooling, self.settings.teacher.prompt.text_tokens]
        cut = [] if llm.blocks is None else [llm.blocks]  # whole models have the keys that they always had
        return [self.language_model, *how, *cut]

    def make(self) -> None:
        from safetensors.torch import save_file

        from ....teacher.language_model.encodings import item_encodings

        texts = self.prepared.dataset.catalogue.texts
        if not any(texts):
            raise UserError(
                f"No item of {self.settings.dataset.name} has a title, so there is nothing to encode: give titles in "
                "dataset.items, or set text_init to 0 and item_vectors to free, of student, teacher.user_encoder, "
                "distill and the ensemble's members."
            )
        language_models = self.settings.paths.language_models_dir
        without = sum(not text for text in texts)
        if without:
            log.warning(
                "%d of %d items have no text and share one encoding: by texts they are one item", without, len(texts)
            )
        encodings = item_encodings(self.settings.teacher, texts, language_models)
        with writing(self.folder, self.kind, self.about({})) as temporary:
            save_file({"item_texts": encodings}, temporary / FILE)

    def load_with(self, texts: "list[str]") -> "Tensor":
        """Returns `load`, and behind it what the language model makes of more texts, `[num_items + len(texts), d]`."""
        import torch

        from ....teacher.language_model.encodings import item_encodings

        more = item_encodings(self.settings.teacher, texts, self.settings.paths.language_models_dir)
        return torch.cat([self.load(), more])

    def load(self) -> "Tensor":
        """Returns `[num_items, d]` float32, row j for item j + 1.

        Raises:
            UserError: They are not there, or have changed since.
        """
        folder = self.require()
        opened(folder, self.kind)
        return read_tensors(folder / FILE, "item_texts")["item_texts"]
