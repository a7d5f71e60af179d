"""The page of a batch."""

import base64
import json

import cv2
import numpy as np
import pytest

from clnf_torch.report import read_log, write_report
from clnf_torch.report.frames import shown_frames
from clnf_torch.report.page import MOST_FACES
from clnf_torch.report.signals import MOST_POINTS
from clnf_torch.report.sources import Entry
from tests.export.tables import part_of
from tests.media.videos import write_video
from tests.report.html_pages import Page
from tests.report.tables import columns_of, pictures, talking, write_columns, write_table


@pytest.fixture
def report(tmp_path):
    """Writes a report of the tables in a folder, and reads it."""

    def write(**options):
        entries = write_report([tmp_path], tmp_path / "report.html", **options)
        return Page(tmp_path / "report.html"), entries

    return write


def test_a_whole_batch(tmp_path, report):
    write_table(tmp_path / "one.csv", talking(30, lost=slice(10, 15)))
    write_video(tmp_path / "one.mp4", pictures(30))
    write_table(tmp_path / "two.json", talking(12, faces=2))
    page, entries = report(title="A & B")
    assert [entry.name for entry in entries] == ["one", "two"] and not any(entry.problem for entry in entries)
    assert "A & B" in page.text and "83.3%" in page.text and "5 frames" in page.text
    one, two = page.numbers
    assert [face["face"] for face in two["faces"]] == [0, 1]
    ((first, last),) = one["gaps"]
    assert (first, last) == pytest.approx((10 / 30, 15 / 30), abs=1e-3)
    mouth = next(chart for chart in one["faces"][0]["charts"] if chart["title"] == "Mouth opening")["lines"][0]
    assert mouth["y"].count(None) == 1 and len(mouth["x"]) == 26
    assert len(page.all("button", "frame")) == 30


def test_the_page_needs_no_network(tmp_path, report):
    write_table(tmp_path / "one.csv", talking(5))
    write_video(tmp_path / "one.mp4", pictures(5))
    page, _ = report()
    assert page.all("img") and all(
        address.startswith(("data:image/jpeg;base64,", "#file")) for address in page.loaded()
    )
    assert "http://" not in page.source.replace("http://www.w3.org/2000/svg", "") and "https://" not in page.source
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_names_are_escaped(tmp_path, report):
    name = "<img src=x onerror=alert(1)>'\"&"
    write_table(tmp_path / f"{name}.csv", talking(3, image=("</script><b>", "b", "c")), image_mode=True)
    page, _ = report(title="</title><script>alert(1)</script>")
    assert page.all("b") == [] and page.all("img") == [] and len(page.all("script")) == 2
    assert name in page.text and "</title><script>" in page.text


def test_damaged_and_empty_tables_are_named(tmp_path, report):
    write_table(tmp_path / "empty.csv", part_of(talking(2), slice(0, 0)))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.csv").write_text("name,value\na,1\n")
    write_table(tmp_path / "good.csv", talking(3))
    page, entries = report()
    assert {entry.name: bool(entry.problem) for entry in entries} == {"broken": True, "empty": False, "good": False}
    assert "broken.json: cannot be read" in page.text and "The table has no rows" in page.text
    assert len(page.numbers) == 1


def test_an_empty_table_of_photographs_is_no_problem(tmp_path, report):
    write_table(tmp_path / "empty.csv", part_of(talking(2), slice(0, 0)), image_mode=True)
    page, (entry,) = report()
    assert entry.problem is None and "The table has no rows" in page.text


def test_a_folder_without_tables(report):
    page, entries = report()
    assert entries == [] and "No tables of faces were found" in page.text


def test_few_columns(tmp_path, report):
    write_columns(tmp_path / "t.csv", {"frame": [1, 2, 5], "confidence": [0.5, "nan", 0.7]})
    page, _ = report()
    (numbers,) = page.numbers
    assert numbers["unit"] == "frame" and numbers["range"] == [1, 5]
    assert [chart["title"] for chart in numbers["faces"][0]["charts"]] == ["Confidence"]
    # A break where frames are missing
    assert numbers["faces"][0]["charts"][0]["lines"][0]["y"] == [0.5, None, None, 0.7]


def test_a_table_without_any_face(tmp_path, report):
    write_table(tmp_path / "t.csv", talking(4, lost=slice(0, 4)))
    page, _ = report()
    assert page.numbers[0]["faces"] == [] and "0.0%" in page.text


def test_thousands_of_frames_stay_small(tmp_path, report):
    frames = 20_000
    columns = {
        "frame": range(1, frames + 1),
        "timestamp": np.arange(frames) / 30,
        "confidence": np.sin(np.arange(frames)) ** 2,
    }
    write_columns(tmp_path / "t.csv", {name: list(values) for name, values in columns.items()})
    page, _ = report()
    line = page.numbers[0]["faces"][0]["charts"][0]["lines"][0]
    assert len(line["x"]) <= MOST_POINTS and len(page.source) < 60_000


def test_many_identities_are_bounded(tmp_path, report):
    write_table(tmp_path / "t.csv", talking(3, faces=MOST_FACES + 3))
    page, _ = report()
    assert len(page.numbers[0]["faces"]) == MOST_FACES and page.numbers[0]["left_out"] == 3


