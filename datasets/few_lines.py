"""Lists for the user in which lines with the same reason are limited."""

import collections
import re
from collections.abc import Iterable


def few_of_each(
    lines: Iterable[tuple[str, str]], most: int, where: str
) -> list[tuple[str, int]]:
    """Returns some lines of each reason, since a reason may apply to all clips.

    Args:
      lines: lines and their reasons. Reasons that differ in numbers only, or in lists
        of numbers, such as those of frames, count as the same.
      most: number of lines of each reason.
      where: where all are listed.

    Returns:
      Lines, those of the same reason in a row, and the number of lines that each stands
      for.
    """
    by_reason = collections.defaultdict(list)
    for line, reason in lines:
        by_reason[re.sub("[0-9]+(, [0-9]+)*", "#", reason)].append(line)
    found = []
    for some in by_reason.values():
        found += [(line, 1) for line in some[:most]]
        if (more := len(some) - most) > 0:
            found.append((f"and {more} more for this reason; {where}", more))
    return found
