"""Archives are read as ``torch.load`` reads them; damaged ones are refused in one line, in little memory."""

from __future__ import annotations

import pickle
import re
import tracemalloc
import warnings
import zipfile

import pytest
import torch

from clnf_torch.files.archive_reader import ArchiveError, read_archive
from tests.files.archives import Stored, pickled, saved, with_byte, write
from tests.files.test_archive import equal, sample

FOUR = {"data/0": bytes(16)}


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("save", [saved, lambda path, value: torch.save(value, path) or path], ids=["ours", "torch"])
def test_reads_what_torch_reads(tmp_path, rng, mmap, save):
    values = sample(rng)
    path = save(tmp_path / "a.pt", values)
    assert equal(read_archive(path, mmap=mmap), torch.load(path, weights_only=True))


def test_reads_a_state_of_training(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.randn(5, 3)).sum().backward()
    optimiser.step()
    state = {"weights": module.state_dict(), "optimiser": optimiser.state_dict(), "rng": torch.Generator().get_state()}
    torch.save(state, tmp_path / "a.pt")
    found = read_archive(tmp_path / "a.pt")
    assert equal(dict(found["weights"]), dict(state["weights"])) and torch.equal(found["rng"], state["rng"])
    optimiser.load_state_dict(found["optimiser"])


def test_mapped_tensors_stay_in_the_file_and_copies_do_not(tmp_path):
    path = saved(tmp_path / "a.pt", [torch.arange(4.0)])
    (mapped,), (copied,) = read_archive(path), read_archive(path, mmap=False)
    with open(path, "r+b") as file:
        content = file.read()
        file.seek(content.index(torch.arange(4.0).numpy().tobytes()))
        file.write(torch.full((4,), 7.0).numpy().tobytes())
    assert mapped.tolist() == [7.0] * 4 and copied.tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("record", ["data/0", "data.pkl", "byteorder"])
@pytest.mark.parametrize("bit", [1, 128])
def test_a_changed_bit_is_seen(tmp_path, record, bit):
    path = with_byte(saved(tmp_path / "a.pt", {"x": torch.ones(300)}), record, bit)
    with pytest.raises(ArchiveError, match=rf"record {record} that does not agree with its checksum"):
        read_archive(path)
    if record == "data/0":
        assert read_archive(path, verify=False)["x"].shape == (300,)


def test_every_changed_bit_is_seen_or_changes_nothing(tmp_path):
    values = {"x": torch.arange(5), "y": [1.5, "z"]}
    intact = saved(tmp_path / "a.pt", values).read_bytes()
    for at in range(len(intact)):
        (tmp_path / "b.pt").write_bytes(intact[:at] + bytes([intact[at] ^ 1 << at % 8]) + intact[at + 1 :])
        try:
            assert equal(read_archive(tmp_path / "b.pt"), values), at
        except ArchiveError as error:
            assert str(error).isprintable() and len(str(error)) < 200


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_none(tmp_path, bad, dtype):
    numbers = torch.ones(3_000_001).to(dtype)
    numbers[-1] = torch.tensor(bad, dtype=torch.float64)
    path = saved(tmp_path / "a.pt", [torch.arange(9), numbers])
    with pytest.raises(ArchiveError, match="not finite, or beyond 1e"):
        read_archive(path, finite=True)
    assert len(read_archive(path)) == 2


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (Stored("0", 4, (5,), (1,)), "more numbers than the file has|outside of its record"),
        (Stored("0", 4, (2, 2), (4, 1)), "outside of its record"),
        (Stored("0", 4, (4,), (1,), offset=1), "outside of its record"),
        (Stored("0", 4, (4,), (1,), offset=-1), "without numbers, shape or strides"),
        (Stored("0", 4, (4,), (-1,)), "without numbers, shape or strides"),
        (Stored("0", 4, (-4,), (1,)), "without numbers, shape or strides"),
        (Stored("0", 4, (10**9,), (0,)), "more numbers than the file has"),
        (Stored("0", 4, (2**40, 0), (0, 2**50)), "outside of its record"),
        (Stored("0", 4, (1,) * 9, (1,) * 9), "more numbers than the file has"),
        (Stored("0", 4, (4,), (0,)), "several places"),
        (Stored("0", 4, (2, 3), (1, 1)), "several places"),
        (Stored("0", 4, (4,), ()), "more numbers than the file has"),
        (Stored("0", 5, (4,), (1,)), "16 bytes data/0 for 5 numbers"),
        (Stored("0", 2**40, (4,), (1,)), "16 bytes data/0 for 1099511627776 numbers"),
        (Stored("0", -4, (4,), (1,)), "a reference to something else"),
        (Stored("1", 4, (4,), (1,)), "no record data/1"),
    ],
)
@pytest.mark.parametrize("mmap", [True, False])
def test_tensors_that_promise_too_much(tmp_path, tensor, complaint, mmap):
    path = write(tmp_path / "a.pt", pickled({"x": tensor}), FOUR)
    with pytest.raises(ArchiveError, match=complaint):
        read_archive(path, mmap=mmap)


