"""TensorBoard and MLflow get what W&B gets; their files are read back. Their failures cost no result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trigan.commands.main import main
from trigan.errors import ConfigError
from trigan.tracking import RunInfo, Tracker
from trigan.tracking.lightning_tracking import MlflowTracking, TensorBoardTracking
from trigan.tracking.tracker import Trackers, Tracking, open_all

CONFIG = {"data": {"name": "digits"}, "trial": 3, "choices": {"labels": "10/class"}}


def info(directory: Path) -> RunInfo:
    directory.mkdir(exist_ok=True)
    return RunInfo("0123abcd", "digits 10/class joint #3", "demo/joint/digits", "joint", ("trial:3",), directory)


def log_two_stages(tracker: Tracker, directory: Path, start: int = 1) -> None:
    for step in range(start, 5):
        tracker.log("gan", 64 * step, {"gan/train/loss": 1 / step, "validation/accuracy": 0.5})
        picture = np.full((8, 12, 3), 40 * step, np.uint8)
        Image.fromarray(picture).save(directory / "grid.png")
        tracker.log_image("gan/samples", directory / "grid.png", 64 * step)
    tracker.log("classifier", 32, {"train/loss": 0.5})
    tracker.log_confusion_matrix("final/test/confusion", np.array([[5, 1], [2, 7]]), ["zero", "a|b"])
    values = {
        "final/test/accuracy": 0.8,
        "final/test/recall/a, b": 0.5,
        "selection/rule": "val",
        "selection/step": None,
    }
    tracker.log_summary(values)
    (directory / "record.json").write_text("{}")
    tracker.log_record(directory / "record.json")
    tracker.finish()
    tracker.finish()


def events(folder: Path) -> Any:
    pytest.importorskip("tensorboard", reason="needs trigan[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    read = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return read.Reload()


def tensorboard(tmp_path: Path) -> TensorBoardTracking:
    pytest.importorskip("tensorboard", reason="needs trigan[tensorboard]")
    return TensorBoardTracking(str(tmp_path / "tensorboard"))


def test_tensorboard_has_curves_images_config_and_results(tmp_path: Path) -> None:
    """An interrupted run's second attempt logs everything again; no step is there twice."""
    tracking, run = tensorboard(tmp_path), info(tmp_path / "run")
    first = tracking.open(run, CONFIG)
    first.log("gan", 64, {"train/loss": 1.0})
    first.finish(1)
    log_two_stages(tracking.open(run, CONFIG), run.directory)
    read = events(tmp_path / "tensorboard")
    assert [(one.step, one.value) for one in read.Scalars("gan/train/loss")] == [
        (64 * step, pytest.approx(1 / step)) for step in range(1, 5)
    ]
    assert [one.step for one in read.Scalars("gan/validation/accuracy")] == [64, 128, 192, 256]
    assert [one.step for one in read.Scalars("classifier/train/loss")] == [32]
    assert [(one.step, one.width, one.height) for one in read.Images("gan/samples")] == [
        (64 * step, 12, 8) for step in range(1, 5)
    ]
    assert [(one.step, one.value) for one in read.Scalars("final/test/accuracy")] == [(288, pytest.approx(0.8))]
    texts = {tag: read.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in read.Tags()["tensors"]}
    assert "| a b | 2 | 7 |" in texts["final/test/confusion/text_summary"]
    assert '"labels": "10/class"' in texts["config/text_summary"]
    content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"choices/labels" in content
    assert b"selection/rule" in content
    (folder,) = (tmp_path / "tensorboard" / "demo_joint_digits").iterdir()
    assert folder.name == "digits 10_class joint #3 0123abcd"


