import torch
from hypothesis import given
from hypothesis import strategies as st

from src.teacher.generation.title_trie import TitleTrie

TITLES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=12)


def beginning(trie: TitleTrie, node: int) -> list[int]:
    tokens = []
    while node >= 0:
        tokens.insert(0, int(trie.token[node]))
        node = int(trie.parent[node])
    return tokens


@given(TITLES)
def test_every_distinct_beginning_is_one_node(titles):
    trie = TitleTrie.of(titles)
    beginnings = {tuple(title[:length]) for title in titles for length in range(1, len(title) + 1)}
    assert sorted(beginnings) == sorted(tuple(beginning(trie, node)) for node in range(len(trie)))
    assert [beginning(trie, int(node)) for node in trie.end] == titles
    assert all(parent < node for node, parent in enumerate(trie.parent.tolist()))
    assert [len(beginning(trie, node)) - 1 for node in range(len(trie))] == trie.depth.tolist()


@given(TITLES, st.integers(1, 20))
def test_parts_are_whole_branches_within_the_bound(titles, max_nodes):
    trie = TitleTrie.of(titles)
    parts = [part.tolist() for part in trie.parts(max_nodes)]
    assert sorted(node for part in parts for node in part) == list(range(len(trie)))
    for part in parts:
        firsts = {beginning(trie, node)[0] for node in part}
        branches = [node for node in range(len(trie)) if beginning(trie, node)[0] in firsts]
        assert sorted(part) == branches
        assert len(part) <= max_nodes or len(firsts) == 1
        assert all(int(trie.parent[node]) < 0 or part.index(int(trie.parent[node])) < part.index(node) for node in part)


@given(TITLES)
def test_a_node_sees_the_beginnings_of_its_beginning(titles):
    trie = TitleTrie.of(titles)
    for part in trie.parts(8):
        sees = trie.ancestry(part)
        for row, node in enumerate(part.tolist()):
            for column, other in enumerate(part.tolist()):
                mine, theirs = beginning(trie, node), beginning(trie, other)
                assert bool(sees[row, column]) == (mine[: len(theirs)] == theirs)


def test_titles_of_the_same_tokens_share_an_end():
    assert TitleTrie.of([[1, 2], [1, 2], [1]]).end.tolist() == [1, 1, 0]
    assert torch.equal(TitleTrie.of([[1, 2], [1, 3]]).parent, torch.tensor([-1, 0, 0]))
