"""The documentation site: every Markdown file of the repository, so that links between them are checked, too.

cmd/build_docs.sh builds it with Sphinx and MyST. GitHub shows the same files as they are.
"""

import sys
from pathlib import Path

from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).resolve().parents[1]
SHOWN = {
    "README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs", "discussions", "benchmarks",
}  # fmt: skip

sys.path.insert(0, str(ROOT))  # autodoc imports `src`

project = "anyo"
author = copyright = "The anyo authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
exclude_patterns = ["benchmarks/results", *(each.name for each in ROOT.iterdir() if each.name not in SHOWN)]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as GitHub makes them
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
add_module_names = False
default_role = "code"  # what stands between backticks in a docstring
nitpick_ignore_regex = [("py:(class|exc)", ".*")]  # of signatures and docstrings: what is behind them is not public
html_theme = "furo"
html_title = "anyo"
html_extra_path = ["extra"]  # index.html: leads to docs/index.html
html_math_renderer = "mathml"  # what browsers draw themselves: formulas need no network


def _inline(translator, node) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise _skip()


def _block(translator, node) -> None:
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div style="overflow-x: auto; overflow-y: hidden; padding: 0.6em 0">{formula}</div>')
    raise _skip()


def _skip() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
