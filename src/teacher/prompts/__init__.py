"""From a history to the tokens of a prompt: templates, titles, one prompt per example or per user, and a look at them.

May be imported by the teacher; templates (light) by anyone.
"""
