"""Write the JSON Schema of each file format into ``docs/schemas``; ``make docs`` runs it."""

import json
from pathlib import Path
from typing import Any

from trigan.datasets.splits.split_file import SplitFile
from trigan.interop.submission import Submission
from trigan.records.record import RECORD_MODEL
from trigan.search.space import SearchSpaceSchema
from trigan.studies.study_file import StudySchema

FOLDER = Path(__file__).with_name("schemas")


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> JSON Schema."""
    return {
        "record": RECORD_MODEL.json_schema(),
        "search-space": SearchSpaceSchema.model_json_schema(),
        "split": SplitFile.model_json_schema(),
        "study": StudySchema.model_json_schema(),
        "submission": Submission.model_json_schema(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / f"{name}.json").write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")
