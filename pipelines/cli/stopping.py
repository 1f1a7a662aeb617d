"""Ending a run by SIGTERM or SIGINT: what is finished is kept, and the way on is said."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
OF_A_SIGNAL = 128  # plus the signal's number: what shells give as exit code


class Stopped(BaseException):  # no Exception: nothing that catches failures must catch it
    """The process was asked to end; `code` is its exit code, 143 for SIGTERM, 130 for SIGINT."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = OF_A_SIGNAL + number


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into `Stopped`, once the body has cleaned up after itself.

    In the body it is a KeyboardInterrupt, the one exception that Ray, too, lets pass out of its own
    code. A second signal ends the process at once.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
        raise Stopped(received[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
