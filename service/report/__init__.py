"""The report of an experiment: one HTML file for clinicians to read, print and share."""

from service.report.page import REPORT_POLICY, report_page

__all__ = ["REPORT_POLICY", "report_page"]
