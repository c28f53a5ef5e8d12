"""Says everything that is wrong with a config at once, before anything runs."""

import itertools
import math
from collections.abc import Callable, Set
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from .errors import UserError

Check = tuple[Callable[[Any], bool], str]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


POSITIVE_INTEGER: Check = (lambda v: _integer(v) and v > 0, "a whole number above 0")
NATURAL: Check = (lambda v: _integer(v) and v >= 0, "a whole number, 0 or above")
SEED: Check = (lambda v: _integer(v) and 0 <= v < 2**32, "a whole number from 0 to 4294967295")
LIMIT: Check = (lambda v: _integer(v) and (v > 0 or v == -1), "a whole number above 0, or -1 for all")
POSITIVE: Check = (lambda v: _number(v) and v > 0, "a number above 0")
NOT_NEGATIVE: Check = (lambda v: _number(v) and v >= 0, "a number, 0 or above")
SHARE: Check = (lambda v: _number(v) and 0 < v <= 1, "a number above 0, at most 1")
SHARE_OR_NONE: Check = (lambda v: _number(v) and 0 <= v <= 1, "a number from 0 to 1")
PROBABILITY: Check = (lambda v: _number(v) and 0 <= v < 1, "a number from 0 to below 1")
BETWEEN: Check = (lambda v: _number(v) and 0 < v < 1, "a number above 0 and below 1")
RESAMPLES: Check = (lambda v: _integer(v) and v >= 1000, "a whole number, 1000 or above")
YES_NO: Check = (lambda v: isinstance(v, bool), "true or false")
PRECISION: Check = (lambda v: v in ("auto", "32-true", "bf16-mixed"), "auto, 32-true or bf16-mixed")
SCHEDULE: Check = (lambda v: v in ("constant", "cosine"), "constant or cosine")
LEVEL: Check = (lambda v: v in ("DEBUG", "INFO", "WARNING", "ERROR"), "DEBUG, INFO, WARNING or ERROR")
QUANTIZATION: Check = (lambda v: v in (None, "nf4"), "null or nf4")
READING: Check = (lambda v: v in ("example", "user"), "example or user")
TOKENS: Check = (lambda v: v is None or (_integer(v) and v > 0), "null or a whole number above 0")
TITLE_FORM: Check = (lambda v: v in ("catalogue", "reference"), "catalogue or reference")
OBJECTIVE: Check = (lambda v: v in ("ranking", "generation"), "ranking or generation")
SEVERAL: Check = (lambda v: _integer(v) and v > 1, "a whole number above 1")
RANK_BY: Check = (lambda v: v in ("likelihood", "distance"), "likelihood or distance")
ITEM_EMBEDDINGS: Check = (lambda v: v in ("text", "ranking"), "text or ranking")
MODE: Check = (lambda v: v in ("ilora", "lora", "freeze"), "ilora, lora or freeze")
GATE_INPUT: Check = (lambda v: v in ("student", "h_seq"), "student or h_seq")
POOLING: Check = (lambda v: v in ("mean", "last", "auto"), "mean, last or auto")
CUT_OFFS: Check = (
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(_integer(k) and k > 0 for k in v),
    "a list of whole numbers above 0",
)
WEIGHTS: Check = (
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(_number(w) and w >= 0 for w in v),
    "a list of numbers, each 0 or above",
)
RISING: Check = (
    lambda v: CUT_OFFS[0](v) and all(low < high for low, high in itertools.pairwise(v)),
    "a rising list of whole numbers above 0",
)
NAMES: Check = (
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(isinstance(name, str) for name in v),
    "a list of names",
)
SHARES: Check = (
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(BETWEEN[0](share) for share in v),
    "a list of numbers above 0 and below 1",
)
SEEDS: Check = (
    lambda v: isinstance(v, ListConfig) and len(v) > 0 and all(SEED[0](seed) for seed in v),
    "a list of whole numbers from 0 to 4294967295",
)
RUNS: Check = (
    lambda v: isinstance(v, ListConfig) and all(isinstance(run, str) or NAMES[0](run) for run in v),
    "a list of files, or of lists of files",
)
DIRECTION: Check = (lambda v: v in (None, "higher", "lower"), "null, higher or lower")

