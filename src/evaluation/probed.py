"""What a probe found of a teacher: how its language model ranks when one thing that it is shown is taken away."""

from dataclasses import dataclass
from typing import Any

from .comparison import Comparison, comparison_of, difference_cells
from .tables import TextTable

METRIC = "NDCG@10"
OTHER_TITLES = "titles of other items"


@dataclass(frozen=True)
class ProbeResult:
    """What validation examples say.

    examples: How many.
    cross_entropy: In nats an example, over the items that compete, by what the language model was shown.
    comparison: Of `METRIC`, each alteration against the language model as it is.
    """

    examples: int
    cross_entropy: dict[str, float]
    comparison: Comparison

    def table(self) -> TextTable:
        """Returns a line for each alteration."""
        differences = {each.model: difference_cells(each) for each in self.comparison.differences}
        rows = [
            [mean.model, f"{mean.mean:.4f}", *differences.get(mean.model, [""] * 5), f"{entropy:.3f}"]
            for mean, entropy in zip(self.comparison.means, self.cross_entropy.values(), strict=True)
        ]
        header = ["Shown", METRIC, "Difference", "Relative", "p (t)", "p (rand.)", "p (Holm)", "Cross-entropy"]
        return TextTable(f"What the language model lives on, {self.examples:,} validation examples", header, rows)

    def reads(self) -> str:
        """Returns a sentence: whether the language model reads, told by what it loses with other items' titles."""
        lost = next(each for each in self.comparison.differences if each.model == OTHER_TITLES)
        share = "" if lost.relative is None else f" ({100 * lost.relative:+.1f} %)".replace("-", "−")
        change = f"{lost.difference:+.4f} [{lost.low:+.4f}, {lost.high:+.4f}]".replace("-", "−")
        how = "It reads its prompt" if lost.high < 0 else "Nothing shows that it reads its prompt"
        return (
            f"{how}: with the titles of other items in it, the language model's {METRIC}, without the frozen "
            f"student's ranking, changes by {change}{share}."
        )


def probe_result_of(plain: dict[str, Any]) -> ProbeResult:
    """Returns what a probe wrote as JSON.

    Raises:
        KeyError, TypeError: It is something else.
    """
    return ProbeResult(plain["examples"], plain["cross_entropy"], comparison_of(plain["comparison"]))
