"""A user's CSV: what it may look like, and a plain word for each way in which it can be wrong."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_workings.core.dataset import Dataset
from llm_workings.core.errors import BadInput
from llm_workings.data.csv_file import MOST_CLASSES, MOST_COLUMNS, csv_text, read_csv
from llm_workings.data.points import make
from llm_workings.data.spec import MOST_SAMPLES, DataSpec

FLOWERS = """length,width,kind
5.1,3.5,setosa
7.0,3.2,versicolor
4.9,3.0,setosa
6.4,3.1,versicolor
"""


def of(text: str, **values: object) -> Dataset:
    return make(DataSpec.of(name="csv", csv=text, **values))


# ---- what is read --------------------------------------------------------------------------------


def test_numbers_are_coordinates_and_the_last_column_is_learned() -> None:
    table = read_csv(FLOWERS)
    assert table.coordinates == ("length", "width")
    assert table.points.tolist() == [[5.1, 3.5], [7.0, 3.2], [4.9, 3.0], [6.4, 3.1]]
    assert table.classes == ("setosa", "versicolor")
    assert table.targets.tolist() == [0, 1, 0, 1]
    assert table.target == "kind"


@pytest.mark.parametrize(
    "text",
    [
        FLOWERS.replace(",", ";"),
        FLOWERS.replace(",", "\t"),
        FLOWERS.replace(",", " , "),
        FLOWERS.replace("\n", "\r\n"),
        FLOWERS.replace("\n", "\n\n"),
        FLOWERS.replace("\n", "\r"),
        FLOWERS.rstrip(),
        "\ufeff" + FLOWERS,
        FLOWERS.replace("setosa", '"setosa"').replace("5.1", '"5.1"'),
        FLOWERS.replace("5.1", "+51e-1").replace("7.0", "7."),
    ],
)
def test_it_may_be_written_in_many_ways(text: str) -> None:
    table, plain = read_csv(text), read_csv(FLOWERS)
    assert table.points.tolist() == plain.points.tolist()
    assert (table.coordinates, table.classes) == (plain.coordinates, plain.classes)


def test_quotes_keep_the_separator_and_a_line_break() -> None:
    table = read_csv('x;kind\n1;"a;b"\n2;"say ""c""\nagain"\n3;"a;b"\n')
    assert table.classes == ("a;b", 'say "c" again')


def test_without_a_header_columns_are_numbered() -> None:
    table = read_csv(FLOWERS.partition("\n")[2])
    assert table.coordinates == ("column 1", "column 2")
    assert table.target == "column 3"
    assert len(table.points) == 4
    assert read_csv("1,2\n3,4.5", "column 1").coordinates == ("column 2",)


def test_any_column_can_be_learned() -> None:
    table = read_csv("kind,length,width\na,1,2\nb,2,3", "kind")
    assert table.coordinates == ("length", "width")
    assert table.classes == ("a", "b")


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["0", "1", "1", "0"], ("0", "1")),
        (["10", "9", "9", "10", "10.0"], ("9", "10")),
        (["-1", "1"], ("-1", "1")),
        (["yes", "no", "1"], ("1", "no", "yes")),
        (["none", "some"], ("none", "some")),
        ([str(i % 10) for i in range(20)], tuple("0123456789")),
        (["0.5", "1", "0.5", "1"], ()),
        ([str(i % 11) for i in range(40)], ()),
        (["1", "2", "3", "4"], ()),
    ],
)
def test_text_and_few_whole_numbers_are_classes(cells: list[str], classes: tuple[str, ...]) -> None:
    table = read_csv("\n".join(f"{i},{cell}" for i, cell in enumerate(cells)))
    assert table.classes == classes
    if classes:
        assert table.targets.dtype == np.int64
        assert [classes[label] for label in table.targets] == [cell.removesuffix(".0") for cell in cells]
    else:
        assert table.targets.tolist() == [[float(cell)] for cell in cells]


@given(
    points=st.lists(st.lists(st.floats(-1e100, 1e100), min_size=3, max_size=3), min_size=2, max_size=30),
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1), min_size=2
    ),
    separator=st.sampled_from(",;\t"),
)
@settings(max_examples=100, deadline=None)
def test_what_pythons_writer_writes_is_read_back(
    points: list[list[float]], names: list[str], separator: str
) -> None:
    """A word in the header for each column, then numbers as Python has them, then any text as class."""
    written = io.StringIO()
    out = csv.writer(written, delimiter=separator)
    out.writerow(["first", "second", "third", "class"])
    classes = [f"is {names[i % 2]}{i % 2}" for i in range(len(points))]
    out.writerows([*point, name] for point, name in zip(points, classes, strict=True))
    table = read_csv(written.getvalue())
    assert table.points.tolist() == points
    assert [table.classes[label] for label in table.targets] == classes


@given(text=st.one_of(st.text(), st.text('1,;\t\n"x.-e', max_size=60)))
@settings(max_examples=400, deadline=None)
def test_no_text_does_more_than_raise_bad_input(text: str) -> None:
    try:
        table = read_csv(text)
    except BadInput as caught:
        wrong = caught
    else:
        assert np.isfinite(table.points).all()
        assert len(table.points) == len(table.targets) >= 2
        return
    assert wrong.hint
    assert len(str(wrong)) < 500


# ---- what the network gets -----------------------------------------------------------------------


def test_inputs_are_standardized_by_the_training_rows_and_say_so() -> None:
    text = "\n".join(f"{1000 + i},{2000 - 3 * i * i % 40},{i % 2}" for i in range(40))
    data = of("far,near,kind\n" + text, test=0.25)
    assert data.features == ("far (standardized)", "near (standardized)")
    assert data.inputs[data.train].mean(0) == pytest.approx([0, 0], abs=1e-12)
    assert data.inputs[data.train].std(0) == pytest.approx([1, 1])
    assert len(data.test) == 10
    assert abs(data.inputs.mean(0)).max() > 1e-6


def test_two_columns_are_a_plane_in_their_own_units() -> None:
    data = of(FLOWERS.replace("3.5", "1.5"), features=["y", "x²", "xy", "sin x"])
    assert data.dimensions == 2
    assert data.coordinates == ("length", "width")
    assert data.points[0].tolist() == [5.1, 1.5]
    low, high = data.domain or (0, 0)
    assert (low, high) == pytest.approx((1.5 - 0.55, 7.0 + 0.55))
    assert data.features == (
        "width (standardized)",
        "length² (standardized)",
        "length · width (standardized)",
        "sin length (standardized)",
    )
    x, y = ((data.points - data.points.mean(0)) / data.points.std(0)).T
    assert data.inputs == pytest.approx(np.stack([y, x * x, x * y, np.sin(x)], axis=1))
    assert data.expand(data.points) == pytest.approx(data.inputs)


def test_columns_that_fit_no_common_square_are_shown_standardized() -> None:
    data = of("age,income,buys\n20,30000,0\n40,50000,1\n60,20000,0\n30,90000,1\n", features=["x", "y²"])
    assert data.coordinates == ("age (standardized)", "income (standardized)")
    assert data.features == ("age (standardized)", "income² (standardized)")
    assert data.points.mean(0) == pytest.approx([0, 0], abs=1e-12)
    assert data.inputs[:, 1] == pytest.approx(data.points[:, 1] ** 2)
    assert data.expand(data.points) == pytest.approx(data.inputs)
    assert data.domain is not None
    assert max(map(abs, data.domain)) < 4


def test_one_column_is_a_line_and_three_have_no_picture() -> None:
    line = of("x,value\n0,100.5\n10,300.5\n20,200.5\n")
    assert line.dimensions == 1
    assert line.points[:, 0].tolist() == [0, 10, 20]
    assert line.domain == (-2, 22)
    assert line.outputs == ("value (standardized)",)
    assert line.targets[:, 0] == pytest.approx(np.array([-1, 1, 0]) * np.sqrt(1.5))
    assert line.expand(np.array([[10.0]])).tolist() == [[0.0]]
    space = of("a,b,c,kind\n1,2,3,p\n2,3,1,q\n3,1,2,p\n")
    assert (space.dimensions, space.domain) == (0, None)
    assert space.expand(space.points) == pytest.approx(space.inputs)
    with pytest.raises(BadInput, match=r"made of two columns, and the table has 3 besides 'kind'"):
        of("a,b,c,kind\n1,2,3,p\n2,3,1,q\n3,1,2,p\n", features=["x", "x²"])


def test_a_column_that_never_changes_does_no_harm() -> None:
    data = of("a,b,kind\n7,1,p\n7,2,q\n7,3,p\n")
    assert np.isfinite(data.inputs).all()
    assert data.inputs[:, 0].tolist() == [0, 0, 0]
    assert (of("a,kind\n7,p\n7,q\n").domain or (0, 0)) == (6, 8)


# ---- what is refused -----------------------------------------------------------------------------

MANY = "\n".join(f"{i},{i % 7},{i % 2}" for i in range(MOST_SAMPLES + 1))
WIDE = ",".join(map(str, range(MOST_COLUMNS + 2)))
WRONG = {
    "nothing": ("", "is empty", "x,y,class"),
    "blank lines": (" \n\n", "is empty", "x,y,class"),
    "an empty cell": ('""', "is empty", "x,y,class"),
    "a header alone": ("x,y,class\n", "only a header: x, y, class", "rows"),
    "a line too short": ("x,y,c\n1,2,a\n3,4\n", "Line 3 of the CSV has 2 cells, line 1 has 3", "as many"),
    "a line too long": ("x,y,c\n1,2,a,4\n", "Line 2 of the CSV has 4 cells, line 1 has 3", "as many"),
    "a title above": ("My table\nx,y,c\n1,2,a\n", "Line 2 of the CSV has 3 cells, line 1 has 1", "above"),
    "a word": ("x,y,c\n1,2,a\n3,four,b\n", "Line 3 of the CSV, column 'y': 'four' is not a number", "target"),
    "a word below quotes": ('x,y,c\n1,2,"a\nb"\n3,four,b\n', "Line 4 of the CSV, column 'y'", "target"),
    "a decimal comma": ("x;y;c\n1,5;2;a\n1;2;b\n", "'1,5' is not a number", "decimal point"),
    "a thousands mark": ("x,y,c\n1_000,2,a\n1,2,b\n", "'1_000' is not a number", "correct"),
    "other digits": ("x,y,c\n1,2,a\n١,2,b\n", "'١' is not a number", "correct"),
    "a missing value": ("x,y,c\n1,,a\n", "Line 2 of the CSV, column 'y', is empty", "Fill it in"),
    "a missing mark": ("x,y,c\n1,NA,a\n", "column 'y', is 'NA', which leaves a value missing", "Fill"),
    "a missing target": ("x,y,c\n1,2,a\n1,2,\n", "Line 3 of the CSV, column 'c', is empty", "Fill it in"),
    "commas alone": ("x,y,c\n1,2,a\n,,\n", "Line 3 of the CSV", "Fill it in"),
    "nan": ("x,y,c\n1,nan,a\n", "Line 2 of the CSV, column 'y': 'nan' is not a finite", "Leave"),
    "infinity": ("x,y,c\n-Infinity,2,a\n", "column 'x': '-Infinity' is not a finite", "Leave"),
    "a nan to learn": ("x,c\n1,0\n2,nan\n3,1\n", "Line 3 of the CSV, column 'c': 'nan'", "Leave"),
    "a number too large": ("x,c\n1e999,a\n2,b\n", "'1e999' is too large", "1e+100"),
    "a slip among values": (
        "\n".join([*(f"{i},{i * 1.5}" for i in range(20)), "3,oops"]),
        "Line 21 of the CSV, column 'column 2': 'oops' is not a number",
        "correct",
    ),
    "half a header": ("0,1,label\n1,2,0\n2,3,1\n", "Line 1 of the CSV may be a header or a row", "a name"),
    "a slip on the first line": (
        "1,two,a\n1,2,b\n",
        "has numbers, and 'two' where numbers follow",
        "correct",
    ),
    "one class": ("x,c\n1,a\n2,a\n", "'c' is 'a' in every row", "another column"),
    "one number": ("x,c\n1,3\n2,3\n", "'c' is '3' in every row", "another column"),
    "one value": ("x,c\n1,0.5\n2,0.5\n", "'c' is '0.5' in every row", "another column"),
    "one row": ("x,c\n1,a\n", "in every row", "add rows"),
    "too many classes": (
        "x,c\n" + "\n".join(f"{i},k{i}" for i in range(MOST_CLASSES + 1)),
        "'c' has 11 different classes (line 2: 'k0'); the limit is 10",
        "fewer",
    ),
    "too many rows": (MANY, "5,001 rows; the limit is 5,000", "at random"),
    "too many columns": (f"{WIDE}\n{WIDE}", "257 columns besides the target; the limit is 256", "Leave out"),
    "a name twice": ("x,x,c\n1,2,a\n", "Columns 1 and 2 of the CSV are both called 'x'", "own name"),
    "no name": (",x,c\n0,2,a\n", "Column 1 of the CSV has no name in the header on line 1", "index=False"),
    "a single column": ("x\n1\n2\n", "single column; line 1 says 'x'", "semicolons"),
    "spaces between": ("x y c\n1 2 a\n", "single column; line 1 says 'x y c'", "semicolons"),
    "quotes left open": ('x,y,c\n1,2,"a\n3,4,b\n', "quotes on line 2 of the CSV are not closed", "quotes"),
    "quotes left open far up": (
        'x,y,c\n1,2,a\n3,"4,b\n' + "5,6,a\n" * 30_000,
        "quotes on line 3 of the CSV are not closed: '3,\"4,b'",
        "quotes",
    ),
    "quotes inside": ('x,c\n1,"a"b\n2,c\n', "closed in the middle of a cell: '1,\"a\"b'", "twice"),
    "one endless cell": ("a" * 200_000 + ",1\n1,2", "a cell of more than 131,072 characters", "table"),
    "a workbook": ("PK\x03\x04\x14\x00", "binary data, beginning with 'PK", "Excel workbook"),
    "a picture": ("\ufffdPNG\r\n\x1a\n\0\0", "binary data", "as CSV"),
    "lost letters": (
        "x,c\n1,caf\ufffd\n",
        "Line 2 of the CSV has characters that could not be read",
        "UTF-8",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_with_its_line(wrong: str) -> None:
    text, message, hint = WRONG[wrong]
    with pytest.raises(BadInput) as caught:
        read_csv(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert len(str(caught.value)) < 500


def test_an_unknown_target_gets_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"no column 'widht' to learn. Did you mean 'width'"):
        read_csv(FLOWERS, "widht")
    with pytest.raises(BadInput, match=r"no column 'price'.*Its columns: length, width, kind"):
        read_csv(FLOWERS, "price")
    with pytest.raises(BadInput, match=r"has no header.*column 1, column 2"):
        read_csv("1,2\n3,4", "price")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_bytes_are_read_as_unicode(encoding: str) -> None:
    assert csv_text("größe,art\n1,ä\n".encode(encoding)) == "größe,art\n1,ä\n"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("x,c\n1,é\n".encode("latin-1"), r"Line 2 .* not UTF-8 text: byte 0xe9"),
        (b"PK\x03\x04\x14\x00\xff", r"binary data, beginning with 'PK"),
        (b"\xff\xfex\x00,\x00y", r"UTF-16|binary"),
    ],
)
def test_bytes_that_are_no_text_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        csv_text(raw)
