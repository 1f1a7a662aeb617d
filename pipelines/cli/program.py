"""What to type to run this program again."""

import os
import shutil
import sys


def program() -> str:
    """The command's name where the shell finds it, otherwise its path from here."""
    return "raypath" if shutil.which("raypath") else os.path.relpath(sys.argv[0])
