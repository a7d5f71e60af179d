"""`clnf_torch.track`: videos and frames in one call, all at once or frame by frame."""

from __future__ import annotations

import inspect
from fractions import Fraction

import numpy as np
import pytest
import torch

import clnf_torch
from clnf_torch.cli.videos import run as video_run
from clnf_torch.faces.tracking import TrackOptions
from clnf_torch.media.images import read_image
from tests.media.videos import FixedBox, moving, write_folder, write_video


@pytest.fixture
def frames(image) -> list[np.ndarray]:
    """Four frames with a face, RGB."""
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in moving(image, 4)]


@pytest.fixture
def options(bundle, box):
    return {"model": bundle, "face_detector": FixedBox(box), "multi_view": False}


@pytest.mark.parametrize("name", ["video.mp4", "folder"])
def test_files_are_those_of_the_command_line(name, clnf_torch_cli, bundle, image, box, options, monkeypatch, tmp_path):
    monkeypatch.setattr(video_run, "load_face_detector_for", lambda *_: FixedBox(box))
    write = write_video if name.endswith("mp4") else write_folder
    video = write(tmp_path / name, [frame * (number != 1) for number, frame in enumerate(moving(image, 4))])
    words = "--csv", tmp_path / "cli.csv", "--json", tmp_path / "cli.json", "--no-multi-view"
    done = clnf_torch_cli("track", video, "--model", bundle, *words)
    assert done.exit_code == 0, done.stderr
    found = clnf_torch.track(video, **options)
    for suffix in ("csv", "json"):
        found.save(own := tmp_path / f"own.{suffix}")
        assert own.read_bytes() == (tmp_path / f"cli.{suffix}").read_bytes(), suffix


def test_the_options_that_type_checkers_know_are_the_arguments():
    arguments = list(inspect.signature(clnf_torch.track).parameters.values())
    assert {each.name: each.annotation for each in arguments[3:]} == TrackOptions.__annotations__
    assert [each.name for each in arguments[:3]] == ["source", "model", "stream"]


def test_frames_rows_and_faces(frames, options):
    found = clnf_torch.track(frames, **options)
    assert len(found) == 4 and found.face_ids == (0,)
    assert [len(frame) for frame in found] == [1, 1, 1, 1]
    assert found.success.tolist() == [True] * 4
    assert found.frame.tolist() == [1, 2, 3, 4]
    torch.testing.assert_close(found.timestamp, torch.arange(4, dtype=torch.float64) / 30)
    assert found[1].landmarks.shape == (1, 68, 2) and found[1][0].landmarks.shape == (68, 2)
    torch.testing.assert_close(found[-1].landmarks[0], found.landmarks[3], rtol=0, atol=0)
    assert len(found[1:3]) == 2 and found[1:3].frame.tolist() == [2, 3]
    assert len(found.face(0)) == 4
    with pytest.raises(IndexError, match="there is no face 7; the numbers are \\[0\\]"):
        found.face(7)
    assert repr(found).startswith("FaceTrack(frames: 4 frames with 1 face, confidence ")


def test_frames_are_taken_from_the_end_by_number_and_by_mask(frames, options):
    found = clnf_torch.track(frames, **options)
    chosen = {(4, 3, 2, 1): slice(None, None, -1), (3, 1): [2, 0], (1, 4): np.array([True, False, False, True])}
    for numbers, places in chosen.items():
        some = found[places]
        assert isinstance(some, clnf_torch.FaceTrack) and some.frame.tolist() == list(numbers)
        assert [int(faces.frame[0]) for faces in some] == list(numbers)
        expected = torch.stack([found.landmarks[number - 1] for number in numbers])
        torch.testing.assert_close(some.landmarks, expected, rtol=0, atol=0)
    for none in (slice(2, 1), [], [False] * 4):
        assert len(found[none]) == 0 and found[none].face_ids == ()
    assert int(found[np.int64(-1)].frame[0]) == int(found[torch.tensor(3)].frame[0]) == 4
    with pytest.raises(IndexError, match="a frame is asked for twice"):
        found[[1, 1]]
    with pytest.raises(TypeError, match="True is no number of frames"):
        found[True]


def test_streamed_frames_are_those_of_the_whole(frames, options):
    whole = clnf_torch.track(frames, **options)
    streamed = list(clnf_torch.track(iter(frames), stream=True, **options))
    assert [int(faces.frame[0]) for faces in streamed] == [1, 2, 3, 4]
    for faces, expected in zip(streamed, whole, strict=True):
        torch.testing.assert_close(faces.landmarks, expected.landmarks, rtol=0, atol=0)
        torch.testing.assert_close(faces.pose, expected.pose, rtol=0, atol=0)
    np.testing.assert_array_equal(streamed[1].sources[0].pixels().permute(1, 2, 0).numpy(), frames[1])


