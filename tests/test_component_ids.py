"""Stable identifiers: a class that moves or gets a further argument keeps every hash; a changed default is noticed."""

import functools
import inspect
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from trigan.component_ids import (
    component,
    identifier_of,
    identifier_paths,
    import_object,
    known_defaults,
    source_digest,
    with_defaults,
    with_identifiers,
    with_targets,
)
from trigan.config.compose import compose
from trigan.errors import ConfigError
from trigan.identity import canonical_form, defaults_of, digest
from trigan.records.config_keys import flatten

ROOT = Path(__file__).parents[1]
FIELDS = ROOT / "src/trigan/component_fields.json"

#: Prints run hashes and stage hashes of a few runs that name many components.
HASHES = """
import json
from trigan.config.compose import compose
from trigan.identity import digest
runs = [["strategy=joint"], ["strategy=augment", "architecture=cgan"], ["strategy=features"], ["strategy=baseline"]]
composed = [compose(words) for words in runs]
print(json.dumps([[one.run_hash("f"), digest(one.build().strategy)] for one in composed]))
"""


def hashes(tree: Path) -> list[list[str]]:
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    output = subprocess.run(
        [sys.executable, "-P", "-c", HASHES], capture_output=True, text=True, check=True, env=environment, cwd=tree
    )
    digests: list[list[str]] = json.loads(output.stdout)
    return digests


