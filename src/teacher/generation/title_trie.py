"""The titles of a catalogue as a tree of tokens: what titles have in common is there once, and is read once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TitleTrie:
    """Every distinct beginning of a title is a node; parents come before their children.

    token: `[nodes]` int64, the last token of the beginning.
    parent: `[nodes]` int64, the node one token shorter; -1 for beginnings of one token.
    depth: `[nodes]` int64, how many tokens come before the last one.
    end: `[titles]` int64, the node that is the whole title; titles of the same tokens share one.
    inner: `[nodes]` bool, whether some title goes on behind the node.
    branch: `[nodes]` int64, the node of the first token of the beginning.
    """

    token: Tensor
    parent: Tensor
    depth: Tensor
    end: Tensor
    inner: Tensor
    branch: Tensor

    @classmethod
    def of(cls, titles: Sequence[Sequence[int]]) -> "TitleTrie":
        """Builds the tree of titles, each a sequence of at least one token id."""
        node_of: dict[tuple[int, int], int] = {}  # (parent, token) to node
        token: list[int] = []
        parent: list[int] = []
        depth: list[int] = []
        end: list[int] = []
        branch: list[int] = []
        for title in titles:
            node = -1
            for place, each in enumerate(title):
                child = node_of.setdefault((node, each), len(token))
                if child == len(token):
                    token.append(each)
                    parent.append(node)
                    depth.append(place)
                    branch.append(branch[node] if node >= 0 else child)
                node = child
            end.append(node)
        inner = torch.zeros(len(token), dtype=torch.bool)
        inner[[node for node in parent if node >= 0]] = True
        return cls(_long(token), _long(parent), _long(depth), _long(end), inner, _long(branch))

    def __len__(self) -> int:
        return len(self.token)

    def parts(self, max_nodes: int) -> Iterator[Tensor]:
        """Yields node numbers, `[n]` int64, parents first: whole branches of `max_nodes` at most, or one alone.

        A branch is what begins with the same token; every node is in exactly one part.
        """
        part: list[Tensor] = []
        sizes = self.branch.unique(return_counts=True)[1].tolist()
        for nodes in self.branch.argsort(stable=True).split(sizes):
            if part and sum(map(len, part)) + len(nodes) > max_nodes:
                yield torch.cat(part)
                part = []
            part.append(nodes)
        if part:
            yield torch.cat(part)

    def ancestry(self, nodes: Tensor) -> Tensor:
        """Returns `[n, n]` bool for a part: True where the column is the row itself or one of its ancestors."""
        place = torch.full((len(self),), -1)
        place[nodes] = torch.arange(len(nodes))
        sees = torch.eye(len(nodes), dtype=torch.bool)
        for depth in range(1, int(self.depth[nodes].max()) + 1):
            rows = (self.depth[nodes] == depth).nonzero().squeeze(1)
            sees[rows] |= sees[place[self.parent[nodes[rows]]]]
        return sees


def _long(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)