CHECKS: dict[str, Check] = {
    "seed": SEED,
    "rerun": YES_NO,
    "logging.level": LEVEL,
    "metrics.ks": CUT_OFFS,
    "metrics.filter_seen": YES_NO,
    "metrics.memory_mb": POSITIVE,
    "metrics.max_rows": POSITIVE_INTEGER,
    "metrics.slice_k": POSITIVE_INTEGER,
    "metrics.history_buckets": RISING,
    "compare.runs": RUNS,
    "compare.baseline": NATURAL,
    "compare.metrics": NAMES,
    "compare.confidence": BETWEEN,
    "compare.resamples": RESAMPLES,
    "compare.seed": SEED,
    "inspect.examples": POSITIVE_INTEGER,
    "curve.shares": SHARES,
    "curve.policies": NAMES,
    "curve.seeds": SEEDS,
    "search.trials": POSITIVE_INTEGER,
    "search.minutes": POSITIVE,
    "search.pruning_warmup": NATURAL,
    "search.startup_trials": POSITIVE_INTEGER,
    "dataset.limit_data_rows": LIMIT,
    "dataset.min_user_interactions": NATURAL,
    "dataset.min_item_interactions": NATURAL,
    "student.model.hidden_size": POSITIVE_INTEGER,
    "student.model.history_length": POSITIVE_INTEGER,
    "student.train.batch_positions": POSITIVE_INTEGER,
    "student.train.lr": POSITIVE,
    "student.train.weight_decay": NOT_NEGATIVE,
    "student.train.sparse_items": YES_NO,
    "student.train.lr_schedule": SCHEDULE,
    "student.train.warmup_share": PROBABILITY,
    "student.train.max_epochs": POSITIVE_INTEGER,
    "student.train.patience": POSITIVE_INTEGER,
    "student.train.precision": PRECISION,
    "teacher.llm.quantization": QUANTIZATION,
    "teacher.llm.gradient_checkpointing": YES_NO,
    "teacher.llm.pooling": POOLING,
    "teacher.reading": READING,
    "teacher.objective": OBJECTIVE,
    "teacher.mode": MODE,
    "teacher.generation.candidates": SEVERAL,
    "teacher.generation.rank_by": RANK_BY,
    "teacher.generation.seed": SEED,
    "teacher.student_weights": WEIGHTS,
    "teacher.gate_input": GATE_INPUT,
    "teacher.gate_per_layer": YES_NO,
    "teacher.prompt.items": POSITIVE_INTEGER,
    "teacher.prompt.title_tokens": POSITIVE_INTEGER,
    "teacher.prompt.text_tokens": POSITIVE_INTEGER,
    "teacher.prompt.max_tokens": TOKENS,
    "teacher.prompt.title_form": TITLE_FORM,
    "teacher.lora.r": POSITIVE_INTEGER,
    "teacher.lora.num_experts": POSITIVE_INTEGER,
    "teacher.lora.alpha": POSITIVE,
    "teacher.lora.dropout": PROBABILITY,
    "teacher.train.max_examples": LIMIT,
    "teacher.train.max_val_examples": LIMIT,
    "teacher.train.max_epochs": POSITIVE_INTEGER,
    "teacher.train.validations_per_epoch": POSITIVE_INTEGER,
    "teacher.train.patience": POSITIVE_INTEGER,
    "teacher.train.max_tokens": POSITIVE_INTEGER,
    "teacher.train.accumulate": POSITIVE_INTEGER,
    "teacher.train.lr": POSITIVE,
    "teacher.train.router_lr_factor": POSITIVE,
    "teacher.train.weight_decay": NOT_NEGATIVE,
    "teacher.train.warmup_share": PROBABILITY,
    "teacher.train.edge_lr_factor": SHARE_OR_NONE,
    "teacher.train.gradient_clip": POSITIVE,
    "teacher.train.precision": PRECISION,
    "teacher.eval_tokens": POSITIVE_INTEGER,
    "teacher.export.k": POSITIVE_INTEGER,
    "teacher.export.exclude_seen": YES_NO,
    "teacher.export.item_embeddings": ITEM_EMBEDDINGS,
    "teacher.export.user_states": YES_NO,
    "distill.candidate_topk": POSITIVE_INTEGER,
    "distill.lam": NOT_NEGATIVE,
    "distill.alpha": NOT_NEGATIVE,
    "distill.beta": POSITIVE,
    "distill.gamma_position": NOT_NEGATIVE,
    "distill.gamma_confidence": NOT_NEGATIVE,
    "distill.gamma_consistency": NOT_NEGATIVE,
    "distill.ed_weight": NOT_NEGATIVE,
    "distill.ps_power": NOT_NEGATIVE,
    "distill.kl.weight": NOT_NEGATIVE,
    "distill.kl.temperature": POSITIVE,
    "distill.rd.weight": NOT_NEGATIVE,
    "distill.rd.temperature": POSITIVE,
    "distill.soft_targets.weight": NOT_NEGATIVE,
    "distill.soft_targets.temperature": POSITIVE,
    "distill.hint": NOT_NEGATIVE,
    "distill.text_init": NOT_NEGATIVE,
    "distill.score_direction": DIRECTION,
    "active.share": SHARE,
}

