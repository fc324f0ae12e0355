"""Checks a licensed copy: ``python -m datasets.check NAME --manual_dir=DIR``.

It reads every expression as ``datasets.prepare`` would and, in addition, every frame
from onset to offset. It writes nothing.
"""

import collections
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from meranet_jax import program
from meranet_jax.errors import DataError

with program.imports(__name__):
    import numpy as np
    import tyro
    from rich.console import Console
    from rich.progress import track

    from datasets import long_check, prepare
    from datasets.check_report import SHORT, Report, describe
    from datasets.contact_sheet import ContactSheet, check_path, key_frames
    from datasets.parallel import parallel_map
    from datasets.source.annotations import Annotation, of_folders, row_label
    from datasets.source.examples import Example, make_example
    from datasets.source.local_copy import LocalCopy, open_local_copy
    from datasets.source.specification import LocalCopyConfig
    from meranet_jax import megc2019


def check(
    name: str,
    manual_dir: Path,
    *,
    options: prepare.Options = prepare.Options(),  # noqa: B008 (it is frozen)
    sheet: ContactSheet | None = None,
    workers: int | None = None,
) -> Report:
    """Reads a licensed copy and reports its contents.

    Args:
      name: name of a licensed data set, or ``name/config``.
      manual_dir: folder of the copy.
      options: how the clips would be made.
      sheet: contact sheet to which key frames of some clips are added.
      workers: number of threads that read; None uses one per core.

    Raises:
      DataError: if the data set is not a licensed one, or the table or the frames are
        missing.
    """
    config = prepare.configuration(name, options)
    if not isinstance(config, LocalCopyConfig):
        raise DataError(f"{name} is generated: there is no copy of it to check.")
    prepare.check_manual_dir(name, manual_dir)
    specification = prepare.builder_class(name).SPECIFICATION
    others = prepare.other_specifications(name)
    copy = open_local_copy(specification, config, manual_dir, others)
    examples, unreadable, frames_read = [], {}, 0

    def examine(item: tuple[str, Annotation]):
        """Returns an example, its key frames if wanted, and what ``_read_all`` does."""
        example = make_example(copy, config, *item)
        wanted = sheet is not None and sheet.wants(example)
        tiles = key_frames(example, config.size) if wanted else None
        return example, tiles, *_read_all(copy, example)

    for example, tiles, read, damaged in track(
        parallel_map(examine, copy.rows, workers),
        description="Reading clips",
        total=len(copy.rows),
        console=Console(stderr=True),
    ):
        if tiles is not None:
            sheet.add(example, tiles)
        # Memory must not grow with the data set.
        if example.record is not None:
            for images in ("clip", "onset_frame", "apex_frame"):
                del example.record[images]
        examples.append(dataclasses.replace(example, expression=None))
        frames_read += read
        unreadable |= damaged
    report = _report(name, copy, config, examples, unreadable, frames_read)
    if options.apex in ("middle", "spotted"):  # the notes say what was estimated
        return report
    return dataclasses.replace(report, without_apexes=list(copy.without_apexes))


def _read_all(copy: LocalCopy, example: Example) -> tuple[int, dict[str, str]]:
    """Decodes all frames from onset to offset.

    Returns:
      The number of frames that were read, and the reasons why others cannot be read, by
      path.
    """
    expression = example.expression
    if expression is None:  # the example's reason explains it
        return 0, {}
    run = expression.run
    numbers = [n for n in run.locations if expression.onset <= n <= expression.offset]
    read, damaged = 0, {}
    # A video is decoded from its start, so all of its frames are read in one pass.
    for batch in [numbers] if run.source.is_file() else [[n] for n in numbers]:
        try:
            read += sum(1 for _ in run.read(batch))
        except DataError as error:
            path = run.source if run.source.is_file() else run.locations[batch[0]]
            # The message begins with the file's name, which is part of the path.
            reason = str(error).removeprefix(f"{path.name} ")
            damaged[str(path.relative_to(copy.manual_dir))] = reason
    return read, damaged


def _report(
    name: str,
    copy: LocalCopy,
    config: LocalCopyConfig,
    examples: Sequence[Example],
    unreadable: Mapping[str, str],
    frames_read: int,
) -> Report:
    records = [example for example in examples if example.record is not None]
    unread = [entry for entry in copy.left_out if entry.row is not None]
    rejected = [*unread, *(e.left_out() for e in examples if e.record is None)]
    rejected.sort(key=lambda entry: (entry.table, entry.row))
    in_table = collections.Counter(example.row.emotion for example in examples)
    recorded = collections.Counter(example.row.emotion for example in records)
    lengths = [e.record["offset"] - e.record["onset"] + 1 for e in records]
    notes_by_kind = collections.defaultdict(list)
    for example in records:
        for note in example.notes:
            notes_by_kind[note.kind].append(
                f"{row_label(example.row, copy.tables)}, {example.clip_id}: {note.text}"
            )
    published_counts, differences = _compare(
        copy, config, in_table, recorded, len(unread)
    )
    return Report(
        data_set=f"{name}/{config.name}",
        manual_dir=str(copy.manual_dir),
        **copy.describe(),
        notes=list(copy.notes),
        missing_tables=list(copy.missing_tables),
        rows=len(examples) + len(unread),
        records=len(records),
        not_selected=copy.not_selected,
        emotions={
            emotion: {"rows": in_table[emotion], "records": recorded[emotion]}
            for emotion in copy.specification.emotions
        },
        subjects=dict(
            sorted(collections.Counter(e.row.subject for e in records).items())
        ),
        lengths={
            "least": min(lengths),
            "median": float(np.median(lengths)),
            "most": max(lengths),
            "short": sum(length < SHORT for length in lengths),
        }
        if lengths
        else None,
        frames_read=frames_read,
        rows_without_record=[dataclasses.asdict(entry) for entry in rejected],
        unreadable=dict(sorted(unreadable.items())),
        frames_without_row=[
            dataclasses.asdict(e) for e in copy.left_out if e.row is None
        ],
        notes_by_kind=dict(sorted(notes_by_kind.items())),
        published_counts=published_counts,
        paper_counts=dict(copy.specification.paper_counts),
        differences=differences,
        megc2019=_megc2019(name, config, [example.record for example in records]),
        of_folders=of_folders(copy.tables),
    )


