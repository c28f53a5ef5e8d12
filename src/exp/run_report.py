"""Makes the report of a run again from what its folder keeps; several runs stand side by side."""

from .program.run import Run, command


def job(run: Run) -> None:
    from ..report.report import write_report
    from .stages.kept import newest_run

    settings = run.settings.report
    folders = settings.runs or [newest_run(run.dir)]
    out = folders[0] if len(folders) == 1 else run.dir
    if run.settings.dry_run:
        print(f"Would write the report of {', '.join(map(str, folders))} into {out}.")
        return
    print(write_report(folders, out, settings))


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
