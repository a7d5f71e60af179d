"""A report about a batch of tables: one HTML page with timelines and frames."""

from clnf_torch.report.records import FaceLog, TableError
from clnf_torch.report.report import write_report
from clnf_torch.report.tables import read_log

__all__ = ["FaceLog", "TableError", "read_log", "write_report"]