def test_of_several_formats_one_is_read(tmp_path, report):
    for suffix in (".csv", ".json", ".parquet"):
        write_table(tmp_path / f"t{suffix}", talking(2))
    _, (entry,) = report()
    assert entry.path.suffix == ".parquet"


def test_names_that_two_tables_share_are_told_apart(tmp_path, report):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_table(tmp_path / folder / "t.csv", talking(2))
    _, entries = report()
    assert [entry.name for entry in entries] == [str(tmp_path / folder / "t") for folder in ("a", "b")]


def test_videos_are_found_by_the_manifest(tmp_path, report):
    (tmp_path / "recordings").mkdir()
    video = write_video(tmp_path / "recordings" / "other.mp4", pictures(3))
    table = write_table(tmp_path / "t.csv", talking(3))
    manifest = {"videos": [{"input": str(video), "outputs": {"csv": str(table.resolve())}}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    page, (entry,) = report()
    assert (entry.pictures, entry.drawn) == (video, False) and len(page.all("img")) == 3


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rejected_fits_of_images_are_left_out_and_counted(tmp_path, report, suffix):
    table = talking(3, lost=slice(1, 2), image=("x.png", "y.png", "z.png"))
    path = write_table(tmp_path / f"t.{suffix}", table, image_mode=True)
    notes = list[str]()
    page, _ = report(note=notes.append)
    said = "Rows with success 0 are left out, 1 of 3: no face, or a rejected fit."
    assert said in page.text and notes == [f"read: {path}", f"{path}: {said}"]
    assert "66.7%" in page.text and len(page.numbers[0]["faces"]) == 1


def test_tables_that_do_not_say_which_fits_were_rejected(tmp_path, report):
    write_columns(tmp_path / "t.csv", columns_of(talking(3), "success"))
    page, _ = report()
    assert "No column success says which fits were rejected" in page.text


def test_images_are_found_by_the_manifest_or_in_a_folder(tmp_path, report):
    (tmp_path / "photos").mkdir()
    photos = [tmp_path / "photos" / name for name in ("x.png", "y.png")]
    for photo in photos:
        cv2.imwrite(str(photo), pictures(1)[0])
    # As the command was given them, in another folder
    table = write_table(tmp_path / "t.csv", talking(3, image=("p/x.png", "p/x.png", "p/y.png")), image_mode=True)
    page, _ = report()
    assert page.all("img") == [] and "were not found" in page.text
    page, _ = report(videos=tmp_path / "photos")
    assert len(page.all("img")) == 2
    inputs = [{"input": str(photo), "faces": 1, "first_row": row} for photo, row in zip(photos, (0, 2), strict=True)]
    manifest = {"images": [{"inputs": inputs, "outputs": {"--csv": str(table.resolve())}}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    page, (entry,) = report()
    assert len(page.all("img")) == 2 and entry.images == dict(enumerate(photos, 1))


def test_videos_are_found_in_a_folder_that_is_given(tmp_path, report):
    (tmp_path / "recordings").mkdir()
    video = write_video(tmp_path / "recordings" / "t.mp4", pictures(3))
    write_table(tmp_path / "t.csv", talking(3))
    _, (entry,) = report(videos=tmp_path / "recordings")
    assert (entry.pictures, entry.drawn) == (video, False)


def test_a_video_beside_its_table_is_a_drawn_one(tmp_path, report):
    write_table(tmp_path / "t.csv", talking(3))
    write_video(tmp_path / "t.mp4", pictures(3))
    _, (entry,) = report()
    assert entry.drawn


def test_measures_of_the_image_say_so(tmp_path, report):
    columns = columns_of(talking(4), *(f"Z_{point}" for point in range(68)))
    write_columns(tmp_path / "t.csv", columns)
    page, _ = report()
    units = {chart["title"]: chart["unit"] for chart in page.numbers[0]["faces"][0]["charts"]}
    assert units["Mouth opening"] == "% of the eye distance"


def test_what_is_drawn_of_long_tables_is_that_of_the_whole_table(tmp_path):
    table = write_table(tmp_path / "t.csv", talking(3))
    video = write_video(tmp_path / "v.mp4", pictures(3))
    (tmp_path / "manifest.json").write_text(
        json.dumps({"videos": [{"input": str(video), "outputs": {"csv": str(table.resolve())}}]})
    )
    write_report([table], tmp_path / "page.html")
    images = Page(tmp_path / "page.html").all("img")
    shown, _ = shown_frames(Entry("t", table, read_log(table), pictures=video), 3)
    assert {image["src"].partition(",")[2] for image in images} == {
        base64.b64encode(frame.content).decode() for frame in shown
    }


def test_progress_ends_with_all_bytes(tmp_path, report):
    write_table(tmp_path / "one.csv", talking(600))
    write_table(tmp_path / "two.json", talking(2))
    told = list[tuple[int, int]]()
    report(progress=lambda done, total: told.append((done, total)))
    assert len(told) == 3 and told[-1][0] == told[-1][1] == sum(
        path.stat().st_size for path in tmp_path.glob("*.[cj]s*")
    )
