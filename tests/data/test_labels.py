from __future__ import annotations

import pytest

from graphopt.data.labels import image_labels
from graphopt.errors import DataError


def table(names: list[str], text: str, path: str = "labels.csv") -> list[int]:
    found = image_labels(names, {path: text.encode()}, "d")
    assert found is not None
    return found.tolist()


def test_a_table_with_extra_columns_in_any_order() -> None:
    assert table(["a.jpg", "s/b.jpg"], 'author,label,file\nme,7,s/b.jpg\n"you, too",3,a.jpg\n') == [3, 7]


def test_a_table_is_relative_to_its_folder_or_matches_file_names() -> None:
    assert table(["d/a.jpg"], "file,label\na.jpg,4\n", "d/labels.csv") == [4]
    assert table(["d/a.jpg"], "file,label\nelsewhere/a.jpg,4\n") == [4]
    assert table(["d/a.jpg"], "\ufefffile,label\r\n.\\d\\a.jpg, 4\r\n") == [4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,class\na.jpg,1\n", "needs file and label"),
        ("a.jpg,1\n", "needs file and label"),
        ("", "needs file and label"),
        ("file,label\na.jpg,cat\n", "line 2 has the label 'cat'"),
        ("file,label\na.jpg,-1\n", "line 2 has the label '-1'"),
        ("file,label\na.jpg\n", "line 2 has the label ''"),
        ("file,label\nb.jpg,1\n", "a.jpg of d has no row"),
        ("file,label\na.jpg,1\na.jpg,2\n", "two labels, 1 and 2"),
        ("file,label\nx/a.jpg,1\ny/a.jpg,2\n", "ambiguous"),
    ],
)
def test_tables_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        table(["a.jpg"], text)


def test_a_table_in_another_encoding() -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        image_labels(["a.jpg"], {"labels.csv": "file,label\nä.jpg,1".encode("latin-1")}, "d")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat/1.jpg", "dog/1.jpg", "dog/2.jpg"], [0, 1, 1]),
        (["data/b/1.jpg", "data/a/1.jpg"], [1, 0]),  # what all share is no class
        (["cat/x/1.jpg", "cat/y/1.jpg", "dog/x/1.jpg"], [0, 0, 1]),  # below a class anything goes
        (["test/cat/1.jpg", "train/dog/1.jpg", "train/cat/2.jpg"], [0, 1, 0]),  # splits are no classes
        (["test/1.jpg", "train/2.jpg"], None),
        (["1.jpg", "cat/1.jpg", "dog/1.jpg"], None),  # not all lie in folders
        (["images/1.jpg", "images/2.jpg"], None),  # one folder is no class
        (["1.jpg", "2.jpg"], None),
        (["test/cat/1.jpg", "train/cat/2.jpg"], None),  # nor is one class below the splits
    ],
)
def test_class_folders(names: list[str], expected: list[int] | None) -> None:
    found = image_labels(names, {}, "d")
    assert (None if found is None else found.tolist()) == expected
