"""An experiment as a Workflow Run RO-Crate: the files, and the JSON-LD that says what each is.

It follows RO-Crate 1.1 and its profiles Process Run Crate 0.5, Workflow Run Crate 0.5 and Workflow RO-Crate
1.0. Nothing in it depends on when or where it is written: no times, no paths of the machine, no random ids.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrace import __version__, digests, layout
from segtrace.config import load, models, runs
from segtrace.files import read_json, sha256_file, write_text
from segtrace.trace.export.parts import MAIN, Part
from segtrace.trace.export.verify import COMPLETED, PROFILES, SPECIFICATION

if TYPE_CHECKING:
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

#: The project's own licence: of the workflow, and of the crate that describes its run.
LICENCE = "Apache-2.0"
_SPDX = "https://spdx.org/licenses/"
_FORMS = {
    **dict.fromkeys(("", ".smk", ".rst", ".lock"), "text/plain"),
    ".csv": "text/csv",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".png": "image/png",
    ".gz": "application/gzip",
}
#: Software by its name in the lock.
_SOFTWARE = {
    "snakemake": ("Snakemake", "https://snakemake.github.io"),
    "torch": ("PyTorch", "https://pytorch.org"),
    "monai": ("MONAI", "https://monai.io"),
    "simpleitk": ("SimpleITK", "https://simpleitk.org"),
}
_PARAMETERS = {
    "experiment": ("Text", "name of a file in config/experiments"),
    "budget": ("Text", "name of a file in config/budgets: how much of a published training is run"),
    "seeds": ("Integer", "seeds of the trainings; each gives one run a method and fold"),
}


@dataclass(frozen=True)
class Subject:
    """What a crate is of, and by whom and when it is published."""

    experiment: str
    config: models.Config
    date: str
    """YYYY-MM-DD."""
    author: str | None = None
    orcid: str | None = None
    """Sixteen digits in four groups."""


def write(folder: Path, subject: Subject, *, parts: Sequence[Part]) -> None:
    """Write the crate into ``folder``, which must not exist yet: the files of the project, and their description.

    The working directory is the project's root.
    """
    folder.mkdir(parents=True)
    for part in parts:
        target = folder / part.path
        if part.text is not None:
            write_text(target, part.text)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part.path, target)
    _described(folder, subject, parts).metadata.write(folder)


def _described(folder: Path, subject: Subject, parts: Sequence[Part]) -> "ROCrate":
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")  # the profile Workflow Run Crate 0.5 builds on RO-Crate 1.1
    # RO-Crate 1.1 has no term for a checksum; this is the one of the profiles' own vocabulary.
    crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"
    for part in parts:
        _add_file(crate, folder, part)
    crate.metadata["conformsTo"] = _references([SPECIFICATION, PROFILES[-1][0]])
    _add_machines(crate, subject)
    _add_workflow(crate, parts, software=_software(crate, subject))
    inputs = [p.path for p in parts if p.role == "input"]
    inputs += [e.id for e in [*_values(crate, subject), *_data_sets(crate, subject)]]
    agent = _author(crate, subject)
    action = {
        "@type": "CreateAction",
        "name": f"run of the experiment {subject.experiment}",
        "description": "All jobs of the workflow, from the published archives to the tables.",
        "instrument": {"@id": MAIN},
        "object": _references(inputs),
        "result": _references(p.path for p in parts if p.role == "result"),
        "actionStatus": COMPLETED,
    }
    run = _add(crate, "#run", action | ({"agent": agent} if agent else {}))
    _describe_root(crate, subject, run=run, agent=agent)
    return crate


def _add(crate: "ROCrate", identifier: str, properties: dict[str, Any]) -> "ContextEntity":
    from rocrate.model import ContextEntity

    return crate.add(ContextEntity(crate, identifier, properties=properties))


def _references(identifiers: Iterable[str]) -> list[dict[str, str]]:
    return [{"@id": identifier} for identifier in identifiers]


def form(path: str) -> str:
    """The media type of a file, by its name."""
    return _FORMS.get(Path(path).suffix, "application/octet-stream")


def _add_file(crate: "ROCrate", folder: Path, part: Part) -> None:
    from rocrate.model import ComputationalWorkflow, File

    path = folder / part.path
    properties: dict[str, Any] = {
        "name": part.path,
        "description": part.says,
        "encodingFormat": form(part.path),
        "contentSize": str(path.stat().st_size),
        "sha256": sha256_file(path),
    }
    if (folder / part.about).is_file():
        properties["about"] = {"@id": part.about}
    kind = ComputationalWorkflow if part.path == MAIN else File
    crate.add(kind(crate, dest_path=part.path, properties=properties))


# --- the workflow -------------------------------------------------------------------------------------


def _add_workflow(crate: "ROCrate", parts: Sequence[Part], *, software: Iterable[str]) -> None:
    from rocrate.model.computerlanguage import snakemake

    workflow = crate.get(MAIN)
    language = crate.add(snakemake(crate))
    formal = [
        _add(
            crate,
            f"#parameter-{name}",
            {
                "@type": "FormalParameter",
                "name": name,
                "description": text,
                "additionalType": kind,
                "multipleValues": name == "seeds",
                "valueRequired": True,
                "conformsTo": {"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
            },
        )
        for name, (kind, text) in _PARAMETERS.items()
    ]
    properties = {
        "name": "segtrace",
        "version": __version__,
        "license": _licence(crate, LICENCE, _SPDX + LICENCE),
        "programmingLanguage": language,
        "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
        "input": formal,
        "hasPart": _references(p.path for p in parts if p.path.endswith(".smk")),
        "softwareRequirements": _references(software),
    }
    for key, value in properties.items():
        workflow[key] = value


def _licence(crate: "ROCrate", name: str, url: str) -> dict[str, str]:
    _add(crate, url, {"@type": "CreativeWork", "name": name})
    return {"@id": url}


def _software(crate: "ROCrate", subject: Subject) -> list[str]:
    """Ids of the software, with versions of the lock; of torch those that the runs recorded."""
    pins = {name.lower(): version for name, version in digests.pins().items()}
    recorded = sorted({run["machine"]["torch"] for run in _recorded(subject).values()})
    found = [("segtrace", "", __version__)]
    for name, (title, url) in _SOFTWARE.items():
        versions = recorded if name == "torch" else [pins[name]] if name in pins else []
        found += [(title, url, version) for version in versions]
    return [
        _add(
            crate,
            f"#software-{title.lower()}-{version}",
            {"@type": "SoftwareApplication", "name": title, "version": version}
            | ({"url": url} if url else {}),
        ).id
        for title, url, version in found
    ]


# --- the run ------------------------------------------------------------------------------------------


def _recorded(subject: Subject) -> dict[str, dict[str, Any]]:
    """``run.json`` of each run, by its path."""
    wanted = runs.runs_of(subject.experiment, budget=subject.config.budget, seeds=subject.config.seeds)
    paths = [layout.run(run) / "run.json" for run in wanted]
    return {path.as_posix(): read_json(path) for path in paths}


def _add_machines(crate: "ROCrate", subject: Subject) -> None:
    """The machines that the runs recorded; each ``run.json`` mentions its own."""
    known: dict[tuple[tuple[str, str], ...], ContextEntity] = {}
    for path, run in _recorded(subject).items():
        facts = tuple(sorted((str(key), str(value)) for key, value in run["machine"].items()))
        if facts not in known:
            identifier = f"#machine-{len(known) + 1}"
            properties = [
                _add(crate, f"{identifier}-{key}", {"@type": "PropertyValue", "name": key, "value": value})
                for key, value in facts
            ]
            name = "machine: " + ", ".join(value for _, value in facts)
            known[facts] = _add(
                crate, identifier, {"@type": "Product", "name": name, "additionalProperty": properties}
            )
        crate.get(path)["mentions"] = known[facts]


def _values(crate: "ROCrate", subject: Subject) -> Iterator["ContextEntity"]:
    """The values of the workflow's parameters."""
    seeds = list(subject.config.seeds)
    values = {
        "experiment": subject.experiment,
        "budget": subject.config.budget,
        "seeds": seeds[0] if len(seeds) == 1 else seeds,  # a single value stands by itself in RO-Crate 1.1
    }
    for name, value in values.items():
        entity = _add(
            crate,
            f"#{name}",
            {
                "@type": "PropertyValue",
                "name": name,
                "value": value,
                "exampleOfWork": {"@id": f"#parameter-{name}"},
            },
        )
        crate.get(f"#parameter-{name}")["workExample"] = entity
        yield entity


