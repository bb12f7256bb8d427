"""stub"""


def add_preflight_command(a, b):
    pass
