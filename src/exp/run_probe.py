"""Tells what a trained teacher's language model lives on: titles, texts, ids, adapters, gates; trains it if need be."""

from .program.run import Run, command
from .stages.following import follow
from .stages.road import Road


def job(run: Run) -> None:
    from ..core.artefact import write_text

    road = Road(run)
    if road.go(road.prepared, road.user_encoder, road.teacher, road.probe):
        table = road.probe.result().table()
        write_text(run.dir / "probe.md", f"## {table.title}\n\n{table.markdown()}")
        table.show()


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
