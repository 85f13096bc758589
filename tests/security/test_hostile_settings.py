"""Studies, settings files, groups and search spaces of strangers run nothing, write nowhere and read no secret."""

from pathlib import Path
from typing import Any

import pytest
from few_steps import small
from hostile import RESOLVERS, SECRET, Attack

from trigan.commands.main import main
from trigan.config.compose import compose
from trigan.config.settings_file import read_plain

SPACE = {"recipe.optimizer.learning_rate": {"default": 0.001, "log_uniform": [0.0001, 0.01]}}


def study(**parts: Any) -> dict[str, Any]:
    return {"trials": 1, "rows": [{"name": "bare", "set": ["strategy=baseline"]}], **parts}


def quoted(text: str) -> str:
    return "'" + text.replace("'", r"\'") + "'"


@pytest.mark.parametrize("name", RESOLVERS)
def test_resolvers_in_a_study(name: str, attack: Attack) -> None:
    text = RESOLVERS[name]
    attack.write("one/study.yaml", study(fixed=["data=folder", f"data.root={quoted(text)}"]))
    attack.write("two/study.yaml", study(rows=[{"name": text, "set": ["strategy=baseline"]}]))
    attack.write("three/study.yaml", study(scales={text: {}}))
    attack.write(f"{text.replace('/', '')}/study.yaml", study())
    for folder in ("one", "two", "three", text.replace("/", "")):
        for option in ("--dry-run", "--status", "--jobs-file=jobs"):
            assert "a file refers to other keys only" in attack.refused("study", f"./{folder}", option)
    assert not (attack.folder / "jobs").exists()


@pytest.mark.parametrize("name", RESOLVERS)
def test_resolvers_in_settings_and_spaces(name: str, attack: Attack) -> None:
    text = RESOLVERS[name]
    attack.write("best.yaml", {"settings": [f"row={quoted(text)}"]})
    attack.write("space.yaml", {"strategy": [f"row={quoted(text)}"], "space": SPACE})
    attack.write(
        "values.yaml", {"strategy": ["strategy=baseline"], "space": {"row": {"default": text, "choice": [text, "a"]}}}
    )
    for words in (
        ["run", "--settings", "best.yaml", *small()],
        ["run", "--settings", "best.yaml", "--cfg", "job", "--resolve"],
        ["run", "-m", "--settings", "best.yaml", *small(), "trial=0,1"],
        ["search", "space.yaml", "--trials", "1", *small()],
        ["search", "values.yaml", "--trials", "1", *small()],
        ["wandb-sweep", "space.yaml", *small()],
    ):
        assert "a file refers to other keys only" in attack.refused(*words)


@pytest.mark.parametrize("name", RESOLVERS)
def test_resolvers_in_a_folder_of_groups(name: str, attack: Attack) -> None:
    node = {"_target_": "trigan.networks.classifiers.cnn.SmallCNN", "width": 8, "dropout": RESOLVERS[name]}
    attack.write("groups/classifier/mine.yaml", node)
    for words in ([], ["--cfg", "job"], ["--cfg", "job", "--resolve"], ["--info", "config"]):
        line = attack.refused("run", "--config-dir", "groups", "classifier=mine", *words)
        assert "classifier.dropout: " in line
    attack.write("one/study.yaml", study(fixed=["classifier=mine"]))
    assert "classifier.dropout: " in attack.refused("study", "./one", "--config-dir", "groups", "--dry-run")


@pytest.mark.parametrize(
    "setting",
    [
        "runtime.allow=[evil]",
        "++runtime.allow=[evil]",
        "runtime={allow:[evil]}",
        "paths.outputs=../elsewhere",
        "paths={outputs:/tmp/elsewhere}",
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.setup=['touch hacked']",
    ],
)
def test_what_only_the_command_line_may_say(setting: str, attack: Attack) -> None:
    words = [setting, "classifier._target_=evil.Net"]
    attack.write("one/study.yaml", study(fixed=words))
    attack.write("best.yaml", {"settings": words})
    attack.write("space.yaml", {"strategy": words, "space": SPACE})
    key = setting.partition("=")[0]
    attack.write("keys.yaml", {"strategy": [], "space": {key: {"default": "evil", "choice": ["evil", "b"]}}})
    for command in (
        ["study", "./one", "--dry-run"],
        ["run", "--settings", "best.yaml"],
        ["run", "-m", "--settings", "best.yaml", "trial=0,1"],
        ["search", "space.yaml", "--trials", "1"],
        ["search", "keys.yaml", "--trials", "1"],
    ):
        assert "may be given on the command line only" in attack.refused(*command)


def test_a_folder_of_groups_widens_nothing(attack: Attack) -> None:
    attack.write(
        "groups/debug/sly.yaml", "# @package _global_\nruntime: {allow: [evil]}\nclassifier: {_target_: evil.Net}\n"
    )
    attack.write("groups/debug/out.yaml", "# @package _global_\npaths: {outputs: ../elsewhere}\n")
    attack.write("groups/debug/far.yaml", "# @package _global_\npaths: {cache: /tmp/elsewhere}\n")
    attack.write("groups/debug/indirect.yaml", "# @package _global_\nstudy: /tmp/far\npaths: {runs: '${study}/x'}\n")
    for choice, line in (
        ("sly", "command line only"),
        ("out", "paths.outputs=../elsewhere: outside the current folder"),
        ("far", "paths.cache=/tmp/elsewhere: outside the current folder"),
        ("indirect", "paths.runs=${study}/x: outside the current folder"),
    ):
        assert line in attack.refused("run", "--config-dir", "groups", f"debug={choice}")
    own = ["debug=out", "paths.outputs=mine", "--config-dir", "groups", "--cfg", "job"]
    assert main(["run", *own]) == 0, "the user's own words count"


