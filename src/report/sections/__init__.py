"""The sections of a report, each from what a run left (`stored.StoredRun`); one whose inputs are missing says so."""
