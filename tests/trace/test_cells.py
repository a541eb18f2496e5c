"""Which row and cell a command line names."""

import csv
import random
from pathlib import Path

import pytest

from segtrace.errors import SegtraceError
from segtrace.trace import cells

TABLE = """method,label,label_name,metric,cases,mean
unet,0,mean,dice,3,0.5
unet,0,mean,iou,3,0.25
unet,1,organ,dice,3,0.75
unet,1,organ,iou,3,
unet_tiny,1,organ,dice,3,0.1
unet_tiny,1,organ,iou,3,0.30000000000000004
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "summary.csv"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("method=unet,label=1,metric=dice", "0.75"),
        ("metric=dice, label=organ, method=unet", "0.75"),
        ("method=unet_tiny,metric=iou", "0.30000000000000004"),  # as it stands in the file
        ("label=mean,metric=iou", "0.25"),
        ("method=unet,label=1,metric=iou", ""),
        ("2", "0.5"),
        ("7", "0.30000000000000004"),
    ],
)
def test_the_row_that_is_meant(table: Path, row: str, value: str) -> None:
    assert cells.cell(table, row=row, column="mean").value == value


def test_any_row_is_found_by_the_words_that_tell_it_apart(tmp_path: Path) -> None:
    chance = random.Random(4)
    keys = ["a", "b", "c"]
    triples = [(x, y, z) for x in "pqr" for y in "123" for z in ("u", "v")]
    chance.shuffle(triples)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*keys, "n"])
        writer.writerows([*triple, number] for number, triple in enumerate(triples))
    for number, triple in enumerate(triples):
        words = [f"{key}={value}" for key, value in zip(keys, triple, strict=True)]
        chance.shuffle(words)
        assert cells.cell(path, row=",".join(words), column="n").value == str(number)
        assert cells.cell(path, row=str(number + 2), column="n").value == str(number)


def test_other_names_of_a_value(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("case,label,dice\na,1,0.5\na,2,0.25\n")
    names = {"label": {"organ": "1", "nodule": "2", "other": "3"}}
    assert cells.cell(path, row="case=a,label=nodule", column="dice", names=names).value == "0.25"
    with pytest.raises(SegtraceError, match="did you mean 'organ'"):
        cells.cell(path, row="case=a,label=organs", column="dice", names=names)
    with pytest.raises(SegtraceError, match="no row has label=other; there are: 1, 2, organ, nodule"):
        cells.cell(path, row="case=a,label=other", column="dice", names=names)


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        ("method=unett,label=1", "mean", "no row has method=unett; did you mean 'unet'?"),
        ("label=organs,metric=dice", "mean", "did you mean 'organ'"),
        ("metod=unet", "mean", "no column 'metod'; did you mean 'method'?"),
        ("method=unet,label=1,metric=dice", "maen", "no column 'maen'; did you mean 'mean'?"),
        (
            "method=unet,label=1",
            "mean",
            "2 rows have method=unet,label=1; say also metric (one of dice, iou)",
        ),
        (
            "metric=dice",
            "mean",
            "3 rows have metric=dice; say also method (one of unet, unet_tiny) and label (one of 0, 1)",
        ),
        ("method=unet_tiny,label=0", "mean", "with the words before it, label is 1"),
        ("dice", "mean", "'dice' is no KEY=VALUE"),
        ("method=unet,,label=1", "mean", "'' is no KEY=VALUE"),
        ("label=1,label=2", "mean", "label is given twice, as '1' and as '2'"),
        ("1", "mean", "rows are in lines 2 to 7"),
        ("8", "mean", "rows are in lines 2 to 7"),
    ],
)
def test_what_is_wrong_is_said_with_the_nearest_name(table: Path, row: str, column: str, words: str) -> None:
    with pytest.raises(SegtraceError) as error:
        cells.cell(table, row=row, column=column)
    assert words in str(error.value)
    assert str(table) in str(error.value) or "--row" in str(error.value)


def test_a_row_is_needed_and_equal_rows_have_lines(table: Path) -> None:
    with pytest.raises(SegtraceError, match=r"say which row: .* of method, label"):
        cells.cell(table, row=None, column="mean")
    table.write_text("a,b\n1,2\n1,2\n")
    with pytest.raises(SegtraceError, match="they are equal"):
        cells.cell(table, row="a=1", column="b")
    assert cells.cell(table, row="3", column="b").value == "2"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "without rows"),
        (b"a,b\n", "without rows"),
        (b"a,b\n1,2\n1\n", "line 3 has not as many"),
        (b"a,b\n1,2,3\n", "line 2 has not as many"),
        (b"\xff\xfe\x00", "not a table"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(SegtraceError, match=words):
        cells.cell(path, row="2", column="a")
    with pytest.raises(SegtraceError, match="no such file"):
        cells.cell(tmp_path / "none.csv", row="2", column="a")


def test_entries_of_nested_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(
        '{"e": {"m.1": {"organ": {"dice": 0.1}}, "m": {"1": 2}}, "scores_sha256": {"a/b.csv": "c"}}'
    )
    assert cells.cell(path, row=None, column="e.m.1.organ.dice").value == "0.1"
    assert cells.cell(path, row=None, column="e.m.1").value == "2"
    assert cells.cell(path, row=None, column="scores_sha256.a/b.csv").value == "c"
    with pytest.raises(SegtraceError, match=r"did you mean 'e\.m\.1\.organ\.dice'"):
        cells.cell(path, row=None, column="e.m.1.organ.dic")
    with pytest.raises(SegtraceError, match="is no single value; it holds: 1"):
        cells.cell(path, row=None, column="e.m")
    with pytest.raises(SegtraceError, match="has no rows"):
        cells.cell(path, row="a=b", column="e")
