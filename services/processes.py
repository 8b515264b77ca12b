"""Processes that end with the one that started them, even where that is killed."""

import os
import shutil


def ending_with_this(signal_name: str = "TERM") -> list[str]:
    """Return what to put before a command, so that a signal ends it when the thread that started it ends.

    Nothing where `setpriv` of util-linux is not there. Its other ways need code to run between fork and exec, which is
    not safe beside the threads of gRPC and torch. A shell then looks whether the parent is still this process: one
    that ended before the signal was asked for never sends it.

    Args:
        signal_name: Which one, without SIG.
    """
    setpriv = shutil.which("setpriv")
    if not setpriv:
        return []
    under_this = f'[ "$PPID" = {os.getpid()} ] && exec "$@"'
    return [setpriv, "--pdeathsig", signal_name, "--", "sh", "-c", under_this, "sh"]