CHECKS_WHERE_PRESENT: dict[str, Check] = {  # keys that not every student, loss or router has
    "student.model.num_blocks": POSITIVE_INTEGER,
    "student.model.num_heads": POSITIVE_INTEGER,
    "student.model.num_layers": POSITIVE_INTEGER,
    "student.model.filter_heights": CUT_OFFS,
    "student.model.num_horizontal": POSITIVE_INTEGER,
    "student.model.num_vertical": POSITIVE_INTEGER,
    "student.model.dropout": PROBABILITY,
    "student.loss.num_negatives": POSITIVE_INTEGER,
    "student.loss.popularity_power": NOT_NEGATIVE,
    "student.loss.shared": YES_NO,
    "student.loss.log_q_correction": YES_NO,
    "student.loss.calibration": SHARE_OR_NONE,
    "teacher.router.top_k": POSITIVE_INTEGER,
    "teacher.router.noise_std": NOT_NEGATIVE,
    "teacher.router.dropout": PROBABILITY,
}


def check_config(cfg: DictConfig) -> None:
    """Compares every key of `CHECKS` with what it must be, then keys with one another.

    Raises:
        UserError: Some keys are wrong; names them all, with what they are and what they must be.
    """
    here = {key: check for key, check in CHECKS_WHERE_PRESENT.items() if _stands_in(cfg, key)}
    wrong = {}
    for key, (is_right, words) in {**CHECKS, **here}.items():
        value = OmegaConf.select(cfg, key)
        if not is_right(value):
            wrong[key] = f"{key}={value} must be {words}"
    faults = [*wrong.values(), *_disagreements(cfg, wrong.keys())]
    if faults:
        raise UserError(f"The config is wrong: {'; '.join(faults)}.")


def _stands_in(cfg: DictConfig, key: str) -> bool:
    group, _, name = key.rpartition(".")
    return name in OmegaConf.select(cfg, group)


def _disagreements(cfg: DictConfig, wrong: Set[str]) -> list[str]:
    """Returns what does not go together among the keys that are each right by themselves."""
    faults = []
    if not wrong & {"distill.candidate_topk", "teacher.export.k"} and cfg.distill.candidate_topk > cfg.teacher.export.k:
        faults.append("distill.candidate_topk must not exceed teacher.export.k, what the teacher exports")
    width, heads = cfg.student.model.hidden_size, cfg.student.model.get("num_heads", 1)
    if not wrong & {"student.model.hidden_size", "student.model.num_heads"} and width % heads:
        faults.append(f"student.model.num_heads={heads} must divide student.model.hidden_size={width}")
    if cfg.teacher.objective == "generation":
        only_ranking = {
            "teacher.reading": "example",
            "teacher.gate_input": "student",
            "teacher.export.user_states": False,
        }
        faults += [
            f"{key} must be {str(value).lower()} where teacher.objective=generation"
            for key, value in only_ranking.items()
            if OmegaConf.select(cfg, key) != value
        ]
    length, heights = cfg.student.model.history_length, cfg.student.model.get("filter_heights", [1])
    if not wrong & {"student.model.history_length", "student.model.filter_heights"} and max(heights) > length:
        faults.append(f"student.model.filter_heights={heights} must not exceed student.model.history_length={length}")
    if cfg.student.train.sparse_items is True and cfg.student.loss.name == "cross_entropy":
        faults.append("student.train.sparse_items=true needs a sampled loss, e.g. student/loss=sampled_softmax")
    return faults
