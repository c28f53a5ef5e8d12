"""Writes what a served model, or a teacher, recommends to every user of the log or of a list, as Parquet or CSV."""

import logging

from .program.run import Run, command
from .stages.road import Road

CHUNK = {"model": 20_000, "teacher": 500}  # users; a teacher may take a second for each

log = logging.getLogger(__name__)


def job(run: Run) -> None:
    import os

    from ..serve.batch import Recommends, check_output, read_users, recommend_to_file
    from ..serve.files import newest_served
    from ..serve.recommender import Recommender

    settings, serve = run.settings.recommend, run.settings.serve
    check_output(settings.output)
    recommender: Recommends
    if settings.by == "teacher":
        from .stages.teacher.recommender import TeacherRecommender

        road = Road(run)
        if not road.go(road.prepared):
            return
        recommender = TeacherRecommender(road.who_teaches)
    else:
        distilled = serve.student == "distilled"
        folder = serve.model or newest_served(run.settings.paths.served_dir, run.settings.dataset.name, distilled)
        recommender = Recommender.load(folder, os.cpu_count() or 1)
    files = recommender.files
    log.info("%s of %s, version %s", files.name, files.dataset, files.version)
    users = read_users(settings.users) if settings.users else files.raw_user_ids
    recommend_to_file(
        recommender,
        users,
        settings.output,
        settings.k,
        serve.filter_seen,
        serve.empty_history,
        settings.chunk or CHUNK[settings.by],
        settings.by,
    )
    print(settings.output)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
