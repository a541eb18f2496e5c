#!/bin/sh
# A stage of dvc.yaml, in the project's own environment if it has one, else in the active one; and with the code of
# this folder, which is another than the installed one where DVC runs an experiment in a copy.
if [ -x .venv/bin/python ]; then
    PATH="$PWD/.venv/bin:$PATH"
    export PATH
fi
if ! command -v segtrace > /dev/null; then
    echo "segtrace is not installed here: run 'make install', or activate the environment that has it" >&2
    exit 1
fi
if [ -d src/segtrace ]; then
    PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
fi
exec python -m segtrace.trace.stage "$@"
