"""All cases."""

from tests.wrong_files import configs, folders, others, raw_files

CASES = [*raw_files.cases(), *folders.cases(), *others.cases(), *configs.cases()]
