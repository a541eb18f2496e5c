"""Values of a JSON file, named by their keys joined by dots; a key may hold dots itself."""

import json
from collections.abc import Sequence
from typing import Any

from segtrace.errors import advice


def at(content: Any, path: Sequence[str]) -> Any:
    """The value at a path of keys (of a list: positions)."""
    for key in path:
        content = content[int(key)] if isinstance(content, list) else content[key]
    return content


def leaves(content: Any, prefix: str = "") -> list[str]:
    """Dotted paths of all values below ``content`` that hold no others."""
    items = _items(content)
    if not items:
        return [prefix]
    return [
        leaf for key, value in items.items() for leaf in leaves(value, f"{prefix}.{key}" if prefix else key)
    ]


def paths(content: Any, dotted: str) -> list[tuple[str, ...]]:
    """All paths of keys that a dotted text can mean."""
    found: list[tuple[str, ...]] = []
    for key, value in _items(content).items():
        if dotted == key:
            found.append((key,))
        elif dotted.startswith(f"{key}."):
            found += [(key, *rest) for rest in paths(value, dotted[len(key) + 1 :])]
    return found


def nearest(content: Any, dotted: str) -> str:
    """What there is instead, at the level at which the path goes wrong."""
    for key, value in _items(content).items():
        if dotted.startswith(f"{key}.") and _items(value):
            return f"below {key!r}: {nearest(value, dotted[len(key) + 1 :])}"
    known = list(_items(content))
    return advice(dotted.split(".")[0], known) if known else f"there is one value only: {json.dumps(content)}"


def _items(content: Any) -> dict[str, Any]:
    if isinstance(content, list):
        return {str(place): value for place, value in enumerate(content)}
    return content if isinstance(content, dict) else {}
