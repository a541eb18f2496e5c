"""``segtrace index DATASET``."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from segtrace.errors import some
from segtrace.options import at_least_one

#: Ids of images that a reader leaves out, as printed one by one.
SHOWN = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("dataset", help="name of a file in config/datasets")
    parser.add_argument(
        "--workers", type=at_least_one, default=os.cpu_count() or 1, help="processes (all cores)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Index a data set, find its duplicates and judge it. Nothing is written unless all is well."""
    import numpy as np

    from segtrace import datasets, digests, duplicates, files, gates, layout, parallel, tables
    from segtrace.config import load
    from segtrace.errors import SegtraceError, raise_all
    from segtrace.index import build, gate
    from segtrace.trace import jobs as jobs_of_project
    from segtrace.trace import record

    name = arguments.dataset
    data = load.dataset(name)
    root, folder = layout.raw(name), layout.index(name)
    reader = data.reader or name
    module = datasets.module_name(reader)
    demands = data.gate.model_dump(mode="json")
    code = digests.code_digest("index", extra=[module])
    job = jobs_of_project.index(name)
    with files.hold(folder, what="index"):
        if not root.is_dir():
            raise SegtraceError(f"{root}: no such folder; run 'segtrace acquire {name}' first")
        made = record.begin(job)
        cases = datasets.reader(reader).cases(root, data.options)
        left_out = sorted({case.case for case in cases} & set(data.exclude))
        raise_all(
            [
                f"exclude names case {case!r}, which is not there"
                for case in sorted(set(data.exclude) - set(left_out))
            ],
            heading=f"config/datasets/{name}.yaml",
            remedy="Mend the names under 'exclude', or take them out.",
        )
        for case in left_out:
            print(f"left out {case}: {data.exclude[case]}")
        rule = getattr(datasets.reader(reader), "left_out", None)
        by_rule = _say_left_out(rule(root, data.options)) if rule else {}
        jobs = [
            build.Job(
                dataset=name,
                root=root,
                reader=reader,
                options=data.options,
                case=case,
                dimensions=data.dimensions,
                channels=len(data.channels),
                labels=tuple(sorted(data.labels)),
                empty_allowed=data.gate.empty_masks[1] > 0,
            )
            for case in cases
            if case.case not in data.exclude
        ]
        if not jobs:
            raise SegtraceError(f"{root}: no case to index ({len(left_out)} left out by 'exclude')")
        settings = [
            code,
            digests.environment_digest(),
            data.dimensions,
            len(data.channels),
            sorted(data.labels),
            data.options,
            data.gate.empty_masks,
        ]
        rows, thumbnails, problems = build.build(
            jobs,
            cache=layout.thumbnails(name).with_suffix(".json"),
            key=digests.digest(settings),
            run=lambda fresh: parallel.map_cases(
                build.index_case,
                fresh,
                label=f"index {name}",
                workers=arguments.workers,
                name=lambda job: job.case.case,
            ),
        )
        raise_all(
            problems,
            heading=f"index {name}: faulty cases in {root}",
            remedy=f"Mend the files, or list the cases under 'exclude' in config/datasets/{name}.yaml with a reason.",
        )
        del thumbnails  # those of a large data set are better read from the disk, where they lie by now
        pairs = duplicates.grouped(rows, np.load(layout.thumbnails(name), mmap_mode="r", allow_pickle=False))
        docs, title = layout.data_docs(name, "index"), f"index {name}"
        results = gates.judge(
            gate.population(rows, labels=sorted(data.labels), groups=data.gate.groups, sides=data.gate.sides),
            gate.expectations(demands, labels=data.labels, excluded=len(left_out)),
            title=title,
            docs=docs,
        )
        gates.require(
            results,
            heading=f"index {name}: the data set is not what config/datasets/{name}.yaml expects",
            remedy=f"See {docs}/index.html. Mend the data, or the key 'gate' where the data is right.",
        )
        tables.write("duplicates", pairs, layout.duplicates(name))
        tables.write("cases", rows, layout.cases(name))
        files.write_json(folder / "gate.json", gates.to_json(results, title=title))
        notes: dict[str, Any] = {"left_out": left_out} if left_out else {}
        if by_rule:
            notes["left_out_by_reader"] = by_rule
        record.write(job, made, notes=notes or None)
    print(f"{name}: {len(rows)} cases, {len(results)} expectations met; pages: {docs}/index.html")
    if pairs:
        torn = sum(bool(pair["contradiction"]) for pair in pairs)
        print(
            f"{name}: {len(pairs)} pairs show the same image, {torn} of them with labels that contradict each other; "
            f"see {layout.duplicates(name)}, and pictures with 'segtrace audit {name}'"
        )


def _say_left_out(cases: Mapping[str, str]) -> dict[str, int]:
    """Print the ids of the images that a reader leaves out by rule (id → reason); reason → their number."""
    reasons: dict[str, list[str]] = {}
    for case, reason in sorted(cases.items()):
        reasons.setdefault(reason, []).append(case)
    for reason, ids in reasons.items():
        print(f"left out {len(ids)} images ({reason}): {some(ids, SHOWN)}")
    return {reason: len(ids) for reason, ids in reasons.items()}
