import logging

import pytest


@pytest.fixture(autouse=True)
def logging_as_before():
    """`start` sets up the log of the whole process; a test gives it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
