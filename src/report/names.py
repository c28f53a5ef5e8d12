"""Names of files of a run that its report is made from, and of the report itself; read without what is heavy."""

METRICS = "metrics"  # the folder of what a run's models were found to be
MADE_FROM = "made_from.json"  # within it: where the prepared dataset lies, and what the models were made from
PAGE, TEXT = "report.html", "report.md"
