"""Files beside the page: tables and texts for a paper, and figures. The page's record vouches for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtrace import files
from segtrace.report import exports, figure_files, methods_text, origins, papers, scores
from segtrace.report.subject import Subject

#: Folder → endings of the files that are kept there; others that lie there are left alone.
KEPT = {
    exports.FOLDER: tuple(f".{ending}" for ending in exports.ENDINGS),
    methods_text.FOLDER: (".txt", ".md", ".tex", ".bib"),
    **{f"{figure_files.FOLDER}/{kind}": (".svg",) for kind in figure_files.KINDS},
}


def write(subject: Subject, folder: Path, drawn: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """Write all files beside the page in ``folder``, each in one step; path → checksum.

    Files of an earlier page that this one has no more are removed. ``drawn`` are the page's charts.
    """
    results, runs = scores.read(subject), origins.run_rows(subject)
    texts = papers.files(subject, results, runs) | figure_files.pictures(drawn, label=subject.main_label)
    made = {}
    for name, text in texts.items():
        files.write_text(folder / name, text)
        made[folder / name] = files.sha256_file(folder / name)
    for name, endings in KEPT.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((folder / name).iterdir()):
            if path.suffix in endings and path not in made:
                path.unlink()
    return made
