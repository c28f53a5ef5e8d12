"""Writes the prepared dataset, its split included, in the layout of RecBole or of DLLM2Rec, for their programs."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    from ..data.export.dllm2rec import export_dllm2rec
    from ..data.export.recbole import export_recbole
    from ..distill.reference_files import export_teacher_files

    road, export = Road(run), run.settings.export
    if not road.go(road.prepared):
        return
    dataset, out = road.prepared.dataset, export.out or run.dir / "export"
    about = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "history_length": export.length}
    if export.layout == "recbole":
        written = [out / dataset.name]
        export_recbole(dataset, written[0], export.length, about)
    else:
        written = [out / "data" / dataset.name]
        export_dllm2rec(dataset, written[0], export.length, about)
    if export.teacher:
        road.outputs.find()
        written.append(out / "tocf" / dataset.name)
        export_teacher_files(road.outputs.load(), dataset, written[1], export.teacher_width, about)
    print("\n".join(f"written: {folder}" for folder in written))


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