def test_tensors_may_share_their_numbers_but_not_without_end(tmp_path):
    one, other = Stored("0", 4, (2, 1), (1, 1)), Stored("0", 4, (2,), (2,), offset=1)
    numbers = {"data/0": torch.tensor([0.0, 0.0, 0.0, 1.0]).numpy().tobytes()}
    found = read_archive(write(tmp_path / "a.pt", pickled([one, other]), numbers))
    assert found[0].tolist() == [[0.0], [0.0]] and found[1].tolist() == [0.0, 1.0]
    many = [Stored("0", 4, (4,), (1,)) for _ in range(1000)]
    with pytest.raises(ArchiveError, match="more numbers than the file has"):
        read_archive(write(tmp_path / "a.pt", pickled(many), FOUR))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x80\x04]r\xff\xff\xff\x3f.", None),
        (b"\x80\x02\x96\x00\x00\x00\x00\x10\x00\x00\x00.", "of another kind|damaged list"),
        (b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R.", "asks for builtins.bytearray"),
        (b"\x80\x02cos\nsystem\n.", "asks for os.system"),
        (pickle.dumps({"x": torch.float16}, protocol=2), "asks for torch.float16"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "a storage outside of its record"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", None),
        (b"\x80\x02N" + b"N0" * 300_000 + b".", "more than|of another kind"),
        (b"\x80\x02K\x01K\x02.", "damaged list"),
        (b"", "damaged list"),
        (b"\x80\x02}(]K\x01u.", "damaged list"),
    ],
)
def test_pickles_of_anything_else(tmp_path, data, complaint):
    path = write(tmp_path / "a.pt", data, FOUR)
    tracemalloc.start()
    try:
        read_archive(path)
        assert complaint is None
    except ArchiveError as error:
        assert complaint is not None and re.search(complaint, str(error)) and len(str(error)) < 200
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50 << 20


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.to_sparse(),
        lambda x: x.to(torch.complex64),
        lambda x: x.to("meta"),
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        lambda x: torch.nn.Parameter(x),
    ],
    ids=["sparse", "complex", "meta", "quantised", "parameter"],
)
def test_other_kinds_of_tensors(tmp_path, other):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"x": other(torch.ones(2, 2))}, tmp_path / "a.pt")
    with pytest.raises(ArchiveError, match=r"found the file asks for torch"):
        read_archive(tmp_path / "a.pt")


def test_compressed_encrypted_and_doubled_records(tmp_path):
    data = pickled([0] * 1000)
    with pytest.raises(ArchiveError, match=r"a compressed or encrypted record 'archive/data\.pkl'"):
        read_archive(write(tmp_path / "a.pt", data, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ArchiveError, match=r"found the record 'data\.pkl' twice"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_archive(write(tmp_path / "a.pt", data, twice="data.pkl"))
    content = bytearray(write(tmp_path / "a.pt", data).read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # of byteorder
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ArchiveError, match="a compressed or encrypted record 'archive/byteorder'"):
        read_archive(tmp_path / "a.pt")


def test_a_large_table_of_contents_is_not_read(tmp_path):
    path = write(tmp_path / "a.pt", pickled(1))
    content = bytearray(bytes(9 << 20) + path.read_bytes())
    content[-10:-6] = (9 << 20).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="a table of contents of 9,437,184 bytes"):
        read_archive(path)
