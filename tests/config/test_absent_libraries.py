"""What is wrong is refused without the imports of torch and Lightning, and exactly as it is with them."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from study_fixture import finish, write_study

from trigan.config.compose import Composer, unresolved
from trigan.config.nodes import walk
from trigan.errors import TriganError
from trigan.studies.job_cache import cache_path, save_jobs
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study

#: Runs a command in a new interpreter and ends with its exit code and what it imported, as the last line.
_COMMAND = """
import json, sys
from trigan.commands.main import main
code = main(sys.argv[1:])
heavy = [name for name in ("torch", "pytorch_lightning", "sklearn", "wandb") if name in sys.modules]
print(json.dumps([code, heavy]))
"""


def imported_by(words: list[str], folder: Path) -> tuple[int, list[str], str]:
    """Exit code of a command, the heavy libraries it imported, and its standard error."""
    done = subprocess.run([sys.executable, "-c", _COMMAND, *words], cwd=folder, capture_output=True, text=True)
    code, heavy = json.loads(done.stdout.splitlines()[-1])
    return code, heavy, done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("run recipe.steps=-1", "recipe.steps: -1 must be at least 1"),
        ("run regime.labels_per_class=abc", "regime.labels_per_class=abc: expected an int or null"),
        ("run classifier=nonexistent", "classifier=nonexistent: no such choice"),
        ("run trial=x", "trial=x: expected an int >= 0"),
        ("run strategy=joint architecture.width=0", "architecture.width: 0 must be an integer of at least 1"),
        ("run trainer.precision=half", "trainer.precision=half: expected one of 32-true"),
        ("run data=folder data.root=nowhere", "data.root=nowhere does not exist"),
        ("run data=npz data.root=nowhere.npz", "data.root=nowhere.npz does not exist"),
        ("run -m trial=0,1 recipe.steps=-1", "recipe.steps: -1 must be at least 1"),
        ("study demo recipe.steps=-1", "recipe.steps: -1 must be at least 1"),
        ("verdict recipe.steps=-1", "recipe.steps: -1 must be at least 1"),
        ("verdict data=folder data.root=nowhere", "data.root=nowhere does not exist"),
        ("search baseline --trials 1 regime.labels_per_class=abc", "regime.labels_per_class=abc: expected an int"),
        ("audit demo recipe.steps=-1", "recipe.steps: -1 must be at least 1"),
        ("data check recipe.steps=-1", "recipe.steps: -1 must be at least 1"),
        ("predict nothing nowhere.png", "nowhere.png does not exist"),
        ("sample nothing --per-class 1", "RUN=nothing: no run under"),
        ("table demo", "study demo: no run is finished under"),
        ("report demo", "study demo: no run is finished under"),
        ("compare", "outputs/runs: there is no finished run to compare"),
    ],
)
def test_wrong_value_is_refused_without_imports(line: str, told: str, tmp_path: Path) -> None:
    code, heavy, error = imported_by(line.split(), tmp_path)
    assert (code, heavy) == (2, [])
    assert error.count("\n") == 1
    assert told in error


@pytest.mark.parametrize(
    "line", ["--version", "--help", "run --help", "--shell-completion query=bash", "run --cfg job"]
)
def test_texts_need_no_imports(line: str, tmp_path: Path) -> None:
    assert imported_by(line.split(), tmp_path)[:2] == (0, [])


def test_a_finished_run_is_found_without_imports(tmp_path: Path) -> None:
    line = ["run", "debug=fast", "logger=none", "callbacks=quiet", "classifier.width=4"]
    code, heavy, _ = imported_by(line, tmp_path)
    assert code == 0
    assert "torch" in heavy
    code, heavy, again = imported_by(line, tmp_path)
    assert (code, heavy) == (0, [])
    assert "this run is finished" in again
    (record,) = tmp_path.glob("outputs/debug/runs/*/record.json")
    text = record.read_text()
    record.write_text(text.replace('"accuracy": 0', '"accuracy": 1', 1))
    assert imported_by(line, tmp_path)[:2] == (3, []), "a damaged record is told, not found"
    record.write_text(text)
    assert "torch" in imported_by([*line, "--force"], tmp_path)[1]


def test_a_finished_study_is_told_without_imports(tmp_path: Path) -> None:
    rows = [{"name": "bare", "set": ["augmentation=none"]}, {"name": "gan", "set": ["strategy=augment"]}]
    study = {"title": "Two", "trials": 3, "fixed": ["recipe.steps=5"], "reference": "bare", "rows": rows}
    path, words = write_study(tmp_path / "two", study), [f"paths.outputs={tmp_path}", "logger=none"]
    plan = StudyPlan(Composer(), read_study(path), words)
    jobs = plan.jobs()
    finish(jobs.runnable)
    save_jobs(cache_path(read_study(path), words, None), jobs)
    code, heavy, told = imported_by(["study", str(path), *words], tmp_path)
    assert (code, heavy) == (0, []), told
    assert "6 jobs: 0 done, 6 found finished" in told
    assert (tmp_path / "studies" / "two" / "table.md").is_file()


def test_changed_images_are_another_run(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    labels = np.arange(120) % 2

    def write() -> None:
        np.savez(tmp_path / "own.npz", train_images=images, train_labels=labels)

    write()
    line = ["run", "debug=fast", "logger=none", "callbacks=quiet", "data=npz", "data.root=own.npz"]
    runs = [imported_by(line, tmp_path)[2] for _ in range(2)]
    images[0] += 1
    write()
    runs.append(imported_by(line, tmp_path)[2])
    assert ["this run is finished" in text for text in runs] == [False, True, False]


def test_a_placeholder_answers_no_question() -> None:
    """An error that depends on a library is not told; one that does not is told with its type and text."""
    told = _in_a_new_interpreter(
        """
        from trigan.absent_libraries import without_libraries
        from trigan.errors import ConfigError, DataError

        def refuse(error, holds=True):
            if holds:
                raise error

        def ask(question):
            import numpy
            refuse(ConfigError("wrong"), question(numpy))

        def wrapped():
            try:
                raise TypeError("of a placeholder")
            except TypeError as error:
                raise ConfigError("wrong") from error

        for decide in (
            lambda: ask(lambda numpy: numpy.e > 2),
            lambda: ask(lambda numpy: isinstance(1, numpy.ndarray)),
            lambda: ask(lambda numpy: not numpy.ones(3).all()),
            lambda: ask(lambda numpy: len(numpy.__all__)),
            wrapped,
            lambda: refuse(DataError("gone")),
            lambda: {"answer": [1]},
        ):
            try:
                print(without_libraries(lambda: None, decide))
            except Exception as error:
                print(repr(error))
        """
    )
    assert told == ["None"] * 5 + ["DataError('gone')", "{'answer': [1]}"]


def test_a_library_that_is_not_installed_stays_missing() -> None:
    (told,) = _in_a_new_interpreter(
        """
        from trigan.absent_libraries import without_libraries

        def decide():
            try:
                import no_such_package
            except ModuleNotFoundError as error:
                return error.name

        print(without_libraries(lambda: None, decide))
        """
    )
    assert told == "no_such_package"


#: Values that most settings refuse.
_WRONG = ("-1", "0", "1.5", "1000000000000", "abc", "null")


@pytest.mark.parametrize("strategy", [pytest.param("features", marks=pytest.mark.slow), "joint"])
def test_what_is_refused_without_libraries_is_refused_with_them_in_the_same_words(strategy: str) -> None:
    composer = Composer()
    plain = unresolved(composer.base(composer.parse([f"strategy={strategy}"])))
    leaves = [key for key, value in walk(plain) if isinstance(value, int | float | str) and "_target_" not in key]
    lines = [f"{key}={value}" for key in leaves for value in _WRONG if not key[-1].isdigit()][::17]
    early = _in_a_new_interpreter(
        f"""
        import json
        from trigan.config.compose import Composer
        from trigan.errors import TriganError

        composer = Composer()
        for line in {lines}:
            try:
                composer.check(["strategy={strategy}", line])
                print()
            except TriganError as error:
                print(" ".join(str(error).split()))
        """
    )
    assert len(early) == len(lines)
    assert sum(map(bool, early)) > len(lines) / 5
    for line, text in zip(lines, early, strict=True):
        try:
            composer.compose([f"strategy={strategy}", line]).load_data()
            told = ""
        except TriganError as error:
            told = " ".join(str(error).split())
        assert text == told, line


def _in_a_new_interpreter(code: str) -> list[str]:
    """The lines that some code prints where no library is imported."""
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
