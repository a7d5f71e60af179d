"""``clnf-torch report``: a page about a batch of tables."""

from tests.report.html_pages import Page
from tests.report.tables import talking, write_table


def test_a_folder_has_its_page(clnf_torch_cli, tmp_path):
    write_table(tmp_path / "one.csv", talking(4))
    done = clnf_torch_cli("report", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "report.html: 1 table, 0." in done.stdout
    assert len(Page(tmp_path / "report.html").numbers) == 1


def test_a_table_that_cannot_be_read_fails_and_is_on_the_page(clnf_torch_cli, tmp_path):
    (tmp_path / "one.json").write_text("{")
    done = clnf_torch_cli("report", tmp_path / "one.json", "-o", tmp_path / "page.html", "--title", "Clinic")
    assert done.exit_code == 1 and "one.json: cannot be read" in done.stderr
    page = Page(tmp_path / "page.html")
    assert "one.json" in page.text and "Clinic" in page.text


def test_missing_folders_and_folders_without_tables_are_said(clnf_torch_cli, tmp_path):
    assert clnf_torch_cli("report", tmp_path / "nowhere").exit_code == 2
    done = clnf_torch_cli("report", tmp_path)
    assert done.exit_code == 1 and "expected tables of faces, found none" in done.stderr


def test_the_page_never_takes_a_tables_place(clnf_torch_cli, tmp_path):
    table = write_table(tmp_path / "one.csv", talking(2))
    before = table.read_bytes()
    assert clnf_torch_cli("report", tmp_path, "-o", table).exit_code == 2
    assert table.read_bytes() == before
