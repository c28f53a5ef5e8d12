"""RePlay's SASRec recommends to all users of a log through Lightning's `predict`, again each time a line arrives.

Settings: `log` (an `.inter` file), `num_items`, `length`, `width`, `blocks`, `heads`, `k`, `batches` (sizes, of which
the fastest is taken).
"""

from typing import Any

import lightning
from replay.data.nn.parquet.parquet_module import ParquetModule
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import PolarsTopItemsCallback
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.sequential import SasRec
from replay.nn.transform import CopyTransform
from replay.nn.transform.template import make_default_sasrec_transforms

from ..timing import Clock, Line, fastest, num_parameters
from .replay_items import schema_of
from .replay_sasrec import sequences

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def main() -> None:
    line = Line()
    settings = line.settings
    num_items, width = settings["num_items"], settings["width"]
    schema = schema_of(num_items, width)
    model = SasRec.from_params(
        schema,
        embedding_dim=width,
        num_heads=settings["heads"],
        num_blocks=settings["blocks"],
        max_sequence_length=settings["length"],
        dropout=0.0,
    )
    module, path = LightningModule(model), str(sequences(settings["log"]))
    transforms = [CopyTransform({"item_id": "seen_ids"}), *make_default_sasrec_transforms(schema)["predict"]]

    def measure(size: int) -> dict[str, Any]:
        clock = Clock()
        data = ParquetModule(
            batch_size=size,
            metadata={"predict": {"user_id": {}, "item_id": {"shape": settings["length"], "padding": num_items}}},
            transforms={"predict": transforms},
            predict_path=path,
        )
        top = PolarsTopItemsCallback(
            settings["k"], query_column="user_id", item_column="item_id", postprocessors=[SeenItemsFilter(num_items)]
        )
        trainer = lightning.Trainer(**QUIET, devices=1, inference_mode=True, callbacks=[top])
        trainer.predict(module, data, return_predictions=False)
        table = top.get_result()
        return {**clock.read(), "rows": len(table)}

    best = fastest(settings["batches"], measure)
    line.serve({"parameters": num_parameters(model), "batch": best}, lambda: measure(best))


if __name__ == "__main__":
    main()
