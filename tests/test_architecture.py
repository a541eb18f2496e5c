"""The house's rules: who may import whom, and that the command answers at once."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "segtrace"
PHASES = {
    "acquire",
    "index",
    "prepare",
    "validate",
    "split",
    "train",
    "predict",
    "score",
    "compare",
    "report",
}
BARE = {"torch", "numpy", "scipy", "monai", "einops", "safetensors"}
#: Imported by these rooms and ground-floor modules alone; a trailing slash names a package.
ALLOWED = {
    "SimpleITK": {
        "images.py",
        "overlays.py",
        "preparation.py",
        "resample.py",
        "datasets/",
        "index/",
        "prepare/",
        "score/",
        "predict/export.py",
        "predict/command.py",
        "report/",
    },
    "pandera": {"tables.py", "columns.py", "schemas_of_cases.py", "schemas_of_results.py"},
    "pydantic": {"config/"},
    "great_expectations": {"gates.py"},
    "statsmodels": {"signs.py"},
    "skimage": {"report/"},
}


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at any level of nesting."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else ""


def test_source_imports_neither_snakemake_nor_dvc() -> None:
    for path in files():
        outside = {name.split(".")[0] for name in imports(path)}
        assert not outside & {"snakemake", "dvc"}, path


def test_no_phase_imports_another() -> None:
    for path in files():
        if room(path) in PHASES:
            others = {n.split(".")[1] for n in imports(path) if n.startswith("segtrace.")} & PHASES - {
                room(path)
            }
            assert not others, f"{path} imports {others}"


def test_trust_imports_no_phase() -> None:
    for path in (SOURCE / "trace").rglob("*.py"):
        named = {name.split(".")[1] for name in imports(path) if name.startswith("segtrace.")}
        assert not named & PHASES, f"{path} imports {named & PHASES}"


def test_trusts_floor_imports_no_room_of_it_and_no_room_another() -> None:
    """What phases record and Snakemake compares must not change with a command that looks at it."""
    rooms = {path.parent.name for path in (SOURCE / "trace").glob("*/*.py")}
    assert rooms == {"explain", "why", "reproduce", "export", "doctor", "diff"}
    for path in (SOURCE / "trace").rglob("*.py"):
        own = path.relative_to(SOURCE / "trace").parts[0]
        named = {name.split(".")[2] for name in imports(path) if name.startswith("segtrace.trace.")}
        assert not named & (rooms - {own}), f"{path} imports {named & rooms}"


def test_ground_floor_imports_no_room() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir()} - {"__pycache__"}
    for path in SOURCE.glob("*.py"):
        if path.name in ("cli.py", "__main__.py"):
            continue
        named = {n.split(".")[1] for n in imports(path) if n.startswith("segtrace.")}
        assert not named & rooms, f"{path} imports {named & rooms}"


@pytest.mark.parametrize("library", sorted(ALLOWED))
def test_heavy_libraries_stay_in_their_rooms(library: str) -> None:
    for path in files():
        relative = str(path.relative_to(SOURCE))
        if library in {name.split(".")[0] for name in imports(path)}:
            allowed = any(
                relative == place or (place.endswith("/") and relative.startswith(place))
                for place in ALLOWED[library]
            )
            assert allowed, f"{relative} imports {library}"


def reached(roots: set[str]) -> set[Path]:
    """Files of the package that modules reach by import."""
    from segtrace import digests

    return set(digests.closure(sorted(roots)))


def bare_roots() -> set[str]:
    roots = {
        "segtrace.train.loop",
        "segtrace.train.__main__",
        "segtrace.predict.cases",
        "segtrace.store",
        "segtrace.checkpoint",
    }
    for package in ("networks", "losses", "metrics"):
        roots |= {
            f"segtrace.{package}.{p.stem}" for p in (SOURCE / package).glob("*.py") if p.stem != "__init__"
        }
        roots.add(f"segtrace.{package}")
    return roots


def test_training_and_prediction_run_on_a_bare_machine() -> None:
    standard = sys.stdlib_module_names
    for path in reached(bare_roots()):
        outside = {name.split(".")[0] for name in imports(path)} - standard - BARE - {"segtrace"}
        if path.name == "progress.py":
            outside -= {"rich"}  # only on a terminal, and only if it is there
        if path.name == "tracking.py":
            outside -= {"dvclive"}  # only where it is asked for
        if path.name == "_scan_numba.py":
            outside -= {"numba"}  # only on a processor, and only if it is there
        if path.name == "_scan_triton.py":
            outside -= {"triton"}  # only on a GPU, and only if it is there
        assert not outside, f"{path} imports {outside}, which a bare GPU machine lacks"


def test_metrics_need_numpy_and_scipy_alone() -> None:
    for path in (SOURCE / "metrics").glob("*.py"):
        outside = (
            {name.split(".")[0] for name in imports(path)}
            - sys.stdlib_module_names
            - {"segtrace", "numpy", "scipy"}
        )
        assert not outside, f"{path} imports {outside}"


def test_imports_have_no_circle() -> None:
    """Each file's import closure must not lead back to the file."""
    from segtrace import digests

    graph: dict[Path, set[Path]] = {}
    for path in files():
        targets = set()
        for name in imports(path):
            target = digests._module_file(name)
            if target is not None and target != path and target.name != "__init__.py":
                targets.add(target)
        graph[path] = targets
    state: dict[Path, int] = {}

    def visit(node: Path, trail: list[Path]) -> None:
        state[node] = 1
        for target in sorted(graph.get(node, ())):
            assert state.get(target) != 1, "circle: " + " -> ".join(p.stem for p in [*trail, node, target])
            if target not in state:
                visit(target, [*trail, node])
        state[node] = 2

    for path in sorted(graph):
        if path not in state:
            visit(path, [])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from segtrace.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch','numpy','pandas','pandera','pydantic','SimpleITK','great_expectations','monai','snakemake','dvc'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "LOADED []" in output


