"""The published JSON Schemas are those of the models."""

import importlib.util
import json
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_published_schemas_are_current() -> None:
    spec = importlib.util.spec_from_file_location("build_schemas", DOCS / "build_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    schemas = module.schemas()
    assert set(schemas) == {path.stem for path in (DOCS / "schemas").glob("*.json")}
    for name, schema in schemas.items():
        published = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
        assert json.loads(json.dumps(schema)) == published, f"run python docs/build_schemas.py ({name})"
