"""Checks a log before it is prepared: what it holds, what filters would leave, what makes results worthless."""

from .program.run import Run, command


def job(run: Run) -> None:
    import logging

    from ..core.artefact import write_json, write_text
    from ..data.check import check_log
    from ..data.raw.log import find_raw_log
    from .studies.log_check import markdown, tables

    dataset, log = run.settings.dataset, logging.getLogger(__name__)
    raw = find_raw_log(dataset, run.settings.paths.data_dirs, fetch=not run.settings.dry_run)
    if run.settings.dry_run:
        print(f"Would check {dataset.name}: {', '.join(map(str, raw.paths))}.")
        return
    facts = check_log(dataset, raw)
    write_json(run.dir / "check.json", facts)
    write_text(run.dir / "check.md", markdown(facts))
    for table in tables(facts):
        table.show()
    for warning in facts["warnings"]:
        log.warning("warning: %s", warning)
    log.info("Written to %s", run.dir)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
