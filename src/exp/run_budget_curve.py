"""Draws the student's NDCG@10 against the share of the examples that the teacher was asked about, policy by policy."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    from .studies.budget_curve import draw_budget_curve, show

    show(draw_budget_curve(Road(run)))


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
