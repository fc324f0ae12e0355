"""Formats counts, intervals and cells of tables in reports."""


def count(number: int, noun: str) -> str:
    """Returns a number and a noun, in the plural unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def interval_text(found: dict) -> str:
    """Formats the mean of a metric with its interval."""
    if found["interval"] is None:
        return f"{found['mean']:.3f}"
    return "{:.3f} ({:.3f} to {:.3f})".format(found["mean"], *found["interval"])


def cell(text: str) -> str:
    """Escapes a name given by the user, since a bar would end the cell."""
    return text.replace("|", "\\|").replace("\n", " ")
