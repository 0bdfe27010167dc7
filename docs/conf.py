"""How Sphinx makes the handbook's site: `make docs`.

The source folder is the repository, so that the links between the handbook, the recipes and
CONTRIBUTING.md are the same on the site as in the repository, and nothing is copied.
"""

import importlib.metadata
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
NAVIGATION = ROOT / "docs" / "site" / "navigation.md"

project = "textmad"
author = "The textmad authors"
release = version = importlib.metadata.version("textmad")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.rst",
    "docs/decisions/*.md",
    "recipes/*.md",
    "recipes/**/*.md",
    "benchmarks/*.md",
    "data/**/*.md",
    "*.md",
]
# Sphinx walks the whole source folder: it does not enter these.
exclude_patterns = [".*", "build", "dist", "models", "runs", "tests", "textmad", "docs/site"]

# Markdown: anchors as GitHub makes them.
myst_heading_anchors = 4

# The notebook runs in each build, in a temporary folder; an error in it is an error of the build.
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars and a warning that there are no widgets

# The API reference.
default_role = "code"
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

# `sphinx-build -b linkcheck`: only what can be checked without a network.
linkcheck_ignore = [r"https?://"]

html_theme = "furo"
html_title = f"textmad {release}"
html_copy_source = False
html_show_sphinx = False
templates_path = ["site/templates"]
html_additional_pages = {"index": "home.html"}  # the site's address leads to the handbook


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the table of pages to the first page, which stays plain Markdown in the repository."""
    if docname == root_doc:
        app.env.note_dependency(str(NAVIGATION))
        source[0] += "\n" + NAVIGATION.read_text(encoding="utf-8")


def resolve_folders(app: Sphinx, doctree: nodes.document) -> None:
    """Lead a link to a folder to the README.md in it, as GitHub does.

    A link to a folder without one, such as a package, becomes its text.
    """
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link["reftype"] != "myst" or link["refdomain"] is not None:
            continue
        _, path = app.env.relfn2path(link["reftarget"], app.env.docname)
        page = app.env.path2doc(Path(path) / "README.md")
        if page in app.env.found_docs:
            link["refdomain"], link["reftarget"], link["reftargetid"] = "doc", page, None
        elif Path(path).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", resolve_folders)
