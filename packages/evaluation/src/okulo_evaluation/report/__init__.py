"""One self-contained HTML page that shows a run: curves, tables, pictures, configuration."""

from okulo_evaluation.report.chart import Chart, Series
from okulo_evaluation.report.page import Picture, Table, write_report
from okulo_evaluation.report.run import (
    charts_from_metrics,
    describe_environment,
    read_metrics,
    report_from_run,
    tables_from_metrics,
)

__all__ = [
    "Chart",
    "Picture",
    "Series",
    "Table",
    "charts_from_metrics",
    "describe_environment",
    "read_metrics",
    "report_from_run",
    "tables_from_metrics",
    "write_report",
]
