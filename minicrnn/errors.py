"""The error for a setting that somebody chose."""


class OptionError(ValueError):
    """A setting that cannot be used, such as a device that is not there; the message names it."""
