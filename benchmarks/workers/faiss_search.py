"""faiss: the ten largest inner products of states with item vectors, by an inverted file.

Settings: `table`, `states`: paths of `.npy` files, float32.
"""

import os
import time

import faiss
import numpy as np

from ..timing import Line

RECALL = 0.99


def main() -> None:
    line = Line()
    faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    table, states = np.load(line.settings["table"]), np.load(line.settings["states"])
    start = time.perf_counter()
    lists = round(4 * len(table) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(table.shape[1]), table.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(table[np.random.default_rng(0).permutation(len(table))[: 50 * lists]])
    index.add(table)
    built = time.perf_counter() - start
    flat = faiss.IndexFlatIP(table.shape[1])
    flat.add(table)
    exact = flat.search(states, 10)[1]
    del flat
    half = len(states) // 2
    for probes in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
        index.nprobe = min(probes, lists)
        found = index.search(states[:half], 10)[1]
        if recall(found, exact[:half]) >= RECALL:
            break

    def measured() -> dict[str, float]:
        taken = []
        for state in states:
            start = time.perf_counter()
            index.search(state[None], 10)
            taken.append(time.perf_counter() - start)
        return {"seconds": float(np.median(taken)), "p99": float(np.quantile(taken, 0.99))}

    found = index.search(states, 10)[1]
    told = f"{lists:,} lists, {index.nprobe} looked into, built in {built:.0f} s"
    line.serve({"found": (found + 1).tolist(), "exact": (exact + 1).tolist(), "told": told}, measured)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]))


if __name__ == "__main__":
    main()
