"""An untrained student with everything that it is to learn from a teacher."""

from ..core.errors import UserError
from ..core.precision import logits_dtype
from ..data.dataset import Dataset
from ..data.rows import ExampleRows
from ..student.factory import create_student
from ..student.layers.embedding import standardised
from ..student.losses import NextItemLoss, SampledLoss
from ..student.models import SequentialRecommender
from ..student.settings import StudentSettings
from ..student.trainer_baseline import check_scores_by_item_vectors, student_loss
from .choices import WEIGHTINGS
from .data_bridge import TeacherOutputs
from .dros import propensity_scores
from .hint import Hint
from .kd_losses import PRESETS, DROLoss, RankingDistillationLoss
from .listwise_losses import create_list_losses
from .settings import DistillSettings
from .trainer_distill import DistillationTerms, DistilModule

ROUNDING = 1e-3  # of probabilities that were written as text


def distil_module(
    student: StudentSettings, distill: DistillSettings, dataset: Dataset, outputs: TeacherOutputs, seed: int
) -> DistilModule:
    """Returns the training loop's view of a new student.

    Args:
        student, distill: Keys of that name.
        dataset: A prepared dataset.
        outputs: What the teacher knows of it.
        seed: Of the negatives.

    Raises:
        UserError: The outputs lack what the settings ask for.
    """
    if outputs.candidates.shape[1] < distill.candidate_topk:
        raise UserError(
            f"The teacher outputs hold {outputs.candidates.shape[1]} items per example, fewer than "
            f"distill.candidate_topk={distill.candidate_topk}: lower it, or export more (teacher.export.k)."
        )
    if distill.soft_targets.weight > 0 and distill.soft_targets.rest:
        _check_probabilities(outputs, distill.candidate_topk)
    loss = student_loss(student, dataset)
    return DistilModule(
        _student(student, distill, dataset, outputs),
        loss,
        outputs,
        _terms(student, distill, dataset, outputs, loss),
        ExampleRows(dataset, dataset.examples["val"], student.model.history_length, with_seen=False),
        distill.candidate_topk,
        student.train,
        seed,
    )


def _check_probabilities(outputs: TeacherOutputs, k: int) -> None:
    most = float((-outputs.distance[:, :k]).exp().sum(1).max())
    if most > 1 + ROUNDING:
        raise UserError(
            "distill.soft_targets.rest=true needs log-probabilities over the whole catalogue, and these outputs hold "
            f"lists whose probabilities sum to {most:.4g}: set it to false."
        )


def check_negatives(student: StudentSettings, distill: DistillSettings, dataset: Dataset) -> None:
    """Makes sure that every example leaves an item that is neither seen, nor target, nor one of the teacher's.

    Raises:
        UserError: Some may leave none.
    """
    k = distill.candidate_topk
    history = min(student.model.history_length, int(dataset.num_train.max()) - 1)
    if distill.lam > 0 and history + 1 + k >= dataset.num_items:
        raise UserError(
            f"The catalogue of {dataset.name} has {dataset.num_items} items, of which a history ({history}), its "
            f"target and the teacher's items ({k}) may leave none to be a negative: lower distill.candidate_topk or "
            "student.model.history_length, or set distill.lam=0."
        )


def _student(
    student: StudentSettings, distill: DistillSettings, dataset: Dataset, outputs: TeacherOutputs
) -> SequentialRecommender:
    model = create_student(student.name, dataset.num_items, student.model.plain())
    check_scores_by_item_vectors(model, student)
    if distill.text_init > 0:
        model.items.start_from(outputs.item_embeddings, distill.text_init)
    if distill.ed_weight > 0:
        raw = outputs.item_embeddings
        model.items.distil_from(raw if distill.preset == "paper" else standardised(raw), distill.ed_weight)
    return model


def _terms(
    student: StudentSettings, distill: DistillSettings, dataset: Dataset, outputs: TeacherOutputs, loss: NextItemLoss
) -> DistillationTerms:
    preset = PRESETS[distill.preset]
    propensity = propensity_scores(dataset.train_item_counts()[1:], distill.ps_power)
    gammas = (distill.gamma_position, distill.gamma_confidence, distill.gamma_consistency)
    sampler = loss if isinstance(loss, SampledLoss) and student.train.sparse_items else None
    return DistillationTerms(
        RankingDistillationLoss(preset, propensity, distill.lam, distill.alpha, distill.beta, gammas),
        DROLoss(preset, propensity, distill.alpha, distill.beta),
        create_list_losses(distill, logits_dtype(student.train.precision), sampler),
        _hint(student, distill, outputs),
        WEIGHTINGS[distill.weighting],
    )


def _hint(student: StudentSettings, distill: DistillSettings, outputs: TeacherOutputs) -> Hint | None:
    if distill.hint == 0:
        return None
    if outputs.user_states is None:
        raise UserError(
            f"distill.hint={distill.hint} needs the teacher's representations of the users, and these outputs have "
            "none: export them with teacher.export.user_states=true."
        )
    return Hint(outputs.user_states, student.model.hidden_size, distill.hint)
