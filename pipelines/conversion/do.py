"""One slide's conversion: `do` does any of its tasks, in whatever process or thread."""

from pipelines.conversion.begin import begin
from pipelines.conversion.finish import finish
from pipelines.conversion.parts import opened, write_mask, write_part
from pipelines.conversion.tasks import (
    GO_ON,
    BeginTask,
    Begun,
    Converted,
    Done,
    Masked,
    MaskTask,
    PartTask,
    Task,
)
from pipelines.memory import measured_peak
from pipelines.output import explained_output
from wsi.pyramid.parts import Invalid


def do(task: Task) -> Done:
    """Do a task of a conversion.

    Raises
    ------
    UsageError
        If the result exists and was made differently.
    SlideError, OutputError
        If the slide cannot be read, or the pyramid not be written.
    """
    with measured_peak() as peak, explained_output(task.job.path, go_on=GO_ON):
        said: Begun | Masked | Invalid | Converted
        if isinstance(task, BeginTask):
            said = begin(task.job)
        elif isinstance(task, MaskTask):
            said = write_mask(task)
        elif isinstance(task, PartTask):
            said = write_part(task)
        else:
            opened.close()
            said = finish(task)
    return Done(said=said, peak_rss_bytes=peak().rss_bytes)
