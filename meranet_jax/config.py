"""The configuration of a run: one frozen dataclass that everything depends on."""

import dataclasses
from typing import Any, Literal

from meranet_jax import recipes, recognisers
from meranet_jax.errors import UserError
from meranet_jax.recognisers import Recogniser
from meranet_jax.validation import check_choices, check_minimums

Preset = Literal["paper", "small"]
Protocol = Literal["holdout", "holdout_subject", "kfold", "loso"]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on; it is saved with the run.

    The defaults are the paper's (section 4); ``default_config`` sets those that differ
    between data sets, presets and recognisers. The fields here are flags of every
    recogniser; ``settings`` are those of the chosen one.
    """

    dataset: str = "synthetic"
    """synthetic, casme, casme2, cas_me_2 or your own; a configuration of it after a
    slash: synthetic/hard. Several with commas between are one composite data set."""
    preset: Preset = "paper"
    """paper: the full network. small: for machines without an accelerator."""
    model: str = "meranet"
    """Recogniser: meranet, resnet3d (MERANet without attention), lbp_top (LBP-TOP
    descriptor with a linear SVM), or your own, MODULE:NAME. --model=NAME --help lists
    its settings."""
    input: str | None = None
    """What the recogniser sees of a clip. rgb: the frames, normalised by clip and
    channel. Default: the recogniser's own."""
    manual_dir: str | None = None
    """Folder of your copy of a licensed data set; needed once, to write its records.
    Of several: casme=DIR,casme2=DIR. So too --release, --table, --label,
    --expressions."""
    data_dir: str | None = None
    """Where records are kept. Default: ~/tensorflow_datasets."""

    name: str | None = None
    """Name of the run's folder. Default: data set, model, protocol and seed."""
    runs_dir: str = "runs"
    """Where run folders are kept."""
    overwrite: bool = False
    """Replace a run of the same name."""

    sampling: Literal["apex", "uniform", "tim"] = "apex"
    """Frames of a clip: apex: from a window around the apex. uniform: evenly from onset
    to offset. tim: as many, interpolated (temporal interpolation model)."""
    frames: int = 16
    """How many frames a clip has."""
    window: int | None = None
    """Frames around the apex that they are drawn from. Default: the paper's, 32, for
    cas_me_2 16."""
    size: int = 112
    """Height and width of the input. Records are 112 x 112 and averaged down if this
    divides 112, else of this size."""
    crop: Literal["auto", "provided", "detect", "none"] | None = None
    """provided: the data set's own cropped release. detect: find faces in a raw one.
    none: whole frames. Default: provided if your copy allows it, else detect."""
    margin: float | None = None
    """Added around a detected face on each side, as a share of it."""
    release: str | None = None
    """The release of a licensed data set to read. Default: as crop says."""
    table: str | None = None
    """File name of its table to read. Default: as datasets/NAME/README.md says."""
    expressions: Literal["micro", "macro", "both"] | None = None
    """cas_me_2: which of them. Default: micro."""

    label: str = "emotion"
    """What is told apart. In cas_me_2 emotion is the stimulus's, as in the paper; it
    also has estimated_emotion and self_reported_emotion."""
    classes: str = "paper"
    """Emotions to tell apart; clips of others are left out. paper; all; megc3:
    negative, positive, surprise; a list, disgust,happiness; a mapping, FILE.json."""
    min_frames: int | None = None
    """Leave out expressions of fewer frames, onset to offset. Default: the paper's, 16
    for casme and casme2, else 1."""
    leave_out: str | None = None
    """Clips to leave out, by id, with commas between."""

    protocol: Protocol = "holdout"
    """holdout: the paper's, subjects may stand on both sides. holdout_subject: none
    does. kfold: --folds parts of whole subjects, each once the test. loso: each subject
    once."""
    folds: int = 5
    """Parts of kfold."""
    test_fraction: float = 0.25
    """Share of the clips that a holdout tests."""
    validation_fraction: float = 0.2
    """Share of the rest that chooses the checkpoint."""
    split: str | None = None
    """A split.json of another run, to divide the clips as there."""
    seed: int = 0
    """Draws the split, the parameters, the order and the flips."""
    seeds: str | None = None
    """How often to do all of it: 5 is five times, with --seed and those that follow it;
    3,7,9 names them."""
    fold_shard: str | None = None
    """2/8: train the second of eight parts of the folds; eval.py --merge pools them."""

    coordinator: str | None = None
    """HOST:PORT of the first of several processes that train together, with
    --num_processes and --process_id. auto: JAX finds them, on Cloud TPU. Not needed
    under Slurm or Open MPI."""
    num_processes: int | None = None
    """How many processes train together."""
    process_id: int | None = None
    """Which of them this is, from 0."""

    settings: Any = None
    """The recogniser's own settings. Default: those of ``model``."""

    def __post_init__(self):
        """Raises UserError for values that no run can have."""
        recogniser = self.recogniser
        if self.settings is None:
            object.__setattr__(self, "settings", recogniser.settings())
        if type(self.settings) is not recogniser.settings:
            raise UserError(
                f"--model={self.model} has {recogniser.settings.__name__}, not "
                f"{type(self.settings).__name__}."
            )
        if self.input is None:
            object.__setattr__(self, "input", recogniser.inputs[0])
        if self.input not in recogniser.inputs:
            raise UserError(
                f"--input={self.input}: --model={self.model} accepts "
                f"{', '.join(recogniser.inputs)}."
            )
        check_choices(self)
        check_minimums(
            self,
            {
                "min_frames": 1,
                "size": 1,
                "seed": 0,
                "folds": 2,
                "num_processes": 1,
                "process_id": 0,
            },
        )
        if self.seed >= 2**32:
            raise UserError(f"--seed={self.seed} must be below {2**32}.")
        for field in ("test_fraction", "validation_fraction"):
            if not 0 < getattr(self, field) < 1:
                value = getattr(self, field)
                raise UserError(f"--{field}={value} must be between 0 and 1.")
        if self.name is not None:
            check_name(self.name)
        together = (self.coordinator, self.num_processes, self.process_id)
        if together not in ((None, None, None), ("auto", None, None)) and (
            None in together or self.process_id >= self.num_processes
        ):
            raise UserError(
                f"--coordinator={self.coordinator} --num_processes="
                f"{self.num_processes} --process_id={self.process_id}: give all three, "
                "and each process its own number from 0 to one less than there are."
            )

        names = [name.partition("/")[0] for name in self.datasets]
        if len(set(names)) < len(names):  # their subjects would be the same persons
            raise UserError(f"--dataset={self.dataset} names one twice.")
        # What is wrong with these is to be told before anything is prepared.
        _ = self.all_seeds, self.shard
        if len(names) > 1:
            self.each_dataset()

    @classmethod
    def from_flags(cls, **flags: object) -> "TrainConfig":
        """Makes a configuration from flags by name, the recogniser's own among them.

        Args:
          **flags: see ``flags``; those that are not given have their defaults.

        Raises:
          UserError: if there is no such flag, or a value cannot be.
        """
        own = {field.name for field in dataclasses.fields(cls)} - {"settings"}
        recogniser = recognisers.find(flags.get("model", cls.model))
        of_model = {field.name for field in dataclasses.fields(recogniser.settings)}
        if unknown := sorted(set(flags) - own - of_model):
            raise UserError(f"--model={recogniser.name} has no flag --{unknown[0]}.")
        settings = recogniser.settings(
            **{name: value for name, value in flags.items() if name in of_model}
        )
        return cls(
            settings=settings,
            **{name: value for name, value in flags.items() if name in own},
        )

    def flags(self) -> dict[str, Any]:
        """Returns all settings by the names of their flags, the recogniser's last."""
        values = vars(self) | vars(self.settings)
        del values["settings"]
        return values

    def change(self, **flags: object) -> "TrainConfig":
        """Returns a copy with other values of some flags.

        Settings that another recogniser (``model``) shares keep their values; its
        others have their defaults.

        Raises:
          UserError: if there is no such flag, or a value cannot be.
        """
        kept = self.flags()
        if flags.get("model", self.model) != self.model:
            recogniser = recognisers.find(flags["model"])
            shared = {field.name for field in dataclasses.fields(recogniser.settings)}
            own = vars(self.settings)
            kept = {n: v for n, v in kept.items() if n not in own or n in shared}
            if kept["input"] not in recogniser.inputs:
                del kept["input"]
        return self.from_flags(**(kept | flags))

    @property
    def recogniser(self) -> Recogniser:
        """The specification of ``model``."""
        return recognisers.find(self.model)

    @property
    def title(self) -> str:
        """The recogniser's name in reports."""
        return self.recogniser.title(self.settings)

    @property
    def feed(self) -> str:
        """Where clips are kept during the fitting; see ``feed.should_stream``."""
        return getattr(self.settings, "feed", "auto")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets by name, with their configurations."""
        return tuple(name.strip() for name in self.dataset.split(","))

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Those of ``--seed`` and ``--seeds``."""
        if self.seeds is None:
            return (self.seed,)
        try:
            seeds = tuple(int(text) for text in self.seeds.split(","))
            if len(seeds) == 1:
                seeds = tuple(range(self.seed, self.seed + seeds[0]))
            elif self.seed:
                raise UserError(
                    f"--seed={self.seed} and --seeds={self.seeds}: drop one."
                )
        except ValueError:
            seeds = ()
        if not seeds or len(set(seeds)) < len(seeds) or not 0 <= min(seeds):
            raise UserError(
                f"--seeds={self.seeds} is neither a count, 5, nor a list of different "
                "ones, 3,7,9."
            )
        if len(seeds) > 1000 or max(seeds) >= 2**32:
            raise UserError(
                f"--seeds={self.seeds}: at most 1000, and each below {2**32}."
            )
        return seeds

    @property
    def left_out(self) -> tuple[str, ...]:
        """The clips of ``--leave_out``."""
        if self.leave_out is None:
            return ()
        return tuple(clip.strip() for clip in self.leave_out.split(","))

    @property
    def shard(self) -> tuple[int, int] | None:
        """``--fold_shard``: which part of the folds, from 0, of how many."""
        if self.fold_shard is None:
            return None
        part, _, parts = self.fold_shard.partition("/")
        if not (
            part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)
        ):
            raise UserError(
                f"--fold_shard={self.fold_shard} is not PART/PARTS, such as 2/8."
            )
        return int(part) - 1, int(parts)

    def each_dataset(self) -> list["TrainConfig"]:
        """This configuration for each of its data sets alone.

        What is not given is the data set's recipe's, and of NAME=VALUE lists it is what
        is said of this one.
        """
        alone = []
        for dataset in self.datasets:
            recipe = recipes.RECIPES.get(dataset.partition("/")[0], {})
            changes = {
                name: recipe.get(name, default)
                for name, default in recipes.BY_DATASET.items()
                if getattr(self, name) is None
            }
            if len(self.datasets) > 1:
                changes |= {name: self._of(dataset, name) for name in recipes.LISTED}
            alone.append(self.change(dataset=dataset, **changes))
        return alone

    def _of(self, dataset: str, field: str) -> str | None:
        """What a NAME=VALUE list says of a data set."""
        text = getattr(self, field)
        default = recipes.LISTED[field]
        if text == default:
            return default
        pairs = dict(part.partition("=")[::2] for part in text.split(","))
        names = [name.partition("/")[0] for name in self.datasets]
        if not all(pairs.values()) or not set(pairs) <= set(names):
            raise UserError(
                f"--{field}={text}: say it of each data set, --{field}="
                f"{','.join(f'{name}=...' for name in names)}; those of which nothing "
                f"is said have {default or 'their own'}."
            )
        return pairs.get(dataset.partition("/")[0], default)

    def record_options(self) -> dict[str, object]:
        """What the records must be, by the names of ``datasets.prepare.Options``.

        Of one data set; see ``each_dataset``.
        """
        names = ("sampling", "frames", "window", "crop", "margin") + (
            "release",
            "table",
            "expressions",
        )
        # Records of the paper's size serve every size that divides it.
        size = self.size if recipes.RECORDED % self.size else recipes.RECORDED
        return {name: getattr(self, name) for name in names} | {"size": size}

    @property
    def paper_classes(self) -> tuple[str, ...] | None:
        """The paper's for these data sets; None if they differ."""
        classes = {
            recipes.PAPER_CLASSES.get(dataset.partition("/")[0])
            for dataset in self.datasets
        }
        return classes.pop() if len(classes) == 1 else None

    @property
    def run_name(self) -> str:
        """The run folder's name."""
        seeds = self.all_seeds
        if seeds == tuple(range(seeds[0], seeds[-1] + 1)):
            seeds = seeds if len(seeds) < 3 else (seeds[0], seeds[-1])
        parts = [
            self.dataset.replace("/", "-").replace(",", "+").replace(" ", ""),
            self.recogniser.name + self.recogniser.variant(self.settings),
            self.preset,
            *([] if self.protocol == "holdout" else [self.protocol]),
            f"seed{'-'.join(map(str, seeds[:3]))}",
        ]
        return self.name or "-".join(parts)


def check_name(name: str) -> None:
    """Raises UserError unless it can name a folder beside others."""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise UserError(f"--name={name!r} must be a plain folder name.")


def default_config(
    dataset: str, preset: Preset, model: str = TrainConfig.model
) -> TrainConfig:
    """Returns the defaults of a data set, a preset and a recogniser.

    They are the paper's recipe, changed as the recogniser and the preset need. Of
    several data sets each keeps its own window and shortest expression; their classes
    are MEGC's three if the paper's differ. For a data set that the paper does not use,
    every emotion is a class.

    Args:
      dataset: names of data sets, with or without a configuration, separated by commas.
      preset: see ``TrainConfig``.
      model: see ``TrainConfig``.

    Raises:
      UserError: if there is no such recogniser.
    """
    config = TrainConfig(dataset=dataset, preset=preset, model=model)
    several = len(config.datasets) > 1
    recogniser = config.recogniser
    values = dict(recogniser.defaults) | dict(recogniser.presets.get(preset, {}))
    if not config.paper_classes:
        values["classes"] = "megc3" if several else "all"
    if not several:
        recipe = recipes.RECIPES.get(dataset.strip().partition("/")[0], {})
        values = recipes.BY_DATASET | recipe | values
    return config.change(**values)
