"""Which module may import which, and other rules that keep the rooms apart."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import tf_directpred

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "tf_directpred"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ROOMS = {"predictors", "networks", "data", "probes", "theory"}  # folders; any other room is one module

# What each room may import of ours, besides itself and (all but config and theory) registry.
ALLOWED = {
    "registry": set(),
    "config": set(),
    "run_folder": set(),
    "checkpoint": set(),
    "distribution": set(),
    "optim": set(),
    "export": set(),
    "rematerialization": set(),
    "probes": set(),
    "losses": set(),
    "predictors": set(),
    "networks": set(),
    "data": set(),
    "theory": set(),
    "model": {"losses", "predictors", "rematerialization"},
    "callbacks": {"probes"},
    "train": {
        "config", "model", "networks", "predictors", "data", "losses", "optim", "callbacks", "run_folder",
        "checkpoint", "distribution",
    },
    "evaluate": {"train", "data", "probes", "config", "run_folder", "checkpoint"},
    "linear_evaluation": {"train", "data", "probes", "config"},
    "report": {"config", "data", "probes", "theory", "run_folder", "checkpoint"},
    "theory_check": {"model", "predictors", "losses", "optim", "theory"},
}
ALLOWED["main"] = set(ALLOWED)
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def imports(path, anywhere=True):
    """Full names of what a module imports: at its top level, or anywhere in it."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if anywhere else top_level(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(body):
    """The statements that run when the module is imported, those under `if`, `try` and `with` too."""
    for node in body:
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for block in ("body", "orelse", "finalbody"):
                yield from top_level(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from top_level(handler.body)


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def importers(*packages, anywhere=True):
    """Modules of ours that import one of `packages` or something below it."""

    def meant(name):
        return any(name == package or name.startswith(package + ".") for package in packages)

    return {module for module, path in MODULES.items() if any(map(meant, imports(path, anywhere)))}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"tf_directpred"}))
def test_rooms_import_only_what_they_may(module):
    here = room(module)
    allowed = ALLOWED[here] | {here} | (set() if here in ("config", "theory") else {"registry"})
    ours = {name for name in imports(MODULES[module]) if name.split(".")[0] == "tf_directpred"}
    assert {room(name) for name in ours} <= allowed


def test_the_package_itself_imports_nothing_at_once():
    assert set(imports(MODULES["tf_directpred"])) <= {"importlib"}


def test_only_config_and_main_know_flags():
    assert importers("absl") <= {"tf_directpred.config", "tf_directpred.main"}


def test_only_pictures_and_reports_import_matplotlib():
    drawing = {m for m in importers("matplotlib") if not {"portraits", "report"} & set(m.split("."))}
    assert not drawing


def test_heavy_packages_are_imported_where_they_are_needed():
    assert not importers("sklearn", "tensorflow_datasets", anywhere=False)


def test_theory_knows_no_tensorflow():
    assert not {m for m in importers("tensorflow", "keras") if room(m) == "theory"}


FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").glob("*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_short_and_named_after_what_is_in_it(path):
    assert len(path.read_text().splitlines()) < 400
    assert not FORBIDDEN_NAMES & set(path.stem.split("_"))
    checks = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
    assert path.parent == ROOT / "tests" or not checks


def test_readme_mentions_every_flagfile():
    readme = (ROOT / "README.md").read_text()
    configs = {path.name for path in (ROOT / "configs").glob("*.cfg")}
    assert configs and {name for name in configs if name.removesuffix(".cfg") not in readme} == set()


FRESH = """
import sys
import tf_directpred
import tf_directpred.theory
heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'absl'}
loaded = sorted({name.split('.')[0] for name in sys.modules} & heavy)
sys.exit(' '.join(loaded) or 0)
"""


def test_the_package_and_its_theory_load_no_tensorflow():
    fresh = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, capture_output=True, text=True)
    assert fresh.returncode == 0, fresh.stderr


@pytest.mark.parametrize("module", ["tf_directpred", "tf_directpred.predictors", "tf_directpred.networks"])
def test_public_names_resolve(module):
    module = importlib.import_module(module)
    assert module.__all__ and all(getattr(module, name) is not None for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))


def test_the_names_that_other_code_relies_on():
    names = {"Config", "NonContrastive", "LARS", "PREDICTORS", "ENCODERS", "SOURCES", "LOSSES"}
    assert names <= set(tf_directpred.__all__)
    assert callable(importlib.import_module("tf_directpred.data").augment)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        tf_directpred.Nothing
