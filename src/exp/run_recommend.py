"""Writes what a served model recommends to every user of the log, or to those of a list, to a Parquet or CSV file."""

import logging

from .program.run import Run, command

log = logging.getLogger(__name__)


def job(run: Run) -> None:
    import os

    from ..serve.batch import check_output, read_users, recommend_to_file
    from ..serve.files import newest_served
    from ..serve.recommender import Recommender

    settings, serve = run.settings.recommend, run.settings.serve
    check_output(settings.output)
    distilled = serve.student == "distilled"
    folder = serve.model or newest_served(run.settings.paths.served_dir, run.settings.dataset.name, distilled)
    recommender = Recommender.load(folder, os.cpu_count() or 1)
    log.info("%s of %s, version %s", recommender.files.name, recommender.files.dataset, recommender.files.version)
    users = read_users(settings.users) if settings.users else recommender.files.raw_user_ids
    recommend_to_file(
        recommender, users, settings.output, settings.k, serve.filter_seen, serve.empty_history, settings.chunk
    )
    print(settings.output)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
