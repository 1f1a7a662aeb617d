"""`raypath report`: one page about a run."""

import typer

from pipelines.cli.options import RunFolder


def report(out: RunFolder) -> None:
    """Write a run's report.html anew, also of a run that is under way or was killed."""
    from pipelines.output import explained_output
    from pipelines.remote.for_report import gather_for_report, store_report
    from pipelines.remote.local_copy import own_files
    from pipelines.report.report import write_report
    from pipelines.runfolder import REPORT_NAME

    folder = own_files(out)
    with explained_output(folder / REPORT_NAME, go_on="give the same command again"):
        write_report(folder, size=gather_for_report(out, folder))
    store_report(folder, out)
    typer.echo(f"The report:  {out / REPORT_NAME}", err=True)
