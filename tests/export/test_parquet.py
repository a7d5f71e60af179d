"""`clnf_torch.export.parquet`: the same columns and numbers, in groups of rows."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow: pip install --editable '.[tables]'")

import pyarrow as pa
from pyarrow import parquet

from clnf_torch.export.parquet import ROW_GROUP, parquet_file
from clnf_torch.files.growing import PartialError
from clnf_torch.files.writing import partial_of
from tests.export.tables import by_name, make_table, names_of, part_of


@pytest.fixture
def target(tmp_path):
    return tmp_path / "faces.parquet"


@pytest.mark.parametrize("image_mode", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reads_back_the_same_numbers(target, dtype, image_mode):
    table = make_table(6, dtype=dtype, likelihoods=torch.rand(6, 68, dtype=dtype), image=tuple("abcdef"))
    with parquet_file(target, image_mode=image_mode) as rows:
        rows.append(part_of(table, slice(0, 2)))
        rows.append(part_of(table, slice(2, 6)))
    found = parquet.read_table(target)
    assert found.column_names == names_of(table, image_mode=image_mode)
    assert found.to_pydict() == by_name(table, image_mode=image_mode)


def test_numbers_keep_their_types(target):
    with parquet_file(target) as rows:
        rows.append(make_table(1))
    schema = parquet.read_schema(target)
    types = {"frame": pa.int64(), "success": pa.int64(), "timestamp": pa.float64(), "confidence": pa.float32()}
    assert {name: schema.field(name).type for name in types} == types


def test_rows_are_written_in_groups(target):
    table = make_table(1).without("eye_landmarks", "eye_points", "landmarks", "points", "params_local")
    with parquet_file(target) as rows:
        for _ in range(2 * ROW_GROUP + 5):
            rows.append(table)
        assert len(list(target.parent.iterdir())) == 1 and not target.exists()
    file = parquet.ParquetFile(target)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert groups == [ROW_GROUP, ROW_GROUP, 5]


def test_what_was_done_stays_beside_an_older_file(target):
    target.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt), parquet_file(target) as rows:
        rows.append(make_table(3))
        raise KeyboardInterrupt
    assert target.read_bytes() == b"older"
    assert parquet.read_table(partial_of(target)).num_rows == 3


def test_gone_on_with_it_is_the_same_file(target):
    tables = [make_table(ROW_GROUP - 1), make_table(3), make_table(2)]
    with parquet_file(target) as rows:
        for table in tables:
            rows.append(table)
    whole = target.read_bytes()
    with pytest.raises(KeyboardInterrupt), parquet_file(target) as rows:
        rows.append(tables[0])
        position = rows.position()
        rows.append(make_table(9))
        assert rows.position() == position + 1
        raise KeyboardInterrupt
    with parquet_file(target, position=position) as rows:
        rows.append(tables[1])
        rows.position()
        rows.append(tables[2])
    assert target.read_bytes() == whole and list(target.parent.iterdir()) == [target]
    with pytest.raises(PartialError, match="expected 2 files to go on with, found 0"), parquet_file(target, position=2):
        pass


def test_no_rows(target):
    with parquet_file(target):
        pass
    assert not list(target.parent.iterdir())
    with parquet_file(target) as rows:
        rows.append(make_table(0))
    assert parquet.read_table(target).shape == (0, 679)


def test_other_columns_are_refused_and_what_was_written_stays(target):
    with pytest.raises(ValueError, match="these rows have other columns"), parquet_file(target) as rows:
        rows.append(make_table(2))
        rows.append(make_table(1, dtype=torch.float64))
    assert parquet.read_table(partial_of(target)).num_rows == 2


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    with parquet_file(tmp_path / "t.parquet") as file:
        file.append(make_table(2, image=("\udcff.png", "=\n.png")))
    assert parquet.read_table(tmp_path / "t.parquet").column("image").to_pylist() == [r"\xff.png", r"=\x0a.png"]


def test_a_folder_whose_name_is_not_utf8_holds_tables(tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    with parquet_file(folder / "t.parquet") as file:
        file.append(make_table(2))
    with (folder / "t.parquet").open("rb") as opened:
        assert parquet.ParquetFile(opened).metadata.num_rows == 2
