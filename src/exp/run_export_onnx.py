"""Makes a served model of a trained student: an ONNX file, held against PyTorch on every test user."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    if road.go(road.prepared, road.served):
        road.served.become_newest()
        print(road.served.folder)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
