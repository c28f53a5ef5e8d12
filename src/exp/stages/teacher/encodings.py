"""Dataset and language model → encodings of the items' texts, as they are or learned from what follows what."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import ENCODINGS, opened, read_tensors, writing
from ....core.errors import UserError
from ....training.started import started_together
from ...program.run import Run
from ..base import Prepared, Stage
from ..training import Training
from .language_model import ReadsLanguageModel

if TYPE_CHECKING:
    from torch import Tensor

    from ....teacher.item_texts.trainer import TextMapModule

FILE, MAP = "item_texts.safetensors", "text_map.safetensors"

log = logging.getLogger(__name__)


class Encodings(Stage, ABC):
    """What encodings of the items' texts have in common."""

    what = "encodings of the items' texts"
    kind = ENCODINGS
    command = "run_encode"
    elsewhere = "text_init=0 and item_vectors=free"

    def load(self) -> "Tensor":
        """Returns `[num_items, d]` float32, row j for item j + 1.

        Raises:
            UserError: They are not there, or have changed since.
        """
        folder = self.require()
        opened(folder, self.kind)
        return read_tensors(folder / FILE, "item_texts")["item_texts"]

    def load_with(self, texts: "list[str]") -> "Tensor":
        """Returns `load`, and behind it what is made of more texts in the same way, `[num_items + len(texts), d]`."""
        import torch

        return torch.cat([self.load(), self.encoded(texts)])

    @abstractmethod
    def encoded(self, texts: "list[str]") -> "Tensor":
        """Returns what is made of texts, `[len(texts), d]` float32."""


class FrozenEncodings(ReadsLanguageModel, Encodings):
    """`data/models/<dataset>/encodings-<key>/`: what the language model makes of each item's text, untrained."""

    title = "item encoding"

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

    def encoded(self, texts: "list[str]") -> "Tensor":
        from ....teacher.language_model.encodings import item_encodings

        return item_encodings(self.settings.teacher, texts, self.settings.paths.language_models_dir)


class LearnedEncodings(Training["TextMapModule"], Encodings):
    """`data/models/<dataset>/encodings-learned-<key>/`: the same through a map that has learned which texts follow one
    another in training histories; the map is there, too, for items that come later.

    Args:
        run, prepared: See `Stage`.
        frozen: What is mapped.
    """

    title = "item encoding: learning"
    name = "encoder"

    def __init__(self, run: Run, prepared: Prepared, frozen: FrozenEncodings) -> None:
        super().__init__(run, prepared)
        self.frozen = frozen

    def inputs(self) -> Sequence[Stage]:
        return (self.frozen,)

    def implied(self) -> Sequence[Stage]:
        return self.inputs()

    @property
    def counted(self) -> list[Any]:
        return [self.settings.encoder.key(), self.settings.metrics.filter_seen]  # the epoch is chosen by that

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.models_dir, "encodings-learned-", *self.counted, self.seed)

    def check(self) -> None:
        if started_together() > 1:
            raise UserError(
                "encoder.epochs above 0 is of one process, since all of a batch's items compete: set it to 0, or make "
                "the encodings with run_encode and trainer.devices=1 before."
            )

    def trained(self) -> "tuple[TextMapModule, dict[str, Any]]":
        from ....core.precision import resolve_precision
        from ....evaluation.ranking import rows_at_once
        from ....student.trainer_baseline import MONITOR
        from ....teacher.item_texts.likeness import TextLikeness
        from ....teacher.item_texts.text_map import TextMap
        from ....teacher.item_texts.trainer import TextMapDataModule, TextMapModule, ndcg_of
        from ....training.loop import Plan, fit

        settings, metrics, dataset = self.settings.encoder, self.settings.metrics, self.prepared.dataset
        frozen = self.frozen.load()
        module = TextMapModule(TextMap.of(frozen, settings.whitening), frozen, settings, self.seed)
        at_once = rows_at_once(metrics, dataset, metrics.filter_seen)
        data = TextMapDataModule(dataset, settings, at_once, metrics.filter_seen, self.seed)
        before = ndcg_of(TextLikeness(module.encodings(), settings.decay, whitening=0.0), data)
        plan = Plan(
            stage=self.checkpoints,
            monitor=MONITOR,
            **self.goes_on(),
            run_dir=self.run.dir,
            max_epochs=settings.epochs,
            patience=settings.epochs,
            precision=resolve_precision(settings.precision),
        )
        result = fit(module, data, plan)
        after = result["best_val_ndcg@10"]
        log.info("likeness of texts: validation NDCG@10 %.4f, before learning %.4f", after, before)
        if after <= before:
            log.warning("The encodings learned nothing that ranks validation better: encoder.epochs=0 does as well")
        return module, result | {"val_ndcg@10_before": before}

    def save(self, module: "TextMapModule", result: dict[str, Any]) -> None:
        from safetensors.torch import save_file

        from ....core.precision import teacher_precision

        about = {**self.about(result), "precision": teacher_precision(self.settings.encoder.precision)}
        with writing(self.folder, self.kind, about) as temporary:
            save_file({"item_texts": module.encodings()}, temporary / FILE)
            module.texts.save(temporary / MAP)

    def encoded(self, texts: "list[str]") -> "Tensor":
        from ....teacher.item_texts.text_map import TextMap

        learned = TextMap.load(self.require() / MAP).eval()
        return learned.encodings(self.frozen.encoded(texts))
