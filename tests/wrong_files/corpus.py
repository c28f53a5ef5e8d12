"""All cases."""

from tests.wrong_files import configs, folders, frames, others, raw_files

CASES = [*raw_files.cases(), *folders.cases(), *frames.cases(), *others.cases(), *configs.cases()]
