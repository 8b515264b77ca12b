"""Processes that end with the one that started them, even where that is killed."""

import shutil


def ending_with_this() -> list[str]:
    """Return what to put before a command, so that SIGTERM ends it when the thread that started it ends.

    Nothing where `setpriv` of util-linux is not there. Its other ways need code to run between fork and exec, which is
    not safe beside the threads of gRPC and torch.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
