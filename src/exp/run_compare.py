"""Compares models that were evaluated on the same users: means, differences, intervals and tests."""

from .program.run import Run, command


def job(run: Run) -> None:
    from ..evaluation.comparison import tables, write_comparison
    from ..evaluation.metrics_files import read_models
    from ..evaluation.settings import check_compared
    from ..evaluation.significance import compare

    settings = run.settings.compare
    ranked = read_models(settings.runs, settings.names)
    check_compared(settings, ranked.num_items)
    if run.settings.dry_run:
        print(f"Would compare {', '.join(model.name for model in ranked.models)} by {', '.join(settings.metrics)}.")
        return
    found = compare(ranked.models, ranked.user, settings.baseline, settings)
    write_comparison(found, settings.out or run.dir / "metrics")
    for table in tables(found):
        table.show()


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
