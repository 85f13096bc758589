"""Command lines that nobody means: mutated settings, types, overflow, unicode, control characters, wrong groups."""

import contextlib
import io
import json
import random
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from trigan.commands import main as command_line
from trigan.config.compose import Composer, unresolved
from trigan.config.nodes import dotted_keys, walk
from trigan.errors import is_printable
from trigan.execution.batch import BatchSummary
from trigan.runs.trained_run import RunLocation
from trigan.studies.verdict.verdict_study import VerdictRuns

VALUES = (
    *(
        "",
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1",
        "2",
        "3.5",
        "-0.0",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "1e30",
        "1e-30",
    ),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 400,
        "9" * 5000,
        "0x10",
        "1_000",
        "007",
        "1e5",
    ),
    *("[]", "{}", "[1]", "[null]", "[[]]", "{a:1}", "{a:{b:[1,{c:2}]}}", "[1,[2,[3]]]", "{_target_:os.system}", "a,b"),
    *(
        "{_target_:trigan.networks.classifiers.cnn.SmallCNN}",
        "{_target_:trigan.rng.Draws}",
        "{_target_:null}",
        "{_id_:x}",
    ),
    *(
        "'a b'",
        "a b",
        "'",
        '"',
        "\\",
        "a\\",
        "'a\\'",
        "é",
        "名前",
        "👩‍🔬",
        "\u202e",
        "\x00",
        "\x1b[2J",
        "a\nb",
        "\t",
        "\ud800",
    ),
    *(
        "${trial}",
        "${trial",
        "${nothing}",
        "${seed}",
        "${oc.env:HOME}",
        "${oc.env:NOT_THERE}",
        "${hydra:runtime.cwd}",
        "???",
    ),
    *(
        "${oc.create:{a:1}}",
        "${oc.decode:'['}",
        r"\${trial}",
        "${..}",
        "${.a}",
        "glob(*)",
        "range(3)",
        "range(1000000000)",
    ),
    *(
        "choice(1,2)",
        "int(x)",
        "bool(0)",
        "str(1)",
        "float(null)",
        "shuffle(range(3))",
        "tag(a,1)",
        "sort(2,1)",
        "interval(0,1)",
    ),
    *(
        "../..",
        "/",
        "~",
        "/dev/null",
        "x" * 5000,
        "[" * 300,
        "{a:" * 200,
        "none",
        "default",
        "joint",
        "digits",
        "=",
        "==",
        "a=b",
    ),
)
OPTIONS = (
    *(
        "-m",
        "--multirun",
        "--cfg",
        "job",
        "--resolve",
        "--info",
        "-p",
        "-c",
        "--force",
        "--workers",
        "--timeout",
        "--retry",
    ),
    *(
        "--validation-only",
        "--settings",
        "--config-dir",
        "-cd",
        "--nothing",
        "-x",
        "--",
        "-paths.outputs=D",
        "--workers=0",
    ),
    *("--cfg=job", "--cfg=no", "--package=trainer", "--info=config", "--settings=no.yaml", "--help", "--version"),
)
#: Groups and nodes that say where and how a command runs.
_OWN_PLACE = ("paths", "runtime", "hydra", "debug", "trainer", "logger", "data")
_PROCESSES = ("trial", "seed")
OPERATORS = ("=", "=", "=", "=", "=", "+=", "==", " = ", "@x=", "@_global_=", ":=", "")
PREFIXES = ("", "", "", "", "", "", "+", "++", "~", "-", "--", "~~")


