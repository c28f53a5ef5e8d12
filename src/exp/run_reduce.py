"""Lets Spark cut a log that one machine cannot take to what the filters leave of it: a file for run_prepare."""

from ..core.errors import UserError
from .program.run import Run, command


def job(run: Run) -> None:
    from ..data.reduction.reduce import check_reducible, reduce_log

    dataset, log = run.settings.dataset, run.settings.reduce.log
    if log is None:
        raise UserError("reduce.log does not name the log: give the folder of its Parquet parts, or an address.")
    file = check_reducible(log, dataset)
    if run.settings.dry_run:
        print(f"Would write {file}.")
        return
    for name, count in reduce_log(log, dataset).items():
        print(f"{name}: {count:,}")
    print(f"To read it, with the same filters: dataset=custom dataset.interactions={file}")


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
