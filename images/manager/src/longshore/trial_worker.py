"""The worker of a trial: sees that an item reaches a worker here as the contract says. trial.py starts it.

Owns one start of one item, in the manager's image, in the pod that the queue's own workers get. Imports nothing but
the kit, as those pods may have little memory.
"""

import os
import sys
from pathlib import Path

from longshore_kit.errors import LongshoreError
from longshore_kit.worker import Work, run


def work(given: Work) -> str:
    """
    Compare the item's file with its variables, and look for the folder of every volume; what was there, in words.

    Raises:
        LongshoreError: it was not given what the trial's item says; the message tells what.
    """
    if given.data.get("name") != given.item:
        raise LongshoreError(f"the item's file is not that of {given.item!r}: it holds {dict(given.data)!r}")
    folders = {name: given.environ.get(name, "") for name in given.data.get("volumes", {})}
    for name, folder in folders.items():
        if not Path(folder).is_dir():
            raise LongshoreError(f"{name} is {folder!r}, which is no folder in the worker")
        if given.data["volumes"][name] and not os.access(folder, os.W_OK):
            told = Path(folder).stat()
            raise LongshoreError(
                f"{folder} can't be written by user {os.geteuid()} (podUser): "
                f"it belongs to {told.st_uid}:{told.st_gid}, mode {told.st_mode & 0o7777:o}"
            )
    return f"its worker had its item and {', '.join(folders.values()) or 'no volume'}"


if __name__ == "__main__":
    sys.exit(run(work, os.environ))
