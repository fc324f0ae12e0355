"""Choice of the release to read."""

from collections.abc import Sequence
from pathlib import Path

from datasets.source.annotations import Annotation
from datasets.source.folders import folders_under, shown, subfolders
from datasets.source.releases import (
    MAX_DEPTH,
    LocalRelease,
    Release,
    find_releases,
    merge_parts,
)
from datasets.source.specification import LocalCopyConfig, Specification
from datasets.source.unnamed_release import find_unnamed
from meranet_jax.errors import DataError
from meranet_jax.video.containers import VIDEO_SUFFIXES
from meranet_jax.video.frames import is_image_name

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz")


def choose_release(
    manual_dir: Path,
    specification: Specification,
    config: LocalCopyConfig,
    rows: Sequence[Annotation],
) -> tuple[LocalRelease, list[str]]:
    """Chooses the release to read.

    It is the first in the data set's order of preference that has at least half as many
    of the table's clips as the release with most of them; one with fewer may be a
    sample, or belong to another data set. Of several folders of the same release, the
    one with most clips is used. Folders with unknown names are read if those with known
    names have fewer than half of the clips; see ``find_unnamed``.

    Args:
      manual_dir: the user's folder.
      specification: specification of the data set.
      config: which releases are permitted.
      rows: the selected rows of the table.

    Returns:
      The release, and notes for the user on the choice.

    Raises:
      DataError: if no permitted release has any of the clips, or the configuration
        contradicts itself.
    """
    check_options(specification, config)
    wanted = [(row.subject, row.clip) for row in rows]
    found: list[LocalRelease] = []
    best_of: dict[tuple[str, int, bool], LocalRelease] = {}
    for part, folders in enumerate(find_releases(manual_dir, specification.releases)):
        for local in folders:
            local = local.with_crops(wanted)
            found.append(local)
            key = (local.release.name, part, local.release.cropped)
            best = best_of.setdefault(key, local)
            if local.count_clips(wanted) > best.count_clips(wanted):
                best_of[key] = local
    parts: dict[tuple[str, bool], list[LocalRelease]] = {}
    for (name, _, cropped), local in best_of.items():
        parts.setdefault((name, cropped), []).append(local)
    merged = [merge_parts(some) for some in parts.values()]
    names = [release.name for release in specification.releases]
    merged.sort(key=lambda local: names.index(local.release.name))
    # Faces first, as in the data set's own order; full frames first where they are kept
    merged.sort(key=lambda local: local.release.cropped == (config.crop == "none"))
    candidates = [
        local
        for local in merged
        if config.permits(local.release) and local.count_clips(wanted)
    ]
    most = max((local.count_clips(wanted) for local in candidates), default=0)
    notes = []
    if 2 * most < len(wanted):
        # Perhaps a sample, next to the complete data in a folder with another name.
        unnamed = None
        try:
            unnamed = find_unnamed(manual_dir, specification, config, rows, found)
        except DataError:
            if not candidates:
                raise
        if unnamed is not None and unnamed[0].count_clips(wanted) > 2 * most:
            chosen, notes = unnamed
        elif not candidates:
            raise DataError(
                _no_clip_message(manual_dir, specification, config, rows, found)
            )
    if not notes:
        chosen = next(c for c in candidates if 2 * c.count_clips(wanted) >= most)
    if chosen.mixed:
        kind = "faces" if chosen.release.cropped else "full frames"
        notes.append(
            f"{chosen.relative_roots(manual_dir)}: the names of some folders say that "
            f"they show faces, such as EP02_01f_aligned, and those of others do not. "
            f"All were read as {kind}"
        )
    notes += [
        f"{local.relative_roots(manual_dir)} ({local.count_clips(wanted)} of the "
        f"table's {len(wanted)} expressions) was not read"
        for local in found
        if not any(local.roots[0].is_relative_to(root) for root in chosen.roots)
    ]
    return chosen, notes


def check_options(specification: Specification, config: LocalCopyConfig) -> None:
    """Raises DataError if the release does not exist or contradicts the crop."""
    releases = [r for r in specification.releases if r.name == config.release]
    if config.release is not None and not releases:
        raise DataError(
            f"--release={config.release} is not a release of {specification.title}. "
            f"Its releases: {', '.join(r.name for r in specification.releases)}."
        )
    cropped = config.crop == "provided"
    if (
        releases
        and config.crop in ("provided", "detect")
        and not any(release.cropped == cropped for release in releases)
    ):
        raise DataError(
            f"--crop={config.crop} cannot be combined with --release={config.release}, "
            f"which is {'not ' * cropped}cropped."
        )


def _no_clip_message(
    manual_dir: Path,
    specification: Specification,
    config: LocalCopyConfig,
    rows: Sequence[Annotation],
    named: Sequence[LocalRelease],
) -> str:
    wanted = [(row.subject, row.clip) for row in rows]
    permitted = [r for r in specification.releases if config.permits(r)]
    lines = [f"No frames of the table's clips were found in {manual_dir}."]
    lines += [
        f"{local.release.name} was found in {local.relative_roots(manual_dir)}, with "
        f"{local.count_clips(wanted)} of the table's {len(wanted)} expressions, but "
        "--crop or --release excludes it."
        for local in named
        if local.count_clips(wanted)
    ]
    found = _some_clips(manual_dir, permitted)
    names = " or ".join(release.name for release in permitted)
    expected = [f"{row.subject}/{row.clip}" for row in rows[:3]]
    lines += [
        f"Folders with frames and videos there, for example: "
        f"{', '.join(found) or 'none'}.",
        f"Expected, up to three folders deep in {names}, for example: "
        f"{', '.join(expected)}.",
    ]
    archives = [
        str(path.relative_to(manual_dir))
        for folder in folders_under(manual_dir, depth=2)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _ARCHIVES
    ]
    if archives:
        lines.append(f"Archives that are not unpacked: {', '.join(archives[:5])}.")
    lines.append(
        "Unpack the archives there, or give the folder in which they are unpacked."
    )
    return "\n".join(lines)


def _some_clips(
    manual_dir: Path, releases: Sequence[Release], number: int = 3
) -> list[str]:
    """Returns some folders with images, and videos, relative to the user's folder.

    Args:
      manual_dir: the user's folder.
      releases: those whose frames are missing; other frames, such as those of depth,
        are no examples.
      number: of folders and videos.
    """
    found: list[str] = []
    level = [manual_dir]
    for _ in range(MAX_DEPTH + 2):
        below: list[Path] = []
        for folder in level:
            if len(found) == number:
                return found
            try:
                names = sorted(path.name for path in folder.iterdir())
                below += [
                    below_it
                    for below_it in subfolders(folder)
                    if not any(one.excludes(below_it.name) for one in releases)
                ]
            except OSError:
                continue
            if any(map(is_image_name, names)):
                found.append(shown(folder, manual_dir))
            else:
                found += [
                    shown(folder / name, manual_dir)
                    for name in names
                    if Path(name).suffix.lower() in VIDEO_SUFFIXES
                ]
        # A few of each level suffice for an example.
        level = below[:100]
    return found[:number]
