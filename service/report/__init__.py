"""The report of an experiment: one HTML file that a clinician can read, print and pass on."""

from service.report.page import REPORT_POLICY, report_page

__all__ = ["REPORT_POLICY", "report_page"]
