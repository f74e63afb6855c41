"""Reports: the trial table, report.json, the Pareto plot, the model card."""

from kdnas.report.results import Control, Results
from kdnas.report.trials import write_trials
from kdnas.report.write import write_report

__all__ = ["Control", "Results", "write_report", "write_trials"]
