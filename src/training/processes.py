"""Several processes that train one model: torchrun starts them, the first leads, and in a training they are a group.

Outside a training each is by itself (`size()` is 1): the first one works for hours while the others wait for its next
word, so that nothing of PyTorch's may run out of time meanwhile.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..core.errors import UserError
from .started import place, started_together

LOOK_EVERY = 0.2  # seconds in which one that waits looks whether there is a message
JOINING = 3600.0  # seconds in which the others read what a training is made from; longer, and one is not there any more
LEAVING = 60.0  # seconds in which the others take leave
NO_LIMIT = timedelta(days=365)  # a step may take as long as it takes: who lost a process is ended by torchrun


def size() -> int:
    """Returns how many processes share this training; 1 outside one, or where there is only this one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Returns which of them this is, from 0."""
    return place() if size() > 1 else 0


class Line:
    """From the process that leads to the others: messages in order, and groups for trainings.

    Messages go through torchrun's own store, which needs no answer from anyone.
    """

    def __init__(self) -> None:
        self.messages, self.groups = 0, 0

    @cached_property
    def _store(self) -> dist.Store:
        store, _, _ = next(dist.rendezvous("env://"))
        return dist.PrefixStore("anyo", store)

    def tell(self, message: dict[str, Any]) -> None:
        """Tells all others; nobody needs to be listening yet."""
        self._store.set(f"message/{self.messages}", json.dumps(message))
        self.messages += 1

    def end(self) -> None:
        """Tells all others that there is nothing more, and lets them hear it: the store may end with this process."""
        self.tell({"done": True})
        for other in range(1, started_together()):
            self._wait_for(f"left/{other}", LEAVING)

    def heard(self) -> dict[str, Any]:
        """Waits for the next message, however long, and returns it.

        Raises:
            RuntimeError: torchrun is not there any more (`is_loss`).
        """
        self._wait_for(f"message/{self.messages}", float("inf"))
        message = json.loads(self._store.get(f"message/{self.messages}"))
        self.messages += 1
        if "done" in message:
            self._store.set(f"left/{place()}", "")
        return message

    def _wait_for(self, key: str, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not (there := self._store.check([key])) and time.monotonic() < until:
            time.sleep(LOOK_EVERY)
        return there

    @contextmanager
    def group(self) -> Iterator[None]:
        """Makes the processes a group for the block, which all of them enter.

        Raises:
            UserError: One has not come.
        """
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "cpu:gloo,cuda:nccl"
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        name = f"group/{self.groups}"
        self.groups += 1
        self._store.set(f"{name}/here/{place()}", "")
        for other in range(started_together()):
            if not self._wait_for(f"{name}/here/{other}", JOINING):
                raise UserError(
                    f"Process {other} did not join the training within {JOINING / 60:.0f} minutes: start again."
                )
        store = dist.PrefixStore(name, self._store)
        dist.init_process_group(backend, store=store, rank=place(), world_size=started_together(), timeout=NO_LIMIT)
        yield
        dist.destroy_process_group()  # not after an error: the others would be waited for, and the process ends


line = Line()


def is_loss(error: BaseException) -> bool:
    """Whether an exception says that another process of the group, or torchrun, is not there any more."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


# --- what all have, from what each has


def summed(values: Tensor) -> Tensor:
    """Returns the sums over all processes of values of one shape, without gradient."""
    if size() == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values


def largest(values: list[int]) -> list[int]:
    """Returns the largest of each over all processes."""
    if size() == 1:
        return values
    found = torch.tensor(values)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def gathered(rows: Tensor) -> Tensor:
    """Returns the rows of all processes, `[n, ...]` each, one process after the other; n may differ."""
    if size() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    numbers = [int(count) for count in counts]
    padded = rows.new_zeros(max(numbers), *rows.shape[1:])
    padded[: len(rows)] = rows
    everyone = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(everyone, padded)
    return torch.cat([each[:number] for each, number in zip(everyone, numbers, strict=True)])


def as_the_first_says(value: Any) -> Any:
    """Returns the first process's value, as JSON has it, on all of them."""
    if size() == 1:
        return value
    said = list(json.dumps(value).encode()) if rank() == 0 else []
    return json.loads(bytes(gathered(torch.tensor(said, dtype=torch.uint8)).tolist()))