def mlflow_run(folder: Path) -> tuple[Any, Any]:
    """MLflow's client, and the only run that is not deleted."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(folder.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("trigan").experiment_id])
    return client, run


def test_mlflow_has_metrics_images_parameters_and_the_record(tmp_path: Path) -> None:
    """An interrupted run's second attempt continues the same run; what was logged is not logged again."""
    pytest.importorskip("mlflow", reason="needs trigan[mlflow]")
    tracking, run = MlflowTracking(str(tmp_path / "mlruns")), info(tmp_path / "run")
    first = tracking.open(run, CONFIG)
    first.log("gan", 64, {"gan/train/loss": 1.0, "validation/accuracy": 0.5})
    Image.new("RGB", (12, 8)).save(run.directory / "grid.png")
    first.log_image("gan/samples", run.directory / "grid.png", 64)
    first.log("gan", 128, {"gan/train/loss": 0.5, "validation/accuracy": 0.5})
    first.finish(1)
    log_two_stages(tracking.open(run, {**CONFIG, "trial": 4}), run.directory)
    client, found = mlflow_run(tmp_path / "mlruns")
    assert (found.info.run_name, found.info.status) == ("digits 10/class joint #3", "FINISHED")
    history = client.get_metric_history(found.info.run_id, "gan/train/loss")
    assert [(one.step, one.value) for one in history] == [(64 * step, 1 / step) for step in range(1, 5)]
    assert found.data.metrics["final/test/accuracy"] == 0.8
    assert found.data.metrics["final/test/recall/a_ b"] == 0.5
    assert (found.data.params["choices/labels"], found.data.params["trial"]) == ("10/class", "3")
    tags = {"run": "0123abcd", "group": "demo/joint/digits", "trial": "3", "selection/rule": "val"}
    assert tags.items() <= found.data.tags.items()
    assert found.data.tags["mlflow.source.name"] == "trigan", "a path of this machine was sent"
    assert not [tag for tag in found.data.tags if tag.startswith("mlflow.source.git")]
    artifacts = Path(tmp_path / "mlruns").rglob("*")
    files = [path.name for path in artifacts if path.is_file()]
    assert "record.json" in files
    assert "confusion.md" in files
    pictures = sorted(int(name.split("+step+")[1].split("+")[0]) for name in files if name.endswith(".png"))
    assert pictures == [64, 128, 192, 256]


def test_a_forced_run_is_a_new_run_of_mlflow(tmp_path: Path) -> None:
    """``--force`` removes the axis."""
    pytest.importorskip("mlflow", reason="needs trigan[mlflow]")
    tracking, run = MlflowTracking(str(tmp_path / "mlruns")), info(tmp_path / "run")
    tracking.open(run, CONFIG).finish()
    first = (run.directory / "mlflow" / "run_id").read_text()
    (run.directory / "mlflow" / "axis.json").unlink(missing_ok=True)
    tracking.open(run, CONFIG).finish()
    assert (run.directory / "mlflow" / "run_id").read_text() != first


def test_a_server_that_is_gone_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("mlflow", reason="needs trigan[mlflow]")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MlflowTracking("http://127.0.0.1:1").open(info(tmp_path / "run"), CONFIG)
    log_two_stages(tracker, tmp_path / "run")
    (line,) = [one.getMessage() for one in caplog.records if one.name.startswith("trigan")]
    assert line.startswith("MLflow can't start (")
    assert line.endswith("the run continues without it")


def test_a_disk_that_fails_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = tensorboard(tmp_path).open(info(tmp_path / "run"), CONFIG)
    tracker.log_image("gan/samples", tmp_path / "absent.png", 64)
    log_two_stages(tracker, tmp_path / "run")
    (line,) = [one.getMessage() for one in caplog.records if one.name.startswith("trigan")]
    assert line.startswith("TensorBoard failed (")


class _Kept(Tracker):
    def __init__(self, name: str | None) -> None:
        self.id, self.calls = name, []

    def log(self, *arguments: Any) -> None:
        self.calls.append(("log", arguments))

    def finish(self, exit_code: int = 0) -> None:
        self.calls.append(("finish", exit_code))


def test_several_loggers_get_the_same(tmp_path: Path) -> None:
    kept = [_Kept(None), _Kept("wandb")]
    both = Trackers(kept)
    assert both.id == "wandb"
    both.log("gan", 64, {"x": 1.0})
    both.finish(143)
    assert [one.calls for one in kept] == [[("log", ("gan", 64, {"x": 1.0})), ("finish", 143)]] * 2
    missing = {name for name in vars(Tracker) if name.startswith(("log", "finish"))} - set(vars(Trackers))
    assert not missing, "is not passed on"
    assert type(open_all([Tracking()], info(tmp_path / "run"), {})) is Tracker


@pytest.mark.parametrize(
    ("logger", "package"), [(TensorBoardTracking(), "tensorboard"), (MlflowTracking(), "mlflow")], ids=str
)
def test_a_missing_package_is_one_line(
    logger: Tracking, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = f"logger={package} needs the package {package}: pip install 'trigan[{package}]'"
    with pytest.raises(ConfigError) as caught:
        logger.check_installed()
    assert str(caught.value) == line
    assert main(["run", "debug=fast", f"logger=[none,{package}]"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"trigan: {line}"


def test_settings_are_checked() -> None:
    for words in ({"experiment": ""}, {"tracking_uri": ""}):
        with pytest.raises(ConfigError, match=rf"^logger\.mlflow\.{next(iter(words))}: '' must be a name|a folder"):
            MlflowTracking(**words)
