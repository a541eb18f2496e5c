"""Which row and cell a command line names."""

import csv
import itertools
import json
import random
from pathlib import Path

import pytest

from segtrace.errors import SegtraceError
from segtrace.trace import cells
from segtrace.trace.dotted import leaves

TABLE = """method,label,label_name,metric,cases,mean
unet,0,mean,dice,3,0.5
unet,0,mean,iou,3,0.25
unet,1,organ,dice,3,0.75
unet,1,organ,iou,3,
unet_tiny,1,organ,dice,3,0.1
unet_tiny,1,organ,iou,3,0.30000000000000004
"""


SUMMARY = "results/e/summary.csv"
METRICS = "results/e/metrics.json"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path(SUMMARY)
    path.parent.mkdir(parents=True)
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("method=unet,label=1,metric=dice", "0.75"),
        ("metric=dice, label=organ, method=unet", "0.75"),
        ("method=unet_tiny,metric=iou", "0.30000000000000004"),  # as it stands in the file
        ("label=mean,metric=iou", "0.25"),
        ("method=unet,label=01,metric=dice", "0.75"),  # equal as a number
        ("method=unet,label=1,metric=iou", ""),
        ("2", "0.5"),
        ("7", "0.30000000000000004"),
    ],
)
def test_the_row_that_is_meant(table: Path, row: str, value: str) -> None:
    assert cells.select(table, row=row, column="mean").text == value
    assert cells.select(table.absolute(), row=row, column="mean").value == value


def test_any_row_is_found_by_the_words_that_tell_it_apart(table: Path) -> None:
    chance = random.Random(4)
    keys = ["method", "label", "metric"]
    triples = list(itertools.product("pqr", "123", "uv"))
    chance.shuffle(triples)
    with table.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*keys, "n"])
        writer.writerows([*triple, number] for number, triple in enumerate(triples))
    for number, triple in enumerate(triples):
        named = dict(zip(keys, triple, strict=True))
        words = [f"{key}={value}" for key, value in named.items()]
        chance.shuffle(words)
        for row in (",".join(words), str(number + 2)):
            found = cells.select(table, row=row, column="n")
            assert (found.text, found.keys, found.row) == (str(number), named, named | {"n": str(number)})


def test_a_label_is_named_by_its_data_set_where_the_table_does_not(kept: Path) -> None:
    path = min(Path("scores").rglob("*.csv"))
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        name = {"1": "organ", "2": "neighbour", "3": "nodule"}[row["label"]]
        found = cells.select(path, row=f"case={row['case']},label={name}", column="dice")
        assert found.text == row["dice"]
        assert found.keys == {"case": row["case"], "label": row["label"]}


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
            "2 rows are method=unet,label=1; name one of them:\n"
            "  line 4: method=unet,label=1,metric=dice\n  line 5: method=unet,label=1,metric=iou",
        ),
        ("metric=dice", "mean", "3 rows are metric=dice; name one of them"),
        (
            "method=unet_tiny,label=0",
            "mean",
            "no row is method=unet_tiny,label=0; the nearest are:\n  line 2: method=unet,label=0,metric=dice\n",
        ),
        ("dice", "mean", "'dice' is not KEY=VALUE"),
        ("method=unet,,label=1", "mean", "'' is not KEY=VALUE"),
        ("label=1,label=2", "mean", "label is given twice, as '1' and as '2'"),
        ("1", "mean", "the rows are lines 2 to 7"),
        ("8", "mean", "the rows are lines 2 to 7"),
    ],
)
def test_what_is_wrong_is_said_with_the_nearest_name(table: Path, row: str, column: str, words: str) -> None:
    with pytest.raises(SegtraceError) as error:
        cells.select(table, row=row, column=column)
    assert words in str(error.value)
    assert str(table) in str(error.value)


def test_without_a_row_all_are_chosen_and_equal_rows_have_lines(table: Path) -> None:
    found = cells.select(table, column="mean")
    assert ([number for number, _ in found.lines], found.one, found.keys) == ([*range(2, 8)], False, {})
    table.write_text("method,label,metric,mean\nu,1,dice,2\nu,1,dice,3\n")
    with pytest.raises(SegtraceError, match=r"2 rows are method=u; .*\n.* line 2: .*\n.* line 3: "):
        cells.select(table, row="method=u", column="mean")
    assert cells.select(table, row="3", column="mean").text == "3"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no rows"),
        (b"method,label,metric\n", "has no rows"),
        (b"method,label\nu,1\n", "has no column metric"),
        (b"method,label,metric\nu,1,dice,4\n", "line 2 has not as many"),
        (b"\xff\xfe\x00", "not a table"),
    ],
)
def test_a_file_that_is_no_table(table: Path, content: bytes, words: str) -> None:
    table.write_bytes(content)
    with pytest.raises(SegtraceError, match=words):
        cells.select(table, row="2", column="method")


def test_a_damaged_line_is_an_error_of_itself_and_of_the_whole_table(table: Path) -> None:
    table.write_text("method,label,metric\nu,1,dice\nv\n")
    assert cells.select(table, row="label=1", column="method").text == "u"
    for look in (lambda: cells.select(table, row="method=v"), lambda: cells.table(table)):
        with pytest.raises(SegtraceError, match="line 3 has not as many"):
            look()


def test_values_of_a_json_file(table: Path) -> None:
    path = Path(METRICS)
    content = {
        "e": {"m.1": {"organ": {"dice": 0.1}}, "m": {"1": 2}, "n": {"organ": {"dice": None}}},
        "scores_sha256": {"a/b.csv": "c"},
    }
    path.write_text(json.dumps(content))
    for name, keys, text in (
        ("e.m.1.organ.dice", ("e", "m.1", "organ", "dice"), "0.1"),
        (
            "m.1.organ.dice",
            ("e", "m.1", "organ", "dice"),
            "0.1",
        ),  # of its own file the experiment may be left out
        ("n.organ.dice", ("e", "n", "organ", "dice"), "null"),
        ("scores_sha256.a/b.csv", ("scores_sha256", "a/b.csv"), "c"),
    ):
        for row, column in ((None, name), (name, None), tuple(name.split(".", 1))):
            found = cells.select(path, row=row, column=column)
            assert (found.path, found.text) == (keys, text)
    assert leaves(content)[:2] == ["e.m.1.organ.dice", "e.m.1"]
    for name, words in (
        ("e.n.organ.dic", "below 'organ': did you mean 'dice'"),
        ("e.n", "'e.n' is 1 numbers; name one of them:\n  e.n.organ.dice"),
        ("e.m.1", "'e.m.1' is the name of 2 values; name one of them:\n  e.m.1\n  e.m.1"),
    ):
        with pytest.raises(SegtraceError) as error:
            cells.select(path, column=name)
        assert words in str(error.value)
