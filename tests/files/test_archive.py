"""Archives written tensor by tensor read like those of ``torch.save``."""

from __future__ import annotations

import pickle
import zipfile

import pytest
import torch

from clnf_torch.files.archive import ALIGNMENT, LazyTensor, save_archive

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def lazy(tensor: torch.Tensor) -> LazyTensor:
    return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def equal(a: object, b: object) -> bool:
    """Nested values are the same, tensors in every bit, type and shape."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def sample(rng: torch.Generator) -> dict:
    numbers = torch.rand(3, 4, 5, generator=rng) * 100
    return {
        "types": [numbers.to(dtype) for dtype in DTYPES],
        "views": (numbers.transpose(0, 2), numbers[:, 1, ::2]),
        "odd": [torch.tensor(3.5), torch.empty(0, 7), torch.empty(2, 0, dtype=torch.bool)],
        "plain": {"none": None, "text": "ä", "large": 2**40, "real": -1.5e-300, "truth": (True, False), "empty": {}},
    }


@pytest.mark.parametrize("mmap", [True, False])
def test_reads_like_what_torch_saved(tmp_path, rng, mmap):
    values = sample(rng)
    save_archive(values, tmp_path / "ours.pt")
    torch.save(values, tmp_path / "theirs.pt")
    ours = torch.load(tmp_path / "ours.pt", weights_only=True, mmap=mmap)
    assert equal(ours, values)
    assert equal(ours, torch.load(tmp_path / "theirs.pt", weights_only=True, mmap=mmap))


@pytest.mark.parametrize("dtype", DTYPES)
def test_lazy_tensors_are_written_as_made(tmp_path, rng, dtype):
    made = (torch.rand(7, 11, generator=rng) * 9).to(dtype)
    save_archive([lazy(made), lazy(made.t())], tmp_path / "a.pt")
    assert equal(torch.load(tmp_path / "a.pt", weights_only=True), [made, made.t().contiguous()])


def test_has_the_records_of_torch_save_aligned_and_sound(tmp_path, rng):
    values = sample(rng)
    save_archive(values, tmp_path / "ours.pt")
    torch.save(values["types"], tmp_path / "theirs.pt")
    with zipfile.ZipFile(tmp_path / "ours.pt") as ours, zipfile.ZipFile(tmp_path / "theirs.pt") as theirs:
        assert ours.testzip() is None  # every checksum is right
        names = {name.split("/", 1)[1] for name in ours.namelist()}
        assert {"data.pkl", "byteorder", "version", ".data/serialization_id", "data/0"} <= names
        same = [
            (ours.read("archive/" + name), theirs.read("theirs/" + name)) for name in ("byteorder", "version", "data/3")
        ]
        assert all(a == b for a, b in same)
        for record in ours.infolist():
            assert record.compress_type == zipfile.ZIP_STORED
            with ours.open(record) as stream:
                assert stream._orig_compress_start % ALIGNMENT == 0  # type: ignore[attr-defined]


def test_the_same_object_is_written_once(tmp_path):
    tensor = torch.arange(1000.0)
    shared = lazy(torch.arange(500.0))
    save_archive([tensor, tensor, shared, shared], tmp_path / "a.pt")
    loaded = torch.load(tmp_path / "a.pt", weights_only=True)
    assert loaded[0] is loaded[1] and loaded[2] is loaded[3]
    assert (tmp_path / "a.pt").stat().st_size < 2 * 4 * 1500


def test_one_tensor_lives_at_a_time_and_bytes_are_counted(tmp_path):
    calls, made = [], []

    def make() -> torch.Tensor:
        made.append(len(calls))  # how many pieces were written before
        return torch.ones(3, 1 << 20)  # 12 MB: several pieces

    values = [LazyTensor((3, 1 << 20), torch.float32, make) for _ in range(2)]
    save_archive(values, tmp_path / "a.pt", lambda done, total: calls.append((done, total)))
    done, totals = zip(*calls, strict=True)
    assert made[0] == 0 and 0 < made[1] < len(calls)
    assert list(done) == sorted(done) and done[-1] == 2 * 12 * 2**20 and set(totals) == {done[-1]}


def test_the_same_values_are_the_same_bytes(tmp_path, rng):
    values = sample(rng)
    for name in ("a.pt", "b.pt"):
        save_archive(values, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(tmp_path, error):
    def fail() -> torch.Tensor:
        raise error

    path = tmp_path / "a.pt"
    path.write_bytes(b"before")
    with pytest.raises(error):
        save_archive([torch.ones(10), LazyTensor((1,), torch.float32, fail)], path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"] and path.read_bytes() == b"before"


def test_broken_promises_and_unknown_types_are_refused(tmp_path):
    wrong = LazyTensor((2, 2), torch.float32, lambda: torch.ones(4))
    with pytest.raises(ValueError, match=r"promised \(2, 2\)"):
        save_archive(wrong, tmp_path / "a.pt")
    with pytest.raises(TypeError, match=r"no torch\.complex64 tensors"):
        save_archive(torch.ones(1, dtype=torch.complex64), tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_plain_values_only(tmp_path):
    save_archive({"code": print}, tmp_path / "a.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pt", weights_only=True)
