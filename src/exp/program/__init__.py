"""How a command starts: all settings of a run, config from the command line, help, run directory, log, errors.

May be imported by stages, studies and commands.
"""
