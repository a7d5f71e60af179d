"""The page in a browser: Chromium without a window, where there is one."""

import json
import os
import shutil
import subprocess

import pytest

from clnf_torch.report import write_report
from tests.media.videos import write_video
from tests.report.tables import pictures, talking, write_table

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium: apt-get install chromium, or set CHROMIUM"
)
# Seconds, on shared cores
PATIENCE = 120

STEPS = """
<script>
  const all = (what) => [...document.querySelectorAll(what)];
  const chart = all("#file0 .chart svg")[1], box = chart.getBoundingClientRect();
  const at = (share) => ({ clientX: box.left + 44 + share * (box.width - 48), clientY: box.top + 20, bubbles: true });
  const said = { charts: all("#file0 .chart").length, closed: all("#file1 .chart").length };
  chart.dispatchEvent(new PointerEvent("pointermove", at(0.5)));
  said.values = all("#file0 .chart .head span").map((one) => one.textContent);
  chart.dispatchEvent(new MouseEvent("click", at(1)));
  said.last = document.querySelector("#file0 .view p").textContent;
  said.shown = document.querySelector("#file0 .view img").src.slice(0, 30);
  document.querySelector("#file0 .charts").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  said.before = document.querySelector("#file0 .view p").textContent;
  const names = () => all("#files tbody tr").map((row) => row.cells[0].textContent);
  const sort = (column) => { all("#files th button")[column].click(); return names(); };
  said.by_frames = sort(1);
  said.by_frames_down = sort(1);
  document.querySelector('#files a[href="#file1"]').click();
  setTimeout(() => {
    const people = all("#file1 .people button");
    said.people = people.map((one) => one.textContent);
    people[1].click();
    said.pressed = all('#file1 .people button[aria-pressed="true"]').map((one) => one.textContent);
    said.errors = window.errors;
    const out = document.createElement("pre");
    out.id = "said";
    out.textContent = JSON.stringify(said);
    document.body.append(out);
  }, 200);
</script>
"""
ERRORS = "<script>window.errors = []; window.onerror = (text) => { window.errors.push(text); };</script>"


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a reader sees who moves over a chart, clicks in it, sorts the table and opens the second file."""
    folder = tmp_path_factory.mktemp("browser")
    write_table(folder / "a.csv", talking(60, lost=slice(20, 30)))
    write_video(folder / "a.mp4", pictures(60))
    write_table(folder / "b.csv", talking(10, faces=2))
    write_report([folder], folder / "report.html")
    page = (folder / "report.html").read_text()
    page = page.replace("<style>", f"{ERRORS}<style>", 1).replace("</body>", f"{STEPS}</body>")
    (folder / "steps.html").write_text(page)
    flags = "--headless=new --no-sandbox --disable-gpu --window-size=1200,900 --virtual-time-budget=4000 --dump-dom"
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={folder / 'profile'}", (folder / "steps.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    _, _, rest = done.stdout.partition('<pre id="said">')
    assert rest, done.stderr[-2000:]
    return json.loads(rest.partition("</pre>")[0].replace("&gt;", ">").replace("&amp;", "&"))


def test_nothing_goes_wrong(said):
    assert said["errors"] == []


def test_the_first_file_has_its_charts_and_others_wait(said):
    assert (said["charts"], said["closed"]) == (7, 0)


def test_values_are_shown_at_the_pointer(said):
    values = dict(text.rsplit(" ", 1) for text in said["values"])
    # In the middle of 60 frames
    assert float(values["confidence"]) == pytest.approx(0.7, abs=0.02)
    assert float(values["yaw"]) == pytest.approx(-11.5, abs=0.1)


def test_a_click_shows_the_frame_of_that_time(said):
    assert said["last"].startswith("frame 60:") and said["shown"].startswith("data:image/jpeg")
    assert 50 < int(said["before"].split(":")[0].removeprefix("frame ")) < 60


def test_the_table_is_sorted_both_ways(said):
    assert said["by_frames"] == ["b", "a"] and said["by_frames_down"] == ["a", "b"]


def test_a_link_opens_its_file_and_identities_are_chosen(said):
    assert said["people"] == ["0", "1"] and said["pressed"] == ["1"]
