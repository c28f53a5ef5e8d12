"""Names of a run's models and of the files that its report is made from; read without what is heavy."""

SUBJECTS = (
    "popularity",
    "baseline",
    "titles",
    "self_distilled",
    "teacher",
    "ensemble",
    "distilled",
)  # as tables list them

METRICS = "metrics"  # the folder of what a run's models were found to be
MADE_FROM = "made_from.json"  # within it: where the prepared dataset lies, and what the models were made from
PROBE = "probe.json"  # within it: what the teacher's language model lives on
PAGE, TEXT = "report.html", "report.md"
