"""The run's image count never decreases, over stages, restarts and out-of-order logging."""

from pathlib import Path

from trigan.tracking.image_axis import ImageAxis


def test_stages_add_up(tmp_path: Path) -> None:
    axis = ImageAxis(tmp_path / "axis.json")
    points = [("gan", 64), ("gan", 128), ("c", 0), ("c", 10), ("gan", 192), ("c", 20)]
    totals = [axis.advance(*point, ["loss"]) for point in points]
    assert totals == [64, 128, 128, 138, 202, 212]
    assert axis.now == 212
    assert axis.has_logged("c")
    assert not axis.has_logged("test")
    assert axis.advance("gan", 100, ["loss"]) == 212  # late, but not logged before: kept at the current total


def test_a_restart_continues_the_count_and_skips_logged_points(tmp_path: Path) -> None:
    first = ImageAxis(tmp_path / "axis.json")
    for stage, images in (("gan", 128), ("c", 10), ("c", 20)):
        first.advance(stage, images, ["loss"])
    again = ImageAxis(tmp_path / "axis.json")
    assert again.now == 148
    assert again.advance("c", 10, ["loss"]) is None  # since the last checkpoint: logged by the first process
    assert again.advance("c", 20, ["loss"]) is None
    assert again.advance("c", 20, ["samples"]) == 148  # the first process ended before logging this key
    assert again.advance("c", 30, ["loss"]) == 158
    assert again.advance("c", 30, ["samples"]) == 158
    third = ImageAxis(tmp_path / "axis.json")
    assert third.advance("c", 30, ["samples"]) is None
    assert third.advance("c", 30, ["loss"]) is None


def test_a_torn_file_starts_from_zero(tmp_path: Path) -> None:
    for text in ("", "[1]", '{"a": null}', '{"a": 64}', '{"a"'):
        (tmp_path / "axis.json").write_text(text)
        assert ImageAxis(tmp_path / "axis.json").now == 0
