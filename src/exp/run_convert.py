"""Makes iLoRA's or DLLM2Rec's frames into plain tables that dataset=custom reads; no pickle is executed."""

from .program.run import Run, command


def job(run: Run) -> None:
    from ..data.conversion.convert import convert

    settings = run.settings.convert
    folder = settings.out or run.dir / "converted"
    if run.settings.dry_run:
        print(f"Would write {folder}.")
        return
    for name, count in convert(settings, folder).items():
        print(f"{name.replace('_', ' ')}: {count:,}")
    files = [f"dataset.interactions={folder / 'interactions.parquet'}"]
    files += [f"dataset.items={folder / 'items.parquet'}"] if settings.names else []
    print(f"To read it: dataset=custom {' '.join(files)} dataset.split=given")


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