@pytest.mark.parametrize("phase", sorted(PHASES))
def test_each_phase_parses_its_arguments_without_heavy_imports(phase: str) -> None:
    code = (
        "import sys\n"
        "from segtrace.cli import main\n"
        f"try:\n    main(['{phase}', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch','pandas','pandera','pydantic','SimpleITK','great_expectations','monai'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "LOADED []" in output


def test_every_phase_root_exists() -> None:
    from segtrace import digests

    for phase, roots in digests.PHASE_ROOTS.items():
        for root in roots:
            assert digests._module_file(root) is not None, f"{phase}: {root}"


def test_a_comment_changes_no_code_digest_and_a_line_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segtrace import digests

    package = tmp_path / "segtrace"
    package.mkdir()
    (package / "__init__.py").write_text("")
    module = package / "metrics.py"
    monkeypatch.setattr(digests, "PACKAGE", package)
    monkeypatch.setitem(digests.PHASE_ROOTS, "score", ("segtrace.metrics",))

    def digest_of(text: str) -> str:
        module.write_text(text)
        digests._parse.cache_clear()
        digests._modules.cache_clear()
        return digests.code_digest("score")

    base = digest_of('def f(x: int) -> int:\n    """Double."""\n    return 2 * x\n')
    assert (
        digest_of('# why\ndef f(x: int) -> int:\n    """Two times x."""\n    return 2 * x  # twice\n') == base
    )
    assert digest_of('def f(x: int) -> int:\n    """Double."""\n    return 3 * x\n') != base


def test_a_relative_import_is_part_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segtrace import digests

    room = tmp_path / "segtrace" / "networks"
    (room / "inner").mkdir(parents=True)
    for folder in (tmp_path / "segtrace", room, room / "inner"):
        (folder / "__init__.py").write_text("")
    (room / "net.py").write_text("from .helper import SLOPE\nfrom .inner import deep\nfrom . import beside\n")
    (room / "helper.py").write_text("from .. import ground\nSLOPE = 0.3\n")
    (room / "beside.py").write_text("")
    (room / "inner/deep.py").write_text("from ..other import x\n")
    (room / "other.py").write_text("x = 1\n")
    (tmp_path / "segtrace/ground.py").write_text("")
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "segtrace")
    digests._parse.cache_clear()
    reached = {path.name for path in digests.closure(["segtrace.networks.net"])}
    assert {"net.py", "helper.py", "beside.py", "deep.py", "other.py", "ground.py"} <= reached
