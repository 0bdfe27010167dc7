"""`textmad recipes`: list the recipes and studies that come with textmad."""

from __future__ import annotations


def recipes() -> None:
    """List the recipes and studies that come with textmad, with their questions and files."""
    from textmad.shipped import question, shipped_recipes

    for name, path in shipped_recipes().items():
        print(name)
        print(f"    {question(path)}")
        print(f"    {path}")
