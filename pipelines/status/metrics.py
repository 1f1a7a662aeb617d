"""A run's metrics: what is counted of a finished slide, where the run is on Ray."""

from collections.abc import Callable

from pipelines.records import SlideRecord

Report = Callable[[SlideRecord], None]


def metered(report: Report, *, executor: str) -> Report:
    """`report`, which also counts for Prometheus where the `executor` is Ray, already connected."""
    if executor != "ray":
        return report
    from cluster.metrics import RunMetrics

    metrics = RunMetrics()

    def count_and_report(record: SlideRecord) -> None:
        done_now = {k: s for k, s in record.seconds.items() if k not in record.reused}
        metrics.count(verdict=record.verdict, tiles=record.new_tiles, seconds=done_now)
        report(record)

    return count_and_report
