"""Dataset and language model → encodings of the items' texts, for students that begin with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import ENCODINGS, opened, read_tensors, writing
from .language_model import ReadsLanguageModel

if TYPE_CHECKING:
    from torch import Tensor

FILE = "item_texts.safetensors"


class Encodings(ReadsLanguageModel):
    """`data/models/<dataset>/encodings-<key>/`: what the language model makes of each item's text, untrained."""

    title = "item encoding"
    what = "encodings of the items' texts"
    kind = ENCODINGS
    command = "run_student_baseline"
    elsewhere = "text_init=0"

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.models_dir, "encodings-", *self.counted)

    @property
    def counted(self) -> list[Any]:
        llm = self.settings.teacher.llm
        how = [llm.dtype, llm.quantization, llm.pooling, self.settings.teacher.prompt.text_tokens]
        return [self.language_model, *how]

    def make(self) -> None:
        from safetensors.torch import save_file

        from ....teacher.language_model.encodings import item_encodings

        texts = self.prepared.dataset.catalogue.texts
        language_models = self.settings.paths.language_models_dir
        encodings = item_encodings(self.settings.teacher, texts, language_models)
        with writing(self.folder, self.kind, self.about({})) as temporary:
            save_file({"item_texts": encodings}, temporary / FILE)

    def load(self) -> "Tensor":
        """Returns `[num_items, d]` float32, row j for item j + 1.

        Raises:
            UserError: They are not there, or have changed since.
        """
        folder = self.require()
        opened(folder, self.kind)
        return read_tensors(folder / FILE, "item_texts")["item_texts"]
