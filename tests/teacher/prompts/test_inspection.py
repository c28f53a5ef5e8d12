import torch

from src.data.rows import TrainingWindows
from src.teacher.language_model.tiny import tiny_random
from src.teacher.prompts.inspection import decoded, described_examples, described_windows
from src.teacher.prompts.user_prompt import UserPrompts
from tests.teacher.teachers import prompt_builder
from tests.worlds import dataset_of

TITLES = ["Alien", "Toy Story", "Amélie", "M"]
DATASET = dataset_of([[3, 1, 2, 4, 1, 2], [4, 2, 1, 3]], TITLES)
TOKENIZER, PROMPTS = tiny_random()[1], prompt_builder(TITLES, prompt_items=2)


def test_a_prompt_reads_as_the_model_reads_it_with_its_items_at_the_markers():
    prompt = PROMPTS.build(torch.tensor([[3, 1, 2], [4, 0, 0]]))
    assert decoded(prompt, TOKENIZER) == [
        "[CLS]Seen: Alien⟨item 1⟩, Toy Story⟨item 2⟩. Next is[SEP]",
        "[CLS]Seen: M⟨item 4⟩. Next is[SEP]",
    ]


def test_an_example_is_told_with_history_target_and_ids():
    examples = DATASET.examples["train"].subset(torch.tensor([2, 3]))
    batch, first, second = described_examples(DATASET, examples, PROMPTS, TOKENIZER)
    assert batch.startswith("2 prompts in one batch")
    assert first.splitlines()[:4] == [
        "example 2, user 0",
        "  history  3 Amélie · 1 Alien · 2 Toy Story",
        "  target   4 M",
        "  prompt   [CLS]Seen: Alien⟨item 1⟩, Toy Story⟨item 2⟩. Next is[SEP]",
    ]
    assert second.splitlines()[0] == "example 3, user 1"


def test_the_share_of_padding_is_that_of_the_batch():
    examples = DATASET.examples["train"].subset(torch.tensor([2, 3]))
    tokens = [len("Seen: Alien, Toy Story. Next is") + 4, len("Seen: M. Next is") + 3]  # markers, [CLS] and [SEP]
    share = (tokens[0] - tokens[1]) / (2 * tokens[0])
    described = list(described_examples(DATASET, examples, PROMPTS, TOKENIZER))
    assert f"{tokens[0]} tokens long, {share:.0%} padding" in described[0]
    assert [paragraph.splitlines()[-1] for paragraph in described[1:]] == [f"  tokens   {count}" for count in tokens]


def test_a_window_tells_the_target_at_each_marker():
    windows = TrainingWindows(DATASET, 2)
    _, told = described_windows(DATASET, windows, torch.tensor([0]), UserPrompts(PROMPTS), TOKENIZER)
    assert told.splitlines()[:4] == [
        "window 0",
        "  prompt   [CLS]Seen: Alien⟨item 1⟩, Toy Story⟨item 2⟩",
        "  after 1 Alien: 2 Toy Story (example 1)",
        "  after 2 Toy Story: 4 M (example 2)",
    ]
