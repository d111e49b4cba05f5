"""The list of chapters leads somewhere."""

import re
from pathlib import Path

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def test_the_list_of_chapters_links_to_every_solved_notebook():
    links = re.findall(r"\]\((solved/[^)]+)\)", (TUTORIALS / "README.md").read_text(encoding="utf-8"))
    assert links == sorted(links)
    assert set(links) >= {f"solved/{path.name}" for path in (TUTORIALS / "solved").glob("*.ipynb")}
