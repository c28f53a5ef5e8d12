"""All cases."""

from tests.wrong_files import configs, folders, frames, others, own_logs, raw_files

LOGS = [*raw_files.cases(), *own_logs.cases(), *frames.cases()]
CASES = [*LOGS, *folders.cases(), *others.cases(), *configs.cases()]
