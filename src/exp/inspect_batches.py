"""Prints training examples as the teacher reads them: the first thing to look at when a teacher does not learn."""

from .program.run import Run, command
from .stages.road import Road
from .stages.teacher.api_outputs import ApiOutputs


def job(run: Run) -> None:
    from ..core.seed import generator
    from ..teacher.factory import create_prompts
    from ..teacher.prompts.inspection import described

    road = Road(run)
    if isinstance(road.outputs, ApiOutputs):  # the candidates are made first; nothing is asked
        if road.go(road.prepared, *road.teaching()[:-1]):
            print("\n\n---\n\n".join(road.outputs.some_questions(run.settings.inspect.examples)))
        return
    if not road.go(road.prepared):
        return
    tokenizer, positions = road.teacher.tokenizer()
    dataset, teacher = road.prepared.dataset, run.settings.teacher
    prompts = create_prompts(teacher.prompt, dataset.catalogue, tokenizer, positions, road.teacher.template)
    draw, length = generator(run.settings.seed), teacher.user_encoder.model.history_length
    for paragraph in described(
        dataset, prompts, tokenizer, teacher.reading, run.settings.inspect.examples, length, draw
    ):
        print(f"\n{paragraph}")


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
