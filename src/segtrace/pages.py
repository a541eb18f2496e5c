"""How pages of HTML are made from templates: everything that is put in is escaped, and nothing may be missing."""

from pathlib import Path

import jinja2


def environment(templates: Path) -> jinja2.Environment:
    """Templates of a folder, with values escaped and unknown names refused."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
