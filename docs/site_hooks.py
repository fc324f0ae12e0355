"""Hooks of mkdocs: Markdown files outside ``docs/`` become pages of the site.

The README is the first page. In the checkout, a link is relative to the file that
contains it, so that it works on a forge. Here it is rewritten to a link between pages.
A link to another file of the checkout becomes plain text. A link to a file that does
not exist is reported, which fails a strict build.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File

_log = get_plugin_logger("site_hooks")
_ROOT = Path(__file__).parents[1]

# Page of the site -> file in the checkout, and a title where the file has none.
_PAGES = {
    "index.md": ("README.md", None),
    "data_sets/casme.md": ("datasets/casme/README.md", "CASME"),
    "data_sets/casme2.md": ("datasets/casme2/README.md", "CASME II"),
    "data_sets/cas_me_2.md": ("datasets/cas_me_2/README.md", "CAS(ME)^2"),
    "data_sets/samm.md": ("datasets/samm/README.md", "SAMM"),
    "data_sets/mmew.md": ("datasets/mmew/README.md", "MMEW"),
    "data_sets/fourdme.md": ("datasets/fourdme/README.md", "4DME"),
    "data_sets/smic.md": ("datasets/smic/README.md", "SMIC"),
    "data_sets/casme3.md": ("datasets/casme3/README.md", "CAS(ME)^3, part A"),
    "data_sets/casme3_c.md": ("datasets/casme3_c/README.md", "CAS(ME)^3, part C"),
    "data_sets/synthetic.md": ("datasets/synthetic/README.md", "synthetic"),
}
_FILES = {file: page for page, (file, _) in _PAGES.items()}

# [text](target#anchor) and ![text](target), but no link with a scheme.
_LINK = re.compile(r"(!?)\[([^][]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Adds the pages whose files are outside ``docs/``."""
    for page, (file, title) in _PAGES.items():
        text = (_ROOT / file).read_text()
        if title:
            text = f"# {title}\n\n{text}"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites links between files of the checkout to links between pages."""
    uri = page.file.src_uri
    source = _PAGES[uri][0] if uri in _PAGES else f"docs/{uri}"

    def rewrite(match):
        image, text, target, anchor = match.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if file in _FILES:
            found = _FILES[file]
        elif file.startswith("docs/") and (_ROOT / file).exists():
            found = file.removeprefix("docs/")
        elif (_ROOT / file).exists():
            return text
        else:
            _log.warning(f"{source} links to {target}, which does not exist.")
            return match[0]
        link = posixpath.relpath(found, posixpath.dirname(uri) or ".")
        return f"{image}[{text}]({link}{anchor or ''})"

    return _LINK.sub(rewrite, markdown)
