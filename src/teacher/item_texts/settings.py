"""Settings of what items' texts say: the map that learns their encodings, and their likeness as a ranker."""

from ...core.settings import (
    Limit,
    Natural,
    NotNegative,
    Positive,
    PositiveInteger,
    Probability,
    Rule,
    Settings,
    Share,
    ShareOrNone,
    YesNo,
    setting,
)
from ...student.settings import Precision


class EncoderSettings(Settings):
    """`run_encode`: encodings of the items' texts, and the map through which they learn what follows what."""

    epochs: Natural = setting(
        0, "passes over training histories in which a map of the encodings learns; 0: they are the language model's own"
    )
    lr: Positive = setting(0.001, "peak learning rate, which falls to 0 as a half cosine")
    weight_decay: NotNegative = setting(0.0, "of AdamW")
    dropout: Probability = setting(0.3, "share of an encoding's components that the map does not see in a step")
    batch_targets: PositiveInteger = setting(512, "targets in a batch")
    negatives: PositiveInteger = setting(
        20_000, "items that a target is held against: the whole catalogue, or so many that are drawn for each batch"
    )
    temperature: Positive = setting(0.05, "of cosines")
    decay: Share = setting(0.35, "what an older item of the history counts, as a share of the one after it")
    whitening: ShareOrNone = setting(0.5, "how far directions are made equally wide before: 0 not at all, 1 wholly")
    max_val_examples: Limit = setting(5000, "validation examples by which the best epoch is chosen; -1: all")
    precision: Precision = setting("auto", "of the products with the catalogue; auto: bf16 where it is fast")


class LikenessSettings(Settings):
    """A ranker that is not trained: the likeness of items' texts (`item_texts.likeness.TextLikeness`)."""

    member: YesNo = setting(False, "whether it is one")
    decay: Share = setting(0.35, "what an older item of the history counts, as a share of the one after it")
    whitening: ShareOrNone = setting(
        0.5, "how far the encodings' directions are made equally wide: 0 not at all, 1 wholly"
    )


LEARNED_ARE_WHITENED = Rule(
    ("encoder.epochs", "ensemble.likeness.member", "ensemble.likeness.whitening"),
    lambda s: s.encoder.epochs > 0 and s.ensemble.likeness.member and s.ensemble.likeness.whitening > 0,
    "ensemble.likeness.whitening must be 0 where encoder.epochs={s.encoder.epochs}: learned encodings are whitened "
    "already, by encoder.whitening",
)