@pytest.fixture(scope="module")
def before() -> list[list[str]]:
    return hashes(ROOT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source that a test may change."""
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def replace(tree: Path, pattern: str, replacement: str) -> None:
    """Replace a pattern in every file of the copy; at least one must have it."""
    changed = 0
    for path in [*tree.rglob("*.py"), *tree.rglob("*.yaml")]:
        text, count = re.subn(pattern, replacement, path.read_text())
        if count:
            path.write_text(text)
            changed += count
    assert changed


def test_a_class_that_moves_or_gets_a_field_keeps_all_hashes(tree: Path, before: list[list[str]]) -> None:
    gans = tree / "src/trigan/networks/gans"
    (gans / "dcgan.py").rename(tree / "src/trigan/networks/deep.py")
    replace(tree, r"trigan\.networks\.gans\.dcgan\b", "trigan.networks.deep")
    replace(tree, r"\bDCGAN\b", "DeepGAN")
    replace(tree, r"\bFeatureMatching\b", "MatchedFeatures")
    replace(tree, r"(class DeepGAN:\n(?:.*\n)*?)(    width: int)", r"\1    further: float = 1.5\n\2")
    replace(tree, r"(class Adam(?:.*\n)*?)(    betas: )", r"\1    further: float = 1.5\n\2")
    assert hashes(tree) == before


def test_another_version_of_a_component_is_another_run(tree: Path, before: list[list[str]]) -> None:
    replace(tree, r'"classifier/small_cnn@1"', '"classifier/small_cnn@2"')
    assert not {run for run, _ in hashes(tree)} & {run for run, _ in before}


def test_every_identifier_leads_to_its_component() -> None:
    assert len(identifier_paths()) > 100
    assert not [path for path in identifier_paths().values() if "__init__" in path]  # as a config may name it
    assert {identifier: identifier_of(import_object(path)) for identifier, path in identifier_paths().items()} == {
        identifier: identifier for identifier in identifier_paths()
    }


def test_every_target_of_the_configs_has_an_identifier() -> None:
    words = [path.read_text() for path in (ROOT / "conf").rglob("*.yaml")]
    targets = {target for text in words for target in re.findall(r"_target_: (trigan\.[\w.]+)", text)}
    assert len(targets) > 80
    assert not [target for target in targets if identifier_of(import_object(target)) is None]


def test_no_default_changes_without_a_version() -> None:
    """Hashes leave out what equals a default, so another default must come with another version of the component.

    New components and new fields are added to the file with ``python tests/test_component_ids.py``.
    """
    known, found = json.loads(FIELDS.read_text()), fields()
    for identifier, defaults in known.items():
        if identifier in found:
            now = found[identifier]
            changed = {name: now.get(name) for name, value in defaults.items() if now.get(name, "absent") != value}
            assert not changed, f"{identifier}: {changed}; give it the next version, or leave the defaults"
    assert found == known, "run python tests/test_component_ids.py"


def fields() -> dict[str, dict[str, object]]:
    """The defaults as hashes have them, but 0.0 stays a float, as it is in a config."""
    found = {}
    for identifier, path in sorted(identifier_paths().items()):
        target = import_object(path)
        given = {name: one.default for name, one in inspect.signature(target).parameters.items()}
        found[identifier] = {
            name: given[name] if isinstance(given[name], float) and math.isfinite(given[name]) else form
            for name, form in defaults_of(target).items()
        }
    return found


def test_fields_that_came_after_a_record_have_their_defaults() -> None:
    known = {"_id_": "recipe/recipe@1", "batch": 32, "optimizer": {"_id_": "optimizer/adam@1", "learning_rate": 0.5}}
    filled = with_defaults({"strategy": [known]})["strategy"][0]
    assert (filled["batch"], filled["clip"], filled["criterion"]) == (
        32,
        None,
        {"_id_": "classifier_loss/cross_entropy@1"},
    )
    assert filled["ema"] == {"_id_": "average/ema@1", **known_defaults()["average/ema@1"]}
    assert filled["optimizer"]["learning_rate"] == 0.5
    assert {"weight_decay", "schedule"} <= filled["optimizer"].keys()
    assert with_defaults({"_id_": "own/unknown@1", "a": 1}) == {"_id_": "own/unknown@1", "a": 1}
    assert isinstance(known_defaults()["augmentation/classic@1"]["color_jitter"], float)


@pytest.mark.parametrize("strategy", ["baseline", "augment", "features", "joint"])
def test_composed_configs_have_every_field_or_its_default(strategy: str) -> None:
    """So what an earlier record lacks is equal to what a new one has."""
    config = with_identifiers(compose([f"strategy={strategy}"]).config)
    without = drop_defaults(config)
    assert without != config
    assert flatten(with_defaults(without)) == flatten(with_defaults(config))


def drop_defaults(node: object) -> object:
    """A config without the fields of components that equal their default."""
    if isinstance(node, list):
        return [drop_defaults(item) for item in node]
    if not isinstance(node, dict):
        return node
    defaults = known_defaults().get(node.get("_id_", ""), {})
    return {key: drop_defaults(value) for key, value in node.items() if key not in defaults or defaults[key] != value}


def test_a_record_names_components_and_is_built_again() -> None:
    config = {"a": [{"_target_": "trigan.networks.gans.dcgan.DCGAN", "width": 8}], "b": {"_target_": "torch.nn.ReLU"}}
    stored = with_identifiers(config)
    assert stored == {"a": [{"_id_": "architecture/dcgan@1", "width": 8}], "b": {"_target_": "torch.nn.ReLU"}}
    assert with_targets(stored) == config


def test_a_record_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"architecture/dcgan@9: this trigan has architecture/dcgan@1"):
        with_targets({"_id_": "architecture/dcgan@9"})
    with pytest.raises(ConfigError, match="no component"):
        with_targets({"_id_": "architecture/unheard_of@1"})


@pytest.mark.parametrize("identifier", ["dcgan@1", "architecture/dcgan", "architecture/dcgan@0", "a b/c@1", ""])
def test_identifiers_have_one_form(identifier: str) -> None:
    with pytest.raises(ValueError, match="form"):
        component(identifier)


def test_a_users_module_counts_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = []
    for text in ("class Net: ...\n", "class Net:\n    pass\n", "class Net: ...\n"):
        (tmp_path / "users_package").mkdir(exist_ok=True)
        (tmp_path / "users_package" / "net.py").write_text(text)
        digests.append(digest(functools.partial(import_object("users_package.net.Net"), 1)))
        source_digest.cache_clear()
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_a_class_of_a_notebook_cell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "notebook_cell", ModuleType("notebook_cell"))
    monkeypatch.setattr(Users, "__module__", "notebook_cell")
    with pytest.raises(ConfigError, match=r"^notebook_cell has no source file.* import that$"):
        digest({"architecture": Users})


class Users:
    class Inner: ...


def test_import_paths_of_nested_classes_and_of_modules_that_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_module.py").write_text("import not_installed\n\nclass Net: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_object(f"{__name__}.Users.Inner") is Users.Inner
    for path, missing in {
        "failing_module.Net": "not_installed",
        "absent.Net": "absent",
        "absent.a.B": "absent",
    }.items():
        with pytest.raises(ModuleNotFoundError, match=f"'{missing}'"):
            import_object(path)
    with pytest.raises(AttributeError, match="Absent"):
        import_object("trigan.rng.Absent")


def test_a_class_of_ours_without_an_identifier_is_refused() -> None:
    from trigan.datasets.splits.splitter import Parts

    with pytest.raises(TypeError, match="no @component identifier"):
        canonical_form({"part": Parts})


if __name__ == "__main__":
    FIELDS.write_text(json.dumps(fields(), indent=1, sort_keys=True) + "\n")
