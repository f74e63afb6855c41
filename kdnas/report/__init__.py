"""Reports: the trial table, report.json, the pages, the model card."""

from kdnas.report.model import Report
from kdnas.report.write import write_report

__all__ = ["Report", "write_report"]