def _megc2019(
    name: str, config: LocalCopyConfig, records: Sequence[Mapping]
) -> dict | None:
    """Returns ``Report.megc2019``: which records are in the composite of MEGC 2019."""
    rule = megc2019.find(name, getattr(config, "camera", None))
    if rule is None:
        return None
    emotions, left_out = [], collections.defaultdict(list)
    for record in records:
        facts = ("clip_id", "emotion", "onset", "apex", "apex_estimated")
        reason = rule.exclusion(**{fact: record[fact] for fact in facts})
        if reason is None:
            emotions.append(record["emotion"])
        else:
            left_out[reason].append(record["clip_id"])
    counts = megc2019.count_classes(emotions)
    return {
        "counts": counts,
        "published": dict(rule.counts),
        "summary": rule.describe(counts),
        "left_out": dict(sorted(left_out.items())),
    }


def _compare(
    copy: LocalCopy,
    config: LocalCopyConfig,
    in_table: Mapping[str, int],
    recorded: Mapping[str, int],
    unread: int,
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Returns the nearest published counts, and a sentence on each difference."""
    specification = copy.specification
    published = specification.counts_for(config)
    if not published:
        return {}, ["There are no published counts for this configuration."]
    name = min(
        published,
        key=lambda name: sum(
            abs(in_table[e] - published[name].get(e, 0)) for e in specification.emotions
        ),
    )
    sentences = []
    if differing := [
        f"{emotion} {in_table[emotion]} instead of {count}"
        for emotion in specification.emotions
        if in_table[emotion] != (count := published[name].get(emotion, 0))
    ]:
        why = [f"{part} was not found" for part in copy.missing_tables]
        why += [f"{unread} rows cannot be read"] if unread else []
        sentences.append(
            f"Rows against {name}: {', '.join(differing)}; "
            + (", ".join(why) or "the table was edited or is a different one")
            + "."
        )
    # Emotions that differ for the same reason share a sentence.
    reasons = collections.defaultdict(list)
    for emotion, count in specification.paper_counts.items():
        if recorded[emotion] == count:
            continue
        why, expected = [], published[name].get(emotion, 0)
        if expected != count:
            remarks = specification.count_remarks.get(name, {})
            why.append(remarks.get(emotion, f"{name} has {expected}"))
        if in_table[emotion] != expected:
            why.append(f"{in_table[emotion]} of its rows can be read")
        if lost := in_table[emotion] - recorded[emotion]:
            why.append(f"{lost} of its rows cannot become a record")
        reasons["; ".join(why)].append(
            f"{emotion} has {recorded[emotion]} records, {count} in the paper"
        )
    sentences += [f"{', '.join(counts)}: {why}." for why, counts in reasons.items()]
    return {name: dict(published[name])}, sentences


def main(
    name: tyro.conf.Positional[str],
    /,
    manual_dir: Path,
    json: bool = False,
    long: bool = False,
    sheet: Path | None = None,
    workers: int | None = None,
    clip: tyro.conf.OmitArgPrefixes[prepare.Options] = prepare.Options(),  # noqa: B008
) -> int:
    """Check a licensed copy and report its contents, without writing records.

    The exit code is 0 only if no table and no column of apexes is missing, every row
    can become a record and every image can be read.

    Args:
      name: casme, casme2, cas_me_2, casme3, casme3_c, samm, smic, mmew, fourdme or your
        own licensed data set.
      manual_dir: folder of your licensed copy.
      json: print the report as JSON.
      long: check the long recordings of cas_me_2, samm, smic or casme3 and the
        intervals in them, for spotting; --table and --release select their source.
      sheet: image file in which to draw onset, apex and offset of some clips of each
        emotion.
      workers: number of threads that read your copy (default: one per core).
      clip: how clips would be made; the defaults are those of the data set.
    """
    if long:
        if sheet is not None:
            raise DataError("--sheet shows clips: leave it out with --long.")
        found = long_check.check(
            name, manual_dir.expanduser(), options=clip, workers=workers
        )
        print(found.to_json() if json else long_check.describe(found), flush=True)
        return 0 if found.complete else 1
    if sheet is not None:
        check_path(sheet)
    contact_sheet = None if sheet is None else ContactSheet()
    report = check(
        name,
        manual_dir.expanduser(),
        options=clip,
        sheet=contact_sheet,
        workers=workers,
    )
    print(report.to_json() if json else describe(report), flush=True)
    if contact_sheet is not None:
        picture = contact_sheet.draw()
        if picture is None:
            print("There is no clip to show; no sheet was drawn.", file=sys.stderr)
        else:
            picture.save(sheet)
    return 0 if report.complete else 1


if __name__ == "__main__":
    with program.run():
        sys.exit(prepare.run_main(main, "python -m datasets.check"))
