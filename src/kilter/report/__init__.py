"""The report of a run: what is said (`ReportContent`), and how it is set as one page (`write_report`).

`write_summary` writes the same figures for programs.
"""

from kilter.report.content import (
    Curve,
    Headline,
    Measure,
    Pair,
    Rater,
    Reliability,
    ReportContent,
    Reproduction,
    Response,
    Series,
    Stage,
)
from kilter.report.page import write_report
from kilter.report.summary import write_summary

__all__ = [
    "Curve",
    "Headline",
    "Measure",
    "Pair",
    "Rater",
    "Reliability",
    "ReportContent",
    "Reproduction",
    "Response",
    "Series",
    "Stage",
    "write_report",
    "write_summary",
]
