"""Files that commands read and write: what cannot be done with one is told in a line, and before half of it is done."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click


def text_of(file: TextIO) -> str:
    """Read all of a file."""
    try:
        return file.read()
    except UnicodeDecodeError:
        raise click.ClickException(f"{file.name} is not UTF-8 text") from None


@contextmanager
def writing() -> Iterator[None]:
    """Tell what could not be written."""
    try:
        yield
    except BrokenPipeError:  # nobody reads on, which click knows how to take
        raise
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename or 'the output'}: {error.strerror}") from None


def check_room(folder: Path, names: Iterable[str]) -> None:
    """Raise OSError if one of the files cannot be written below the folder: none is, where not all can be."""
    for name in names:
        there = folder / name
        while not os.path.lexists(there):
            there = there.parent
        if there.is_dir():
            if there == folder / name:
                raise _refusal(errno.EISDIR, there)
        elif there != folder / name:
            raise _refusal(errno.ENOTDIR, there)
        if not os.access(there, os.W_OK):
            raise _refusal(errno.EACCES, there)


def _refusal(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
