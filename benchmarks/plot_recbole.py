"""Draws validation NDCG@10 against wall time, RecBole and ours, from the results of `recbole_time_to_quality`.

python -m benchmarks.plot_recbole [JSON] [--out docs/images]
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from src.core.paths import ROOT

from .side_by_side import RESULTS

COLOURS = {"RecBole": "#b5533c", "ours": "#1f6f8b"}


def drawn(results: dict) -> Figure:
    """Returns the figure: a thin line per run, markers where a validation ended."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for who, curves in results["curves"].items():
        for number, curve in enumerate(curves):
            seconds, ndcg = zip(*curve, strict=True)
            label = who if number == 0 else None
            axes.plot(seconds, ndcg, color=COLOURS[who], lw=1, marker="o", ms=3, alpha=0.75, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("seconds since the start, validation included (log)")
    axes.set_ylabel("validation NDCG@10")
    axes.set_ylim(bottom=0)
    axes.set_title(f"SASRec on MovieLens-100K, {results['settings']['threads']} CPU threads", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    return figure


def main(arguments: argparse.Namespace) -> None:
    plt.rcParams["svg.hashsalt"] = "time_to_quality"  # the same data give the same file
    figure = drawn(json.loads(arguments.results.read_text()))
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "time_to_quality.svg", metadata={"Date": None})
    figure.savefig(arguments.out / "time_to_quality.png", dpi=120)


if __name__ == "__main__":
    own = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    own.add_argument("results", type=Path, nargs="?", default=RESULTS / "recbole_time_to_quality.json")
    own.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    main(own.parse_args())
