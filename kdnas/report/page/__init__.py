"""Pages that people read in a browser: sections with a plot, its numbers as a table, and words."""

from kdnas.report.page.section import Section, Table
from kdnas.report.page.write import Plotly, write_page

__all__ = ["Plotly", "Section", "Table", "write_page"]
