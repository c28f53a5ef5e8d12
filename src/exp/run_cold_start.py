"""Measures how well items that came after the training are recommended by their texts: holds a share of them out."""

from .program.run import Run, command
from .stages.following import follow


def job(run: Run) -> None:
    from .studies.cold_start import measure_cold_start, show

    show(measure_cold_start(run))


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
