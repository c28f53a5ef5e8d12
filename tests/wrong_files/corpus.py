"""All cases."""

from tests.wrong_files import configs, folders, others, own_logs, raw_files

CASES = [*raw_files.cases(), *own_logs.cases(), *folders.cases(), *others.cases(), *configs.cases()]
