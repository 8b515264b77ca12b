"""Settings that hold a list, as --set gives one."""


def split(value: object) -> object:
    """Reads "10,2" as a list; nothing is an empty one, and what is no text is left as it is."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
