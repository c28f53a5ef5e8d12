"""Settings of all trainings: over how many processes they go."""

from ..core.settings import PositiveInteger, Settings, YesNo, setting


class TrainerSettings(Settings):
    """Over what trainings go; how each of them goes stands with what is trained."""

    devices: PositiveInteger = setting(
        1,
        "processes of this machine that train together and share each batch, a GPU each where there are any; those of "
        "several machines are torchrun's to start",
        changes_result=False,  # but for rounding, and what is drawn at random within a step
    )
    shard: YesNo = setting(
        False,
        "true: while a teacher trains over several processes, each holds its share of the language model's frozen "
        "weights, and gathers a block while it computes",
        changes_result=False,  # but for rounding
    )
