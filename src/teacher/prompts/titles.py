"""Titles as a prompt shows them: as in the catalogue, or as iLoRA's code rewrites those of MovieLens."""

from collections.abc import Callable

YEAR = len(" (1995)")
ARTICLES = (", The", ", A", ", An")  # tried in this order


def catalogue_title(title: str) -> str:
    """Returns the title as it is."""
    return title


def reference_title(title: str) -> str:
    """Returns what iLoRA's code makes of a MovieLens title: the year cut off, the article put in front.

    As there, the last seven characters go whatever they are, and the first of ", The", ", A" and ", An" that stands
    anywhere in the title is taken out wherever it stands: ", An" is never reached, since ", A" is part of it ("Officer
    and a Gentleman, An" becomes "A Officer and a Gentlemann"). Unlike there, a title that would be left empty stays.
    """
    return with_article_in_front(title[:-YEAR]) or title


def with_article_in_front(title: str) -> str:
    """The second half of `reference_title`."""
    for article in ARTICLES:
        if article in title:
            return f"{article[2:]} {title.replace(article, '')}"
    return title


TITLE_FORMS: dict[str, Callable[[str], str]] = {"catalogue": catalogue_title, "reference": reference_title}
