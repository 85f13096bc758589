"""Whatever lies in a data folder is read, or counted and named, or refused with the mend: never taken for a class."""

import itertools
import logging
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from tensor_datasets import save

from trigan.config.compose import compose
from trigan.datasets.data_check import check_data
from trigan.datasets.sources.folder import Folder
from trigan.datasets.sources.folder_scan import PART_NAMES, folded, named_like_a_part, part_of
from trigan.datasets.sources.hub import Hub, SplitNames
from trigan.datasets.sources.image_source import ImageSource
from trigan.datasets.sources.image_table import ImageTable
from trigan.datasets.sources.npz import Npz
from trigan.errors import ConfigError, DataError, printable

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 8), dtype=np.uint8)


def classes(root: Path, names: tuple[str, ...] = ("cat", "dog"), count: int = 3) -> Path:
    for k, name in enumerate(names):
        for i in range(count):
            save(root, f"{name}/{i}.png", RNG.integers(0, 256, (8, 8), dtype=np.uint8) // (k + 1))
    return root


def spellings(name: str) -> list[str]:
    forms = [name, name.upper(), name.capitalize(), f"{name}_set", f"{name}-images", f"{name}2017", f"{name} data"]
    return [*forms, f"{name}set"]


@pytest.mark.parametrize("part", PART_NAMES)
def test_every_usual_spelling_is_that_part(part: str) -> None:
    for name in PART_NAMES[part]:
        assert {part_of(one) for one in spellings(name)} == {part}


@pytest.mark.parametrize(
    "name", ["trainee", "tester", "contest", "invalid", "devon rex", "cat", "0", "attest", "latest"]
)
def test_other_words_are_classes(name: str, tmp_path: Path) -> None:
    assert not named_like_a_part(name)
    assert Folder(root=str(classes(tmp_path, (name, "other")))).load().class_names == tuple(sorted((name, "other")))


SUSPECTS = [name for names in PART_NAMES.values() for name in names if name not in ("train", "training")]


@pytest.mark.parametrize("name", [*SUSPECTS, "extra", "Evaluation", "Test", "VALID", "unlabelled_images"])
def test_beside_classes_a_part_is_refused_with_the_mend(name: str, tmp_path: Path) -> None:
    classes(tmp_path, (f"{name}/cat", f"{name}/dog", "cat", "dog"))
    with pytest.raises(
        DataError, match=rf"the folder '{name}' lies beside cat, dog: .*Move the class folders into tra"
    ):
        Folder(root=str(tmp_path)).load()


def test_a_class_called_train_is_refused_and_its_mend_works(tmp_path: Path) -> None:
    root = classes(tmp_path / "flat", ("bus", "train"))
    with pytest.raises(DataError, match="the folder 'train' lies beside bus"):
        Folder(root=str(root)).load()
    (tmp_path / "mended").mkdir()
    root.rename(tmp_path / "mended" / "train")
    assert Folder(root=str(tmp_path / "mended")).load().class_names == ("bus", "train")


def test_parts_below_classes_two_test_sets_and_stylegan_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cat/test is named like a part, and lies below a class"):
        Folder(root=str(classes(tmp_path / "a", ("cat/train", "cat/test", "dog/train")))).load()
    with pytest.raises(DataError, match=r"name the folder that holds the parts \(data.root=.*/outer\)"):
        Folder(root=str(classes(tmp_path / "b", ("outer/train/cat", "outer/test/cat")))).load()
    with pytest.raises(DataError, match="has Test and testing, which are both the test part"):
        Folder(root=str(classes(tmp_path / "c", ("train/cat", "train/dog", "Test/cat", "testing/dog")))).load()
    with pytest.raises(DataError, match="the folder 'test' has no train beside it"):
        Folder(root=str(classes(tmp_path / "d", ("test/cat", "val/cat")))).load()
    root = classes(tmp_path / "e", ("00000", "00001"))
    (root / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"the folders beside it are no classes; read it with data=table"):
        Folder(root=str(root)).load()


@pytest.mark.parametrize(
    ("train", "val", "unlabelled", "test"),
    [
        ("Train", "Val", "Unlabeled", "Test"),
        ("training", "dev", "UNLABELLED", "testing"),
        ("train", "valid", "x", "test_set"),
    ],
)
def test_parts_of_any_spelling_are_read(train: str, val: str, unlabelled: str, test: str, tmp_path: Path) -> None:
    classes(tmp_path, tuple(f"{part}/{name}" for part in (train, val, test) for name in ("cat", "dog")))
    classes(tmp_path, (unlabelled,))
    source = Folder(root=str(tmp_path), validation="keep")
    data = source.load()
    known = unlabelled != "x"
    assert len(data.labels) == 18 + 3 * known
    assert int(data.official_test.sum()) == 6
    assert int((data.labels < 0).sum()) == 3 * known
    assert source.unread() == (
        {} if known else {"images in folders that are no part": [f"x/{i}.png" for i in range(3)]}
    )
    assert data.official_validation is not None
    assert int(data.official_validation.sum()) == 6
    assert any("labels come from the 6 validation images" in note for note in data.notes)
    merged = Folder(root=str(tmp_path), validation="merge").load()
    assert merged.official_validation is None
    assert merged.fingerprint != data.fingerprint
    assert any("6 validation images join the training images" in note for note in merged.notes)
    left = Folder(root=str(tmp_path), validation="leave_out").load()
    assert len(left.labels) == len(data.labels) - 6
    assert any("6 validation images are not read" in note for note in left.notes)


def junk(root: Path) -> dict[str, list[str]]:
    """A folder of classes with one of everything that is not read, and what is to be said of it."""
    classes(root)
    for name in ("cat/notes.txt", "cat/noending", "dog/x.heic", "docs/read.me", ".hidden", "cat/._1.png", "labels.csv"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    (root / "bird").mkdir()
    save(root, "loose.png", GREY)
    os.symlink("/not/mounted.png", root / "cat/gone.png")
    os.symlink("..", root / "cat/up")
    os.mkfifo(root / "dog/pipe.png")
    return {
        "files that end in .txt": ["cat/notes.txt"],
        "files that end in nothing": ["cat/noending"],
        "files that end in .heic": ["dog/x.heic"],
        "files that end in .me": ["docs/read.me"],
        "hidden files and folders": [".hidden", "cat/._1.png"],
        "tables (data=table reads one)": ["labels.csv"],
        "empty folders": ["bird"],
        "class folders without an image": ["bird", "docs"],
        "images outside of class folders": ["loose.png"],
        "links to nothing": ["cat/gone.png"],
        "links that lead back to a folder above": ["cat/up"],
        "neither files nor folders": ["dog/pipe.png"],
    }


def test_all_of_it_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = junk(tmp_path / "pets")
    source = Folder(root=str(tmp_path / "pets"))
    assert source.unread() == expected
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        assert source.load(cache).class_names == ("cat", "dog")
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    report = "\n".join(check_data(source).lines())
    for reason, found in expected.items():
        assert f"{len(found)} {reason} (" in line
        assert f"{len(found)} {reason} (" in report
        assert found[0] in line


def test_an_unreadable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    classes(tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot read the folder .*: Permission denied"):
        Folder(root=str(tmp_path)).load()


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "dib", "jp2", "webp", "tga", "pnm"])
def test_a_class_does_not_vanish_by_its_ending(suffix: str, tmp_path: Path) -> None:
    classes(tmp_path)
    kind = {"jfif": "jpeg", "jpe": "jpeg", "JPG": "jpeg", "jp2": "jpeg2000", "pnm": "ppm"}.get(suffix, suffix)
    for path in sorted((tmp_path / "dog").iterdir()):
        Image.open(path).save(path.with_suffix(f".{suffix}"), kind)
        path.unlink()
    assert Folder(root=str(tmp_path)).load().class_names == ("cat", "dog")


@pytest.mark.parametrize("kind", ["class", "inside a class", "file"])
def test_links_are_followed_inside_and_refused_outside(kind: str, tmp_path: Path) -> None:
    classes(tmp_path / "pets")
    classes(tmp_path / "store", ("bird",))
    save(tmp_path / "pets", "dog/more/1.png", GREY)
    place = {"class": "bird", "inside a class": "cat/more", "file": "cat/z.png"}[kind]
    for target, count in ((tmp_path / "pets/dog/more", 1), (tmp_path / "store/bird", 3)):
        target = target / "1.png" if kind == "file" else target
        link = tmp_path / "pets" / place
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        outside = "store" in str(target)
        if outside:
            with pytest.raises(DataError, match=r"the link .* leads out of the data folder, .*; set data.links=any"):
                Folder(root=str(tmp_path / "pets")).load()
        data = Folder(root=str(tmp_path / "pets"), links="any" if outside else "inside").load()
        assert len(data.labels) == 7 + (1 if kind == "file" else count)
    with pytest.raises(ConfigError, match=r"data.links: all must be inside or any"):
        Folder(root=str(tmp_path / "pets"), links="all").unread()  # type: ignore[arg-type]


def test_a_linked_data_folder_is_no_link_out_of_it(tmp_path: Path) -> None:
    classes(tmp_path / "pets")
    (tmp_path / "link").symlink_to("pets")
    assert len(Folder(root=str(tmp_path / "link")).load().labels) == 6


def encoded(names: list[str] | None, labels: list, path: Path, first: int = 0) -> None:
    kind = (
        datasets.ClassLabel(names=names)
        if names
        else datasets.Value("string" if isinstance(labels[0], str) else "int64")
    )
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    images = [Image.fromarray(np.full((8, 8), 20 * (first + i), np.uint8)) for i in range(len(labels))]
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict({"image": images, "label": labels}, features=features).to_parquet(path)


NAMES = ["cat", "dog", "bird"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("part", ["test", "validation", "train-1"])
def test_labels_are_matched_by_name_in_any_order(order: tuple[int, ...], part: str, tmp_path: Path) -> None:
    """Of any split, and of each file of the training split; also where a file has text."""
    names = [NAMES[k] for k in order]
    shown = [*NAMES, *NAMES]
    for text in (False, True):
        root = tmp_path / str(text)
        encoded(NAMES, [0, 1, 2], root / "train-0.parquet")
        encoded(
            None if text else names, shown if text else [names.index(n) for n in shown], root / f"{part}.parquet", 3
        )
        data = Folder(root=str(root)).load()
        assert data.class_names == ("cat", "dog", "bird")
        assert [data.class_names[k] for k in data.labels.tolist()] == [*NAMES, *shown]


def test_foreign_names_and_numbers_without_names_are_refused(tmp_path: Path) -> None:
    encoded(NAMES, [0, 1, 2], tmp_path / "a/train.parquet")
    encoded(["cat", "fox"], [0, 1], tmp_path / "a/test.parquet", 3)
    with pytest.raises(DataError, match="a, test row 1: the class 'fox' is not among those of the training images"):
        Folder(root=str(tmp_path / "a")).load()
    encoded(None, [0, 1, 2], tmp_path / "b/train.parquet")
    encoded(["bird", "cat", "dog"], [0, 1], tmp_path / "b/test.parquet", 3)
    with pytest.raises(DataError, match="b, test row 0: the class 'bird' is not among"):
        Folder(root=str(tmp_path / "b")).load()
    encoded(["cat", "dog", "fox"], [0, 1], tmp_path / "a/test.parquet", 3)  # a name that no row uses
    assert Folder(root=str(tmp_path / "a")).load().labels.tolist() == [0, 1, 2, 0, 1]


def test_parquet_files_of_no_split_are_named_and_usual_names_are_read(tmp_path: Path) -> None:
    for first, name in enumerate(("Training-0", "val", "Test", "stuff")):
        encoded(NAMES, [0, 1, 2], tmp_path / f"{name}.parquet", 3 * first)
    source = Folder(root=str(tmp_path))
    assert source.load().official_test.tolist() == [False] * 6 + [True] * 3
    assert source.unread() == {"Parquet files of no split that is read": ["stuff.parquet"]}
    hub = Hub(root=str(tmp_path), splits=SplitNames(train="val", test=None))
    assert hub.unread() == {
        "Parquet files of no split that is read": ["Test.parquet", "Training-0.parquet", "stuff.parquet"]
    }


def test_a_column_of_another_name_is_told_or_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded(NAMES, [0, 1, 2], tmp_path / "train.parquet")
    table = pq.read_table(tmp_path / "train.parquet").replace_schema_metadata(None)
    renamed = table.rename_columns(["image", "animal"])
    pq.write_table(renamed, tmp_path / "train.parquet")
    assert any(
        "there is no column 'label': 'animal' is read" in note for note in Folder(root=str(tmp_path)).load().notes
    )
    pq.write_table(renamed.append_column("malignant", pa.array([0.0, 1.0, 0.0])), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"label column 'label' not found among .*data=hub data.root=FOLDER"):
        Folder(root=str(tmp_path)).load()
    assert compose(["data=hub", "data.root=x", "data.source.columns.label=animal", "data.source.splits.test=null"])


def swap_content(a: Path, b: Path) -> None:
    stats = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (a, b)]
    first, second = a.read_bytes(), b.read_bytes()
    assert len(first) == len(second)
    a.write_bytes(second)
    b.write_bytes(first)
    for path, times in zip((a, b), stats, strict=True):
        os.utime(path, ns=times)


def swap_files(a: Path, b: Path) -> None:
    a.rename(a.with_suffix(".away"))
    b.rename(a)
    a.with_suffix(".away").rename(b)


@pytest.mark.parametrize("swap", [swap_files, swap_content])
def test_the_cache_sees_files_of_equal_size_and_time(swap: object, tmp_path: Path) -> None:
    for k, name in enumerate(("cat", "dog")):
        for i in range(2):
            save(tmp_path, f"pets/{name}/{i}.bmp", np.full((8, 8), 100 * k + i, np.uint8))
    for path in (tmp_path / "pets").rglob("*.bmp"):
        os.utime(path, (1.7e9, 1.7e9))
    source = Folder(root=str(tmp_path / "pets"))
    before = source.load(tmp_path / "cache")
    swap(tmp_path / "pets/cat/0.bmp", tmp_path / "pets/dog/0.bmp")  # type: ignore[operator]
    after = source.load(tmp_path / "cache")
    assert after.fingerprint == source.load().fingerprint != before.fingerprint


def test_renamed_classes_are_another_run_of_the_same_fingerprint(tmp_path: Path) -> None:
    source = Folder(root=str(classes(tmp_path / "moles", ("ant", "bee"))))
    before = source.load(tmp_path / "cache")
    (tmp_path / "moles/ant").rename(tmp_path / "moles/benign")
    (tmp_path / "moles/bee").rename(tmp_path / "moles/malignant")
    after = source.load(tmp_path / "cache")
    assert after.class_names == ("benign", "malignant")
    assert after.fingerprint == before.fingerprint
    composed = compose(["data=folder", f"data.root={tmp_path / 'moles'}"])
    assert composed.run_hash(after.identity) != composed.run_hash(before.identity)


def test_built_in_sets_are_known_by_their_fingerprint_alone(digits: object) -> None:
    assert digits.identity == digits.fingerprint  # type: ignore[attr-defined]


SCRIPTS = [
    "cat\ntabby",
    "cat\ttab",
    "猫",
    "кошка",
    "قط",
    "חתול",
    "बिल्ली",
    "🐈‍⬛",
    "a\u202eb",
    "c\x1b[31md",
    "=1+1",
    "$x$",
    "a,b",
]


@pytest.mark.parametrize("name", [*SCRIPTS, b"caf\xe9".decode("utf-8", "surrogateescape")])
def test_names_in_any_script_are_one_printable_line(name: str, tmp_path: Path) -> None:
    data = Folder(root=str(classes(tmp_path, (name, "zzz")))).load()
    (shown,) = set(data.class_names) - {"zzz"}
    assert shown == printable(name)
    shown.encode()
    assert all(one.isprintable() or one in "\u200c\u200d" for one in shown)
    assert shown == name or not name.isprintable()
    assert all(line.isprintable() or "\u200d" in line for line in check_data(Folder(root=str(tmp_path))).lines())


def test_two_spellings_of_a_class_are_refused_and_two_classes_are_two(tmp_path: Path) -> None:
    for k, (one, other) in enumerate(
        [("Cat", "cat"), ("cat ", "cat"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")]
    ):
        root = classes(tmp_path / str(k), (f"train/{one}", "train/dog", f"test/{other}"))
        assert folded(one) == folded(other)
        with pytest.raises(DataError, match="differ in their spelling alone"):
            Folder(root=str(root)).load()
    both = classes(tmp_path / "letters", ("train/a", "train/A", "test/a"))
    assert Folder(root=str(both)).load().class_names == ("A", "a")


def test_arrays_of_objects_and_single_arrays_are_one_line(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "o.npz", train_images=np.zeros((4, 8, 8), np.uint8), train_labels=np.array(["a", "b"] * 2, object)
    )
    np.save(tmp_path / "images.npy", np.zeros((4, 8, 8), np.uint8))
    for name, message in (
        ("o.npz", r"arrays of Python objects.*labels.astype\(str\)"),
        ("images.npy", "holds one array"),
    ):
        with pytest.raises(DataError, match=message):
            Npz(root=str(tmp_path / name)).load()


def test_every_source_says_what_it_does_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=GREY[None], train_labels=np.zeros(1, int), mean=np.zeros(3))
    (tmp_path / "readme.txt").write_text("x")
    found = Npz(root=str(tmp_path)).unread()
    assert found == {"arrays of other names": ["mean"], "other files": ["readme.txt"]}
    own = [Folder, Hub, Npz, ImageTable]
    assert all("unread" in vars(one) for one in own)
    assert set(own) == {one for one in ImageSource.__subclasses__() if "root" in one.__dataclass_fields__}
