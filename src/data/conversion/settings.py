"""Which frames are converted, and where to (`convert.*`)."""

from pathlib import Path

from ...core.settings import Settings, UserPath, setting


class ConvertSettings(Settings):
    """`run_convert`: iLoRA's or DLLM2Rec's frames of windows."""

    train: UserPath | None = setting(None, "frame of train windows (seq, len_seq, next): .df, .csv or .jsonl")
    val: UserPath | None = setting(None, "the same of val")
    test: UserPath | None = setting(None, "the same of test")
    names: UserPath | None = setting(None, "items' names: id2name.txt, or MovieLens' u.item; null = none")
    out: UserPath | None = setting(
        None, "folder of interactions.parquet and items.parquet; null = converted/ in the run's"
    )

    @property
    def frames(self) -> dict[str, Path]:
        """The frames that are given, by split."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {split: path for split, path in named.items() if path is not None}
