"""The student's settings (`student.*`): which model, its architecture, its loss and its training."""

from typing import Annotated, ClassVar, Literal

from ..core.settings import (
    ChosenBy,
    CutOffs,
    Natural,
    NotNegative,
    Positive,
    PositiveInteger,
    Probability,
    Rule,
    Seed,
    Settings,
    ShareOrNone,
    Text,
    UserPath,
    YesNo,
    group,
    setting,
)
from ..training.schedule import warmup_constant, warmup_cosine
from .choices import LOSSES, STUDENTS

Precision = Literal["auto", "32-true", "bf16-mixed"]


class ModelSettings(Settings):
    """What every student's architecture has; each student adds its own."""

    hidden_size: PositiveInteger = setting(..., "D: width of item vectors and hidden states")
    history_length: PositiveInteger = setting(..., "L: the most items read; longer histories lose their oldest items")


Positions = Literal["absolute", "from_end", "rotary", "relative_bias", "none"]
HEADS_DIVIDE_WIDTH = Rule(
    ("num_heads", "hidden_size"),
    lambda s: bool(s.hidden_size % s.num_heads),
    "{at}num_heads={s.num_heads} must divide {at}hidden_size={s.hidden_size}",
)
ROTARY_PAIRS = Rule(
    ("positions", "num_heads", "hidden_size"),
    lambda s: s.positions == "rotary" and bool(s.hidden_size // s.num_heads % 2),
    "{at}positions=rotary turns pairs of features: {at}hidden_size={s.hidden_size} / {at}num_heads={s.num_heads} must "
    "be even",
)
FILTERS_FIT_HISTORY = Rule(
    ("filter_heights", "history_length"),
    lambda s: max(s.filter_heights) > s.history_length,
    "{at}filter_heights={s.filter_heights} must not exceed {at}history_length={s.history_length}",
)
RESIDUAL = "true: item vectors are normalised, and the newest one is added to the state; false: as published"


class SASRecSettings(ModelSettings):
    """`models.SASRec`."""

    rules = (HEADS_DIVIDE_WIDTH, ROTARY_PAIRS)
    num_blocks: PositiveInteger = setting(..., "transformer blocks")
    num_heads: PositiveInteger = setting(..., "attention heads; divides hidden_size")
    dropout: Probability = setting(..., "share of inputs and of each block's two outputs dropped in training")
    positions: Positions = setting(
        "absolute",
        "how a place is known: absolute = a vector per place from the oldest item, from_end = from the newest (trained "
        "example by example), rotary, relative_bias, none",
    )


class BSARecSettings(SASRecSettings):
    """`bsarec.BSARec`."""

    alpha: ShareOrNone = setting(..., "share of the filter's output; attention has the rest")
    filter_items: PositiveInteger = setting(..., "newest items whose smoothed mean the low frequencies are")


class GRU4RecSettings(ModelSettings):
    """`models.GRU4Rec`."""

    num_layers: PositiveInteger = setting(..., "stacked GRU layers")
    dropout: Probability = setting(..., "share of item vectors and of the GRU's outputs dropped in training")
    residual: YesNo = setting(False, RESIDUAL)


class CaserSettings(ModelSettings):
    """`caser.Caser`."""

    rules = (FILTERS_FIT_HISTORY,)
    filter_heights: CutOffs = setting(..., "items in a row that horizontal filters see; each at most history_length")
    num_horizontal: PositiveInteger = setting(..., "horizontal filters of each height")
    num_vertical: PositiveInteger = setting(..., "vertical filters: weighted sums over the places of the history")
    dropout: Probability = setting(..., "share of the filters' answers dropped in training")
    residual: YesNo = setting(False, RESIDUAL)


class PaperSASRecSettings(ModelSettings):
    """`paper_students.PaperSASRec`."""

    rules = (HEADS_DIVIDE_WIDTH,)
    num_heads: PositiveInteger = setting(..., "attention heads; divides hidden_size")
    dropout: Probability = setting(..., "share of inputs, attention weights and feed-forward outputs dropped")


class PaperGRU4RecSettings(ModelSettings):
    """`paper_students.PaperGRU4Rec`."""


class PaperCaserSettings(ModelSettings):
    """`paper_students.PaperCaser`."""

    rules = (FILTERS_FIT_HISTORY,)
    filter_heights: CutOffs = setting(..., "items in a row that horizontal filters see; each at most history_length")
    num_horizontal: PositiveInteger = setting(..., "horizontal filters of each height")
    dropout: Probability = setting(..., "share of the filters' answers dropped in training")


class LossSettings(Settings):
    """A next-item loss and its own settings (`student.loss`)."""

    name: Text = setting(..., "cross_entropy, sampled_softmax, gbce, bce, or package.module:Name")


class CrossEntropySettings(LossSettings):
    """`losses.CrossEntropy`: over the whole catalogue, tile by tile."""


class SampledLossSettings(LossSettings):
    """What losses with sampled negatives share (`losses.SampledLoss`)."""

    num_negatives: PositiveInteger = setting(..., "items each target is compared with")
    popularity_power: NotNegative = setting(0.0, "negatives are drawn ∝ count^power: 0 = uniformly, 1 = by popularity")
    shared: YesNo = setting(..., "true: one set of negatives for all positions of a batch; false: each draws its own")


class SampledSoftmaxSettings(SampledLossSettings):
    """`losses.SampledSoftmax`."""

    log_q_correction: YesNo = setting(
        True, "divide by the expected number of draws, so that the loss estimates cross_entropy"
    )


class GBCESettings(SampledLossSettings):
    """`losses.GBCE`."""

    calibration: ShareOrNone = setting(..., "t from 0 (plain binary cross-entropy) to 1 (the scores of a softmax)")


MODEL_SETTINGS: dict[str, type[ModelSettings]] = {
    "sasrec": SASRecSettings,
    "bsarec": BSARecSettings,
    "gru4rec": GRU4RecSettings,
    "caser": CaserSettings,
    "sasrec_paper": PaperSASRecSettings,
    "gru4rec_paper": PaperGRU4RecSettings,
    "caser_paper": PaperCaserSettings,
}
LOSS_SETTINGS: dict[str, type[LossSettings]] = {
    "cross_entropy": CrossEntropySettings,
    "sampled_softmax": SampledSoftmaxSettings,
    "gbce": GBCESettings,
    "bce": SampledLossSettings,
}


def settings_of_student(name: str, key: str | None = None) -> type[ModelSettings]:
    """Returns the type of `student.model` for a `student.name`; anyone's own student says it itself, as `Settings`.

    Raises:
        UserError: There is no student of that name.
    """
    return STUDENTS.settings_of(name, MODEL_SETTINGS, key)


def settings_of_loss(name: str, key: str | None = None) -> type[LossSettings]:
    """Returns the type of `student.loss` for its name, as `settings_of_student` does.

    Raises:
        UserError: There is no loss of that name.
    """
    return LOSSES.settings_of(name, LOSS_SETTINGS, key)


class OptimisationSettings(Settings):
    """Adam with weight decay, the course of its learning rate, and when to stop (`student.train`)."""

    renamed: ClassVar[dict[str, str]] = {
        "batch_positions": "use batch_targets: of students that are trained example by example it counts the examples, "
        "where batch_positions counted the places of their histories"
    }

    targets: Literal["all", "last"] = setting(
        "all",
        "all: every position of a history is trained at once; last: each example by itself, as are students that read "
        "a history as a whole",
    )
    overlap: Natural = setting(
        0,
        "positions that windows of a history longer than history_length share: so many items stand before each target, "
        "at least; 0: a history is cut into parts that know nothing of each other",
    )
    batch_targets: PositiveInteger = setting(
        4096,
        "targets per optimiser step; where histories are batched by length, those that shorter ones lack count, too",
    )
    lr: Positive = setting(..., "learning rate of Adam")
    weight_decay: NotNegative = setting(0.0, "how much each weight is drawn to 0")
    decay: Literal["decoupled", "coupled"] = setting(
        "decoupled",
        "decoupled: lr * weight_decay of a weight is taken off (AdamW); coupled: weight_decay of it is added to its "
        "gradient before Adam divides by the gradient's size (L2), which draws the vectors of rare items most of all",
    )
    lr_schedule: Literal["constant", "cosine"] = setting("constant", "cosine: down to 0 at the end of max_epochs")
    warmup_share: Probability = setting(0.0, "share of all steps (max_epochs) in which lr rises linearly")
    sparse_items: YesNo = setting(
        False, "true: only the items of a batch are moved on; for huge catalogues and sampled losses"
    )
    max_epochs: PositiveInteger = setting(..., "the most epochs")
    patience: PositiveInteger = setting(25, "epochs without a rise of validation NDCG@10 before training stops")
    precision: Precision = setting(
        "auto", "auto: bf16 on a GPU that has it; on a CPU for the scores alone, where measured to be faster"
    )
    resume_from: UserPath | None = setting(
        None,
        "last.ckpt from elsewhere, another machine for example; a run of its own goes on by itself",
        changes_result=False,
    )

    def lr_factor(self, step: int, steps: int) -> float:
        """Returns the factor on the full learning rate at `step` of `steps`."""
        warmup = round(self.warmup_share * steps)
        if self.lr_schedule == "cosine":
            return warmup_cosine(step, warmup, steps)
        return warmup_constant(step, warmup)


class StudentSettings(Settings):
    """A student: which one, its architecture, its loss, its training."""

    rules = (
        Rule(
            ("train.sparse_items", "loss.name"),
            lambda s: s.train.sparse_items and s.loss.name == "cross_entropy",
            "{at}train.sparse_items=true needs a sampled loss, e.g. student/loss=sampled_softmax",
        ),
        Rule(
            ("train.overlap", "train.targets", "model.history_length"),
            lambda s: s.train.overlap > 0 and (s.train.targets == "last" or s.train.overlap >= s.model.history_length),
            "{at}train.overlap={s.train.overlap} is of windows: it must be below {at}model.history_length="
            "{s.model.history_length}, and needs {at}train.targets=all",
        ),
        Rule(
            ("train.sparse_items", "train.decay"),
            lambda s: s.train.sparse_items and s.train.decay == "coupled",
            "{at}train.sparse_items=true moves the items of a batch alone: {at}train.decay=coupled would never reach "
            "the others",
        ),
        Rule(
            ("item_vectors", "text_init", "train.sparse_items"),
            lambda s: s.item_vectors == "texts" and (s.text_init > 0 or s.train.sparse_items),
            "{at}item_vectors=texts leaves items no vectors of their own: set {at}text_init to 0 and "
            "{at}train.sparse_items to false",
        ),
    )
    name: Text = setting(..., "sasrec, bsarec, gru4rec, caser, {sasrec,gru4rec,caser}_paper, or package.module:Name")
    model: Annotated[ModelSettings, ChosenBy("name", settings_of_student)]
    loss: Annotated[LossSettings, ChosenBy("loss.name", settings_of_loss)]
    train: OptimisationSettings = group(OptimisationSettings)
    item_vectors: Literal["free", "texts"] = setting(
        "free",
        "free: a vector of its own for each item; texts: a learned linear map of the language model's frozen encoding "
        "of its text alone",
    )
    text_init: NotNegative = setting(
        0.0,
        "standard deviation of item vectors that begin as the language model's encodings of the items' texts, "
        "reduced by PCA (0 = at random)",
    )
    # A key holds the seed that comes of it, `training_seed`: null and the run's own are one training.
    seed: Seed | None = setting(
        None,
        "of this student's training alone: initial weights, order, negatives; null: the run's",
        changes_result=False,
    )

    @property
    def begins_with_texts(self) -> bool:
        """Whether encodings of the items' texts are needed to make it."""
        return self.text_init > 0 or self.item_vectors == "texts"

    def training_seed(self, seed: int) -> int:
        """Returns what the student's training draws from in a run of this `seed`."""
        return seed if self.seed is None else self.seed