@dataclass(frozen=True)
class Fuzzer:
    """Draws command lines; the same ones for the same seed."""

    keys: tuple[str, ...]
    groups: dict[str, list[str]]
    defaults: dict[str, dict[str, Any]]
    study: str

    def words(self, draw: random.Random) -> list[str]:
        """The words of one command."""
        command = draw.choices(("run", draw.choice([*command_line.COMMANDS, "", "rnu", "run\n"])), (30, 1))[0]
        if command not in ("run", "", "rnu", "run\n"):
            return [command, *(draw.choice(OPTIONS) for _ in range(draw.randrange(3)))]
        words = [self.word(draw) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
        if draw.random() < 0.3:
            words.append(f"strategy={draw.choice(self.groups['strategy'])}")
        for _ in range(draw.choices((0, 1, 2), (6, 2, 1))[0]):
            words.insert(draw.randrange(len(words) + 1), draw.choice(OPTIONS))
        return [command, *words]

    def nearly_sound(self, draw: random.Random) -> list[str]:
        """A command whose settings are sound, or all but one: most pass the first checks, and many all of them."""
        strategy = draw.choice(self.groups["strategy"])
        settings = [self.sound_word(draw, strategy) for _ in range(draw.randrange(1, 4))]
        if draw.random() < 0.4:
            settings.insert(draw.randrange(len(settings) + 1), self.word(draw))
        chosen = f"strategy={strategy}"
        command = draw.choice(
            (
                *(["run", chosen], ["run", chosen], ["run", chosen], ["run", "-m", "trial=0,1", chosen]),
                *(["run", "--validation-only", chosen], ["run", "--cfg", "job", chosen]),
                *(["study", self.study, "--dry-run"], ["study", self.study, "--status"], ["table", self.study]),
                *(["audit", self.study], ["report", self.study], ["verdict"], ["verdict", "--yes", "--trials", "1"]),
                ["search", draw.choice(("baseline", "augment", "nothing")), "--trials", draw.choice("012")],
            )
        )
        return [*command, *settings]

    def sound_word(self, draw: random.Random, strategy: str) -> str:
        """A choice of a group, or a setting with its default, half of it, twice it, or its opposite."""
        if draw.random() < 0.2:
            group = draw.choice([name for name in self.groups if "/" not in name and name not in _OWN_PLACE])
            return f"{group}={draw.choice(self.groups[group])}"
        key = draw.choice(list(self.defaults[strategy]))
        value = self.defaults[strategy][key]
        if isinstance(value, bool):
            value = draw.random() < 0.5
        elif isinstance(value, int | float):
            value = draw.choice((value, value * 2, type(value)(value / 2)))
        return f"{key}={json.dumps(value)}"

    def word(self, draw: random.Random) -> str:
        """One setting: often a sound key with a value of another kind, at times any text."""
        kind = draw.random()
        if kind < 0.05:
            return "".join(chr(draw.choice((draw.randrange(1, 128), draw.randrange(1, 0xD800)))) for _ in range(9))
        if kind < 0.25:
            group = draw.choice(list(self.groups))
            value = draw.choice((*self.groups[draw.choice(list(self.groups))], draw.choice(VALUES)))
            return f"{draw.choice(PREFIXES)}{group}{draw.choice(OPERATORS)}{value}"
        key = draw.choice(self.keys)
        if draw.random() < 0.15:  # a slip
            at = draw.randrange(len(key))
            key = key[:at] + draw.choice(("", ".", "/", "_", "x", "é", " ", "\x1b", "[0]")) + key[at + 1 :]
        return f"{draw.choice(PREFIXES)}{key}{draw.choice(OPERATORS)}{draw.choice(VALUES)}"


def make_fuzzer(composer: Composer, study: str) -> Fuzzer:
    """A fuzzer with the groups and the settings of all strategies, and the path of a study."""
    keys: set[str] = set()
    defaults = {}
    for strategy in composer.groups["strategy"]:
        plain = unresolved(composer.base(composer.parse([f"strategy={strategy}"])))
        keys.update(dotted_keys(plain))
        defaults[strategy] = {key: value for key, value in walk(plain) if _can_change(key, value)}
    return Fuzzer(tuple(sorted(keys)), composer.groups, defaults, study)


def _can_change(key: str, value: Any) -> bool:
    """Whether a setting is a number or a switch that starts no processes and names no folder."""
    return isinstance(value, bool | int | float) and key.partition(".")[0] not in _OWN_PLACE and key not in _PROCESSES


def without_fits(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends where a run, its processes or a look at data would begin."""

    def done(*arguments: Any, **named: Any) -> Path:
        return Path("done")

    for place in ("trigan.runs.run_words.Composer", "trigan.commands.run.Composer", "trigan.config.compose.Composer"):
        monkeypatch.setattr(place, lambda *arguments, **named: composer)
    monkeypatch.setattr("trigan.runs.run.run", done)
    monkeypatch.setattr("trigan.commands.run._tell_divergence", lambda *arguments: 0)  # there is no record to read
    monkeypatch.setattr("trigan.runs.run_words.ranks.start", lambda *arguments, **named: 0)
    monkeypatch.setattr("trigan.runs.run.locate", lambda *arguments: RunLocation("ab", Path("done/record.json")))
    data = composer.compose([]).load_data()
    monkeypatch.setattr("trigan.config.compose.RunConfig.load_data", lambda config: data)
    monkeypatch.setattr("trigan.search.run_search.run_searches", lambda searches, settings: [])
    monkeypatch.setattr(VerdictRuns, "plan", lambda *arguments: "a plan")
    monkeypatch.setattr(VerdictRuns, "run", done)
    monkeypatch.setattr(VerdictRuns, "terminal_text", lambda *arguments: "a table")
    monkeypatch.setattr(VerdictRuns, "summary", BatchSummary(), raising=False)
    monkeypatch.setattr("trigan.studies.multirun._jobs", lambda *arguments: ([], {}))
    monkeypatch.setattr("trigan.execution.pool.ForkLauncher", Nothing)
    left_out = ("splits", "wandb-sweep")
    kept = {name: one for name, one in command_line.COMMANDS.items() if name not in left_out}
    monkeypatch.setattr(command_line, "COMMANDS", kept)


class Nothing:
    """Stands in for the fork server."""

    def close(self) -> None:
        """Close nothing."""


@contextlib.contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault(words: list[str], seconds: int = 60) -> tuple[str, bool]:
    """What is wrong with how a command ended, and whether it succeeded.

    The text is empty where the command worked or said in one line why not.
    """
    out, err = io.StringIO(), io.StringIO()
    try:
        with _time_limit(seconds), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code: Any = command_line.main(list(words))
    except SystemExit as ended:  # argparse's help
        code = ended.code
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]!r} at {place.filename}:{place.lineno}", False
    lines = [line for line in err.getvalue().splitlines() if line.startswith("trigan: ")]
    if code not in (0, 2, 3) or (code and len(lines) != 1):
        return f"exit {code}, {len(lines)} lines: {err.getvalue()[:300]!r}", False
    if not is_printable("".join(err.getvalue().splitlines()).replace("\t", "")):
        return f"control characters: {err.getvalue()[:300]!r}", False
    takes_a_word = {"--config-dir", "-cd", "--settings", "--info", "-p", "-c", "--cfg", "--workers", "--timeout", "--"}
    certainly_wrong = not takes_a_word & set(words) and any(word.startswith(("~", "-x", "--no")) for word in words[1:])
    wrong = code == 0 and certainly_wrong and "--help" not in words
    return f"exit 0: {out.getvalue()[:100]!r}" if wrong else "", code == 0
