"""RecBole reads an export of ours with its own loader: the benchmark files, then the log split by itself.

Settings: `data` (the folder around the export), `name` (the dataset's).
"""

from typing import Any

from recbole.config import Config
from recbole.data import create_dataset

from ..timing import Line

COMMON = {"train_neg_sample_args": None, "show_progress": False}
LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}


def main() -> None:
    line = Line()
    data, name = line.settings["data"], line.settings["name"]
    by_split = examples_of([f"{data}/{name}/{name}.yaml"], data, name, {})
    columns = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": 50}
    by_itself = examples_of([], data, name, {"eval_args": LEAVE_ONE_OUT, **columns})
    line.tell({"by split": by_split, "by itself": by_itself})


def examples_of(files: list[str], data: str, name: str, more: dict[str, Any]) -> list[list[list[Any]]]:
    """Returns for train, valid and test every example as RecBole holds it: user, history, target, in raw ids."""
    config = Config("SASRec", name, config_file_list=files, config_dict={"data_path": data, **COMMON, **more})
    dataset = create_dataset(config)
    return [_raw(dataset, part.inter_feat) for part in dataset.build()]


def _raw(dataset: Any, part: Any) -> list[list[Any]]:
    users = dataset.id2token(dataset.uid_field, part[dataset.uid_field].numpy())
    targets = dataset.id2token(dataset.iid_field, part[dataset.iid_field].numpy())
    histories = dataset.id2token(dataset.iid_field, part[dataset.item_id_list_field].numpy())
    lengths = part[dataset.item_list_length_field].tolist()
    rows = zip(users.tolist(), histories.tolist(), lengths, targets.tolist(), strict=True)
    return [[user, history[:length], target] for user, history, length, target in rows]


if __name__ == "__main__":
    main()
