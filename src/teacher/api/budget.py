"""What questions may take, so that nothing is sent that could pass it."""

import threading
from collections.abc import Callable

from ...core.errors import UserError
from .answer_store import Usage
from .settings import ApiSettings

MILLION = 1e6


def cost(settings: ApiSettings, usage: Usage) -> float:
    """Returns what tokens cost at the prices of the settings."""
    return (settings.price_prompt * usage.prompt + settings.price_completion * usage.completion) / MILLION


def told(settings: ApiSettings, usage: Usage) -> str:
    """Returns tokens, and money where prices are known, in words."""
    priced = settings.price_prompt > 0 or settings.price_completion > 0
    return f"{usage.tokens:,} tokens" + (f", cost {cost(settings, usage):,.4f}" if priced else "")


class Budget:
    """`max_tokens_total` and `max_cost`, shared by threads. What is under way counts with the most that it may take.

    Args:
        settings: The limits and the prices.
        spent: What answers that are there already took.
        how_far: Says how many questions are answered.
    """

    def __init__(self, settings: ApiSettings, spent: Usage, how_far: Callable[[], str]) -> None:
        self.settings, self.spent, self.reserved, self.how_far = settings, spent, Usage(), how_far
        self._changed = threading.Condition()

    def reserve(self, most: Usage, ended: threading.Event) -> bool:
        """Puts aside what a request may take; waits while requests under way may turn out to take less than they may.
        Returns False where `ended` is set meanwhile.

        Raises:
            UserError: It would pass the budget, and nothing is under way.
        """
        with self._changed:
            while not ended.is_set():
                broken = self._passed_by(self.spent.plus(self.reserved).plus(most))
                if broken is None:
                    self.reserved = self.reserved.plus(most)
                    return True
                if self.reserved == Usage():
                    raise UserError(
                        f"The next question could pass {broken}: {self.how_far()} for "
                        f"{told(self.settings, self.spent)}, and it may take {told(self.settings, most)}; start the "
                        "same command again with more, and it goes on: what is answered is not asked again."
                    )
                self._changed.wait(timeout=1.0)
            return False

    def settle(self, most: Usage, taken: Usage) -> None:
        """Books what a request took, in the place of what was put aside for it."""
        with self._changed:
            self.reserved, self.spent = self.reserved.minus(most), self.spent.plus(taken)
            self._changed.notify_all()

    def _passed_by(self, usage: Usage) -> str | None:
        limits = self.settings
        if limits.max_tokens_total is not None and usage.tokens > limits.max_tokens_total:
            return f"teacher.api.max_tokens_total={limits.max_tokens_total}"
        if limits.max_cost is not None and cost(limits, usage) > limits.max_cost:
            return f"teacher.api.max_cost={limits.max_cost:g}"
        return None
