"""All cases."""

from tests.wrong_files import folders, raw_files

CASES = [*raw_files.cases(), *folders.cases()]
