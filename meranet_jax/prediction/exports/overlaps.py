"""Groups of candidates none of which overlap in time."""

from collections.abc import Iterable

from meranet_jax.prediction.results import Event


def milliseconds(event: Event) -> tuple[int, int]:
    """Returns onset and offset in milliseconds, the unit of ELAN and of BORIS."""
    return round(event.onset.time * 1000), round(event.offset.time * 1000)


def without_overlap(events: Iterable[Event]) -> list[list[Event]]:
    """Divides events into as few groups as possible without overlaps in a group.

    ELAN refuses annotations of a tier that overlap, and BORIS would take the start of
    the second one for the end of the first. Candidates of one face can overlap, and so
    can the events of a file of the user's.

    Args:
      events: of one face.

    Returns:
      Events by group, each in ascending order of onsets. An event may begin in the
      millisecond in which the one before it ends. Most often there is one group.
    """
    groups: list[list[Event]] = []
    for event in sorted(events, key=lambda one: (milliseconds(one), one.number)):
        start, _ = milliseconds(event)
        for group in groups:
            # An annotation of ELAN lasts a millisecond at least.
            before, end = milliseconds(group[-1])
            if max(end, before + 1) <= start:
                group.append(event)
                break
        else:
            groups.append([event])
    return groups