def _data_sets(crate: "ROCrate", subject: Subject) -> Iterator["ContextEntity"]:
    """The raw data by name, licence, address and checksums; none of its bytes."""
    name = load.experiment(subject.experiment).dataset
    data = load.dataset(name)
    receipt = layout.receipt(name).as_posix()
    addresses = {source.archive: source.urls for source in data.sources}
    archives = [
        _add(
            crate,
            f"#archive-{entry['archive']}",
            {
                "@type": "DataDownload",
                "name": entry["archive"],
                "contentSize": str(entry["bytes"]),
                "sha256": entry["sha256"],
            }
            | ({"contentUrl": addresses[entry["archive"]]} if addresses.get(entry["archive"]) else {}),
        )
        for entry in read_json(Path(receipt))["archives"]
    ]
    properties: dict[str, Any] = {
        "@type": "Dataset",
        "name": data.title,
        "identifier": name,
        "description": "The raw data, which is not in this crate; its receipt lists every file with its checksum.",
        "license": _licence(crate, data.licence, data.licence_url or f"#licence-{name}"),
        "subjectOf": {"@id": receipt},
    }
    more = {"url": data.homepage, "citation": data.reference, "distribution": archives}
    yield _add(crate, f"#data-set-{name}", properties | {key: value for key, value in more.items() if value})


def _author(crate: "ROCrate", subject: Subject) -> dict[str, str] | None:
    if subject.author is None:
        return None
    identifier = f"https://orcid.org/{subject.orcid}" if subject.orcid else "#author"
    return {"@id": _add(crate, identifier, {"@type": "Person", "name": subject.author}).id}


def _describe_root(
    crate: "ROCrate", subject: Subject, *, run: "ContextEntity", agent: dict[str, str] | None
) -> None:
    experiment = load.experiment(subject.experiment)
    for url, name in PROFILES:
        _add(crate, url, {"@type": "CreativeWork", "name": name, "version": url.rpartition("/")[2]})
    seeds = ", ".join(str(seed) for seed in subject.config.seeds)
    properties = {
        "name": f"{experiment.title}: comparison table of segmentation methods",
        "description": f"Run of the segtrace experiment {subject.experiment} ({', '.join(experiment.methods)} on "
        f"{experiment.dataset}, budget {subject.config.budget}, seeds {seeds}): tables, scores, splits, training "
        "histories and the provenance record of each. The raw data is described, not contained.",
        "license": {"@id": _SPDX + LICENCE},
        "datePublished": subject.date,
        "conformsTo": _references(url for url, _ in PROFILES),
        "mainEntity": {"@id": MAIN},
        "mentions": run,
    }
    for key, value in (properties | ({"author": agent} if agent else {})).items():
        crate.root_dataset[key] = value
