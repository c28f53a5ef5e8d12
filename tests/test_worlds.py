import torch

from tests.worlds import tiny_dataset, tiny_logs


def test_the_world_in_memory_is_the_one_that_is_prepared(tmp_path):
    memory, prepared = tiny_dataset(), tiny_dataset(folder=tmp_path)
    for name in ("item_log", "offsets", "num_train"):
        assert torch.equal(getattr(memory, name), getattr(prepared, name)), name
    for split, examples in memory.examples.items():
        for name in ("example_id", "user", "end"):
            assert torch.equal(getattr(examples, name), getattr(prepared.examples[split], name)), (split, name)
    assert memory.catalogue.titles == prepared.catalogue.titles
    assert memory.catalogue.raw_ids == prepared.catalogue.raw_ids


def test_the_world_is_what_it_promises():
    logs = tiny_logs()
    assert len(logs) == 12 and {item for log in logs for item in log} == set(range(1, 16))
    assert len({len(log) for log in logs}) > 4 and min(map(len, logs)) == 3
    assert tiny_logs(seed=1) != logs == tiny_logs()
    catalogue = tiny_dataset().catalogue
    assert catalogue.title(14) == catalogue.title(15)
