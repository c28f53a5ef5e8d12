"""Students and losses by name; nothing is imported before one is asked for."""

from typing import Any

from ..core.registry import Registry

STUDENTS: Registry[Any] = Registry(
    "student.name",
    __package__,
    {
        "sasrec": "models:SASRec",
        "bsarec": "bsarec:BSARec",
        "gru4rec": "models:GRU4Rec",
        "caser": "caser:Caser",
        "sasrec_paper": "paper_students:PaperSASRec",
        "gru4rec_paper": "paper_students:PaperGRU4Rec",
        "caser_paper": "paper_students:PaperCaser",
    },
    kind="models:SequentialRecommender",
)

LOSSES: Registry[Any] = Registry(
    "student.loss.name",
    __package__,
    {
        "cross_entropy": "losses:CrossEntropy",
        "sampled_softmax": "losses:SampledSoftmax",
        "gbce": "losses:GBCE",
        "bce": "losses:BCE",
    },
    kind="losses:NextItemLoss",
)
