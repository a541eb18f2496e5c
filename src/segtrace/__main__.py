"""``python -m segtrace`` is the ``segtrace`` command."""

from segtrace.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