@pytest.mark.parametrize(
    "target",
    ["evil.Net", "numpy.load", "trigan.tracking.curve_files.MetricsFile", "trigan.execution.pool.LocalEngine"],
)
def test_targets_in_files(target: str, attack: Attack) -> None:
    attack.write("groups/classifier/mine.yaml", {"_target_": target})
    attack.write("one/study.yaml", study(fixed=[f"classifier={{_target_: {target}}}"]))
    for words in (["run", "--config-dir", "groups", "classifier=mine"], ["study", "./one", "--dry-run"]):
        assert f"{target}: not on the allow-list" in attack.refused(*words)


@pytest.mark.parametrize("text", ["a\ntouch hacked\n", "a\rb", "\x1b]0;hacked\x07", "a\u202eb", "a\x00b", "a\u2028b"])
def test_names_with_control_characters(text: str, attack: Attack) -> None:
    for number, parts in enumerate(
        (
            study(rows=[{"name": text, "set": ["strategy=baseline"]}]),
            study(columns=[{"name": text, "set": []}]),
            study(scales={text: {}}),
            study(fixed=[f"data.root={quoted(text)}"]),
        )
    ):
        attack.write(f"{number}/study.yaml", parts)
        line = attack.refused("study", f"./{number}", "--jobs-file", "jobs")
        assert text not in line
    assert not (attack.folder / "jobs").exists()


def test_a_line_break_of_ones_own_is_no_second_command(attack: Attack) -> None:
    attack.write("one/study.yaml", study())
    line = attack.refused(
        "study", "./one", "--jobs-file", "jobs", "study=x", "data=folder", "data.root='a\ntouch hacked'"
    )
    assert "study=x: study one sets study itself" in line
    line = attack.refused("study", "./one", "--jobs-file", "jobs", "logger.wandb.project='a\ntouch hacked'")
    assert "line break" in line


@pytest.mark.parametrize("name", ["../../elsewhere", "..", "a/b"])
def test_scales_are_no_paths(name: str, attack: Attack) -> None:
    attack.write("one/study.yaml", study(scales={name: {}}))
    assert "a name that a folder can have" in attack.refused("study", "./one", "--dry-run")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CYCLE = "a: &a [x, *a]\n"


@pytest.mark.parametrize(("text", "line"), [(BOMB, "line 6: anchors expand"), (CYCLE, "line 1: anchors expand")])
def test_alias_bombs(text: str, line: str, attack: Attack) -> None:
    assert len(text) < 400
    for name in ("one/study.yaml", "best.yaml", "space.yaml", "groups/classifier/mine.yaml"):
        attack.write(name, text)
    for words in (
        ["study", "./one", "--dry-run"],
        ["run", "--settings", "best.yaml"],
        ["search", "space.yaml", "--trials", "1"],
        ["run", "--config-dir", "groups", "classifier=mine"],
    ):
        assert line in attack.refused(*words)


#: A mistake of YAML, and what the line says of it beside the file.
MISTAKES = {
    "a: 1\n\tb: 2\n": "line 2, column 1",
    'a: 1\nb: "x\n': "line 3, column 1",
    "a: 1\nb: [\n  {c: 1, d: 2, c: 1}]\n": "line 3, column 16",
    "? a\n: 1\nb: &b {c: 1}\nd: {<<: *b, e: 1, e: 2}\n": "line 4, column 19",
    "b: 1\na: 1\nb: 1\n": "line 3, column 1",
    "# \u00fc\n# caf\u00e9\na: 1\n": "line 1, column 3: is not UTF-8",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_of_yaml_have_file_line_and_column(text: str, attack: Attack) -> None:
    for name, words in {
        "one/study.yaml": ["study", "./one", "--dry-run"],
        "best.yaml": ["run", "--settings", "best.yaml"],
        "space.yaml": ["search", "space.yaml", "--trials", "1"],
        "groups/classifier/mine.yaml": ["run", "--config-dir", "groups", "classifier=mine"],
    }.items():
        attack.write(name, "").write_bytes(text.encode("latin-1"))
        line = attack.refused(*words)
        assert name in line
        assert MISTAKES[text] in line


def test_equal_keys_of_merged_mappings_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("b: &b {c: 1, d: 2}\ne: {<<: *b, c: 3}\nf: {1: x, '1': y}\n", encoding="utf-8-sig")
    assert read_plain(path) == {"b": {"c": 1, "d": 2}, "e": {"c": 3, "d": 2}, "f": {1: "x", "1": "y"}}


def test_nesting_without_end(attack: Attack) -> None:
    attack.write("one/study.yaml", "[" * 50_000)
    attack.write("groups/classifier/mine.yaml", "[" * 50_000)
    attack.refused("study", "./one", "--dry-run")
    attack.refused("run", "--config-dir", "groups", "classifier=mine")
    attack.write("one/study.yaml", study(trials=10**12))
    assert "trials=1000000000000: expected how many" in attack.refused("study", "./one", "--dry-run")


def test_the_users_own_words_may_read_the_environment(attack: Attack) -> None:
    composed = compose([*small(), "row='${oc.env:PLANTED}'"])
    assert composed.config["row"] == SECRET


def test_a_run_keeps_no_secret(attack: Attack, tmp_path: Path) -> None:
    """The planted secret is in the environment of a whole run, and in none of its files."""
    assert main(["run", *small("logger=csv", "callbacks=default"), "paths.outputs=out"]) == 0
    out, err = attack.capsys.readouterr()
    assert list(attack.folder.glob("out/**/record.json"))
    attack.check(out + err)
