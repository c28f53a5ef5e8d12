"""The one exception whose message is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend: one sentence that says what is wrong, where (file, line, key), and what to do.

    Entry points print it without a traceback and exit with status 2 (`src.exp.program.run`). Anything else that escapes
    is a fault of ours and keeps its traceback.
    """


class DiskFullError(UserError):
    """Something did not fit on the disk; the same command goes on when there is room."""


class DivergedError(UserError):
    """A training whose loss is no number any more; a search goes on with other settings."""