def test_a_stream_reads_no_more_than_it_needs(image, options):
    """An endless source, as a camera is."""

    def camera():
        while True:
            yield read_image(image)

    stream = clnf_torch.track(camera(), stream=True, **options)
    assert [len(next(stream)) for _ in range(3)] == [1, 1, 1]
    stream.close()


def test_a_given_box_needs_no_detection(frames, bundle, box):
    x, y, w, h = box
    found = clnf_torch.track(frames[:2], bundle, box=box)
    corners = clnf_torch.track(frames[:2], bundle, box=[x, y, x + w, y + h], box_format="xyxy")
    torch.testing.assert_close(found.landmarks, corners.landmarks)
    assert found.success.tolist() == [True, True]
    for given in (np.array(box), np.array(box, np.float32).astype(">f4"), [np.float64(number) for number in box]):
        torch.testing.assert_close(clnf_torch.track(frames[:2], bundle, box=given).landmarks, found.landmarks)
    with pytest.raises(ValueError, match=r"box has shape \(3,\); expected the four numbers of one box, \(4,\)"):
        clnf_torch.track(frames[:2], bundle, box=box[:3])


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ([5000, 0, 50, 50], "outside the image of"),
        ([10, 10, 0, 50], "must be above 0"),
        ([10, 10, 50, -1], "must be above 0"),
        ([float("nan"), 10, 50, 50], "not finite"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_box_that_holds_no_face_is_refused(frames, bundle, box, why, stream):
    with pytest.raises(ValueError, match=why):
        clnf_torch.track(frames[:2], bundle, box=box, stream=stream)


def test_frames_that_cannot_be_used_are_damaged_ones(frames, bundle, box):
    found = clnf_torch.track([frames[0], None, frames[1][:-3], frames[1]], bundle, box=box)
    assert found.success.tolist() == [True, False, False, True]
    assert found.problem == "frame 2 cannot be used: expected an image, found NoneType"


def test_paths_and_patterns_of_frames_are_the_folder(image, bundle, box, tmp_path):
    folder = write_folder(tmp_path / "folder", moving(image, 3))
    expected = clnf_torch.track(folder, bundle, box=box)
    for source in (str(folder / "*"), sorted(folder.iterdir())):
        torch.testing.assert_close(clnf_torch.track(source, bundle, box=box).landmarks, expected.landmarks)


def test_one_of_several_videos_is_to_be_chosen(image, bundle, box, tmp_path):
    first = write_video(tmp_path / "a.mp4", moving(image, 2))
    assert len(clnf_torch.track(tmp_path / "*.mp4", bundle, box=box)) == 2
    (tmp_path / "b.mp4").write_bytes(first.read_bytes())
    for source in (tmp_path, tmp_path / "*.mp4"):
        with pytest.raises(ValueError, match="expected one video, found 2; give each"):
            clnf_torch.track(source, bundle, box=box)


def test_a_frame_without_a_face_has_no_faces(frames, options):
    found = clnf_torch.track([np.zeros_like(frames[0])] * 2, **options)
    assert found.face_id.tolist() == [-1, -1] and [len(frame) for frame in found] == [0, 0]
    assert found.face_ids == () and len(found) == 2


def test_sources_that_are_no_videos(options, tmp_path):
    with pytest.raises(ValueError, match="the source is an empty path"):
        clnf_torch.track("")
    with pytest.raises(FileNotFoundError, match="there is no such video or folder"):
        clnf_torch.track(tmp_path / "missing.mp4", **options)
    with pytest.raises(ValueError, match="expected frames, found none"):
        clnf_torch.track([], **options)
    for source in (0.5, None, True, b"clip.mp4", {"a": 1}):
        with pytest.raises(
            TypeError, match=f"the source is of type {type(source).__name__}; expected the path of a video"
        ):
            clnf_torch.track(source, **options)


def test_frames_of_a_type_that_holds_no_image_are_refused(frames, options):
    for source, number in (([object()], 1), (iter([3]), 1), ([frames[0], 3], 2)):
        with pytest.raises(
            TypeError, match=rf"^frame {number} is of type \w+; expected an image of Pillow's, an array"
        ):
            clnf_torch.track(source, **options)


@pytest.mark.parametrize("rate", [0, -5, float("nan"), float("inf"), "fast", [30]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_rate_that_is_none_is_refused(frames, options, rate, stream):
    with pytest.raises(ValueError, match=r"^rate is .*; expected frames per second, a finite number above 0$"):
        clnf_torch.track(frames, rate=rate, stream=stream, **options)


@pytest.mark.parametrize("rate", [25, np.float32(25), Fraction(30000, 1001), 1e-6])
def test_frames_are_at_the_times_of_their_rate(frames, options, rate):
    found = clnf_torch.track(frames[:3], rate=rate, **options)
    assert found.problem is None
    torch.testing.assert_close(found.timestamp, torch.arange(3, dtype=torch.float64) / float(rate))


def test_one_image_is_no_video(frames, options):
    one = frames[0]
    for image in (one, torch.from_numpy(one).permute(2, 0, 1)):
        with pytest.raises(ValueError, match=r"expected a batch .*; give it with \[None\] for one image$"):
            clnf_torch.track(image, **options)
    with pytest.raises(ValueError, match=r"give it with .* or with \.permute\(2, 0, 1\) for RGB$"):
        clnf_torch.track(torch.from_numpy(one), **options)
    assert len(clnf_torch.track([one], **options)) == 1


def test_gray_frames_have_an_axis_of_one_channel(frames, options):
    gray = np.stack(frames)[:3, ..., 1]
    with pytest.raises(ValueError, match=r"give it with \[..., None\] for 3 gray images"):
        clnf_torch.track(gray, **options)
    found = clnf_torch.track(gray[..., None], **options)
    assert len(found) == 3
    tensor = clnf_torch.track(torch.from_numpy(gray)[:, None], **options)
    torch.testing.assert_close(tensor.landmarks, found.landmarks, rtol=0, atol=0)


def test_frames_before_the_first_image_are_damaged_ones(frames, bundle, box):
    found = clnf_torch.track([None, frames[0][:0], frames[0], frames[1]], bundle, box=box)
    assert found.success.tolist() == [False, False, True, True]
    assert found.problem == "frame 1 cannot be used: expected an image, found NoneType"
    expected = clnf_torch.track(frames[:2], bundle, box=box)
    torch.testing.assert_close(found.landmarks[2:], expected.landmarks, rtol=0, atol=0)


@pytest.mark.parametrize("endless", [False, True])
def test_a_camera_that_gives_no_image_is_given_up(options, endless):
    source = iter(lambda: None, 0) if endless else [None, None]
    with pytest.raises(
        ValueError, match=r"none of the first (2|300) frames can be used; frame 1: expected an image, found None"
    ):
        clnf_torch.track(source, **options)


def test_a_stream_says_which_frames_are_damaged(frames, bundle, box):
    given = [frames[0], None, frames[1][:-3], frames[1]]
    streamed = []
    with pytest.warns(UserWarning, match="^frame 2 cannot be used: expected an image, found NoneType$"):
        streamed.extend(clnf_torch.track(given, bundle, box=box, stream=True))
    assert [[problem.message[:22] for problem in faces.problems] for faces in streamed] == [
        [],
        ["frame 2 cannot be used"],
        ["frame 3 cannot be used"],
        [],
    ]
    assert streamed[1].problems[0].image == "frames, frame 2"


def test_a_stream_of_a_folder_says_which_files_are_damaged(image, bundle, box, tmp_path):
    folder = write_folder(tmp_path / "folder", moving(image, 3))
    (broken := sorted(folder.iterdir())[1]).write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 3 images cannot be used, the first: "):
        streamed = list(clnf_torch.track(folder, bundle, box=box, stream=True))
    assert [len(faces.problems) for faces in streamed] == [0, 1, 0]
    assert streamed[1].problems[0].message.startswith(f"{broken}: ")


@pytest.mark.parametrize("stream", [False, True])
def test_frames_that_end_with_an_error_are_not_lost(frames, bundle, box, stream):
    def broken():
        yield from frames[:2]
        raise OSError("the camera is gone")

    line = "frames: OSError: the camera is gone"
    if not stream:
        found = clnf_torch.track(broken(), bundle, box=box)
        assert len(found) == 2 and found.problem == line
        assert repr(found).endswith(f", problem: {line})")
        return
    streamed = []
    # Warnings are errors here: even so all frames come first
    with pytest.raises(UserWarning, match=f"^{line}$"):
        for faces in clnf_torch.track(broken(), bundle, box=box, stream=True):
            streamed.append(faces)
    assert [len(faces) for faces in streamed] == [1, 1]
