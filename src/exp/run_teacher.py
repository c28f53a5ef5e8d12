"""Trains the iLoRA teacher on its user encoder, ranks the test users, and exports what it knows."""

import shutil

from .program.run import Run, command
from .stages.evaluations import every
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    first = (road.prepared, road.user_encoder, road.teacher)
    if run.settings.teacher.objective == "generation":
        if road.go(*first, road.answers, road.outputs):
            (run.dir / "metrics").mkdir(exist_ok=True)
            shutil.copyfile(road.answers.folder / "answers.json", run.dir / "metrics" / "answers.json")
        return
    evaluations = road.evaluations("popularity", "teacher")
    if road.go(*first, road.calibration, *every(evaluations), road.outputs):
        report(run, evaluations)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
