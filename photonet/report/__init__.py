"""Reports for people: one HTML file that opens from disk, and its pictures beside it."""

from .html import Section, write_report
from .tables import mean_and_spread, text_table

__all__ = ["Section", "mean_and_spread", "text_table", "write_report"]
