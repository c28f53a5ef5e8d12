"""Trains what teaches (the iLoRA teacher, the members of an ensemble), ranks the test users, exports what it knows."""

import shutil

from .program.run import Run, command
from .stages.evaluations import every
from .stages.following import follow
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    *trained, outputs = road.teaching()
    if road.ensemble is None and run.settings.teacher.objective == "generation":
        if road.go(road.prepared, *trained, road.answers, outputs):
            (run.dir / "metrics").mkdir(exist_ok=True)
            shutil.copyfile(road.answers.folder / "answers.json", run.dir / "metrics" / "answers.json")
        return
    evaluations = road.evaluations("popularity", "teacher", "ensemble")
    if road.go(road.prepared, *trained, *every(evaluations), outputs):
        report(run, evaluations)


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
