"""The configuration of a run: one frozen dataclass of all its settings."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from meranet_jax import flag_values, folder_names, recipes, recognisers
from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.inputs import registry as inputs
from meranet_jax.recognisers import Network, Recogniser
from meranet_jax.validation import check_choices, check_minimums

Preset = Literal["paper", "small", "new_people"]
Protocol = Literal[
    "holdout", "holdout_subject", "kfold", "loso", "lodo", "cross_dataset"
]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """All settings of a run, which are saved with it.

    The defaults are the paper's (section 4). ``default_config`` sets those that differ
    between data sets, presets and recognisers. The fields are flags that every
    recogniser has; ``settings`` contains those of the chosen recogniser.
    """

    dataset: str = "synthetic"
    """Data set: synthetic, casme, casme2, cas_me_2, casme3, casme3_c, samm, smic, mmew,
    fourdme or your own, with a configuration after a slash: synthetic/hard. Several,
    separated by commas, form a composite data set."""
    preset: Preset = "paper"
    """paper: the paper's settings. small: a smaller network for machines without an
    accelerator. new_people: settings for recognition on new people, a small network on
    optical flow."""
    model: str = "meranet"
    """Recogniser: meranet, resnet3d (MERANet without attention), networks of other
    publications (learnet, microexpstcnn, microattention, flow_cnn3d, ststnet,
    off_apexnet, rcn), a hand-crafted descriptor with an SVM (lbp_top, bi_woof, fmbh,
    stclqp, mdmo or landmark_flow), or your own, MODULE:NAME. --model=NAME --help lists
    its settings."""
    input: str | None = None
    """Input of the recogniser. rgb: the frames, normalised by clip and channel. grey:
    their luminance. difference: the difference of each frame from the onset frame.
    flow: the optical flow from the onset frame to each frame. flow_strain: flow and
    optical strain. onset_apex_flow: the flow from the onset to the apex frame.
    dynamic_image: one image of the motion in the clip. raw: the frames unchanged.
    raw_flow, raw_onset_apex_flow: the flow in pixels. learnet_image, grey_by_maximum,
    apex_grey, flow_grey, onset_apex_strain: those of other publications
    (docs/systems.md). Default: determined by the recogniser."""
    flow_method: optical_flow.Method = optical_flow.DEFAULT
    """Method that estimates optical flow."""
    init: str | None = None
    """Weights from which every fold of a network starts: a run folder; of a run with
    several folds one of its folders, RUN/folds/FOLD; a weights file (.npz); or
    pretrained, the weights of the package. They determine the defaults of --model,
    --preset, --input, --frames, --size and the network's architecture."""
    manual_dir: str | None = None
    """Folder of your copy of a licensed data set. It is needed once, to write its
    records. For several data sets: casme=DIR,casme2=DIR, and likewise for --release,
    --table, --label, --expressions and --camera."""
    data_dir: str | None = None
    """Folder of the records. Default: ~/tensorflow_datasets."""

    name: str | None = None
    """Name of the run folder. Default: data set, model, preset, protocol and seed."""
    runs_dir: str = "runs"
    """Folder of the run folders."""
    overwrite: bool = False
    """Delete an existing run of the same name and start again."""

    sampling: Literal["apex", "uniform", "tim"] = "apex"
    """Sampling of the frames of a clip. apex: from a window around the apex. uniform:
    evenly from onset to offset. tim: interpolated from onset to offset (temporal
    interpolation model)."""
    frames: int = 16
    """Number of frames of a clip."""
    window: int | None = None
    """Number of frames of the window around the apex. Default: the paper's, which is 16
    for cas_me_2 and 32 otherwise."""
    rate: float | None = None
    """Frame rate in Hz to which recordings are resampled before the window is taken, by
    the frame nearest in time (for --sampling=apex). A composite data set then needs
    --window, too, in frames at this rate. Default: the frame rate of each recording."""
    size: int = 112
    """Height and width of the input. If it divides 112, records have 112 x 112 pixels
    and are downsampled by averaging; otherwise records have this size."""
    record_size: int | None = None
    """Height and width of the records, a multiple of --size. Optical flow is computed
    at this size and reduced. Default: see --size."""
    crop: Literal["auto", "provided", "detect", "none"] | None = None
    """Face crop. provided: the cropped release of the data set. detect: a face detector
    on the raw release. none: the full frames. auto: provided if your copy contains it,
    otherwise detect. Default: auto."""
    margin: float | None = None
    """Margin on each side of a detected face, as a fraction of its size."""
    release: str | None = None
    """Release of a licensed data set. Default: determined by --crop."""
    table: tuple[str, ...] = ()
    """File name of the data set's table, or its path in the folder of the copy. It may
    be given several times. Default: see datasets/NAME/README.md."""
    sizes: Literal["same", "any"] | None = None
    """Clips whose frames differ in size. same: they are left out. any: each frame is
    resized by itself, which adds motion that is not in the face. Default: same."""
    apex: Literal["table", "middle", "spotted"] | None = None
    """What replaces an apex that a data set's table does not give. middle: the middle
    of onset and offset. spotted: the frame that has moved most since the onset. table:
    nothing; such clips are left out. Default: middle."""
    expressions: Literal["micro", "macro", "both"] | None = None
    """Kind of expressions of cas_me_2. Default: micro."""
    camera: Literal["HS", "VIS", "NIR"] | None = None
    """Camera of the recordings of smic. Default: HS."""

    label: str = "emotion"
    """Record field used as the class label. In cas_me_2, emotion is that of the
    stimulus, as in the paper; other fields are estimated_emotion and
    self_reported_emotion."""
    classes: str = "paper"
    """Classes; clips of other emotions are left out. paper: those of the paper. all:
    each emotion. megc3: negative, positive, surprise; of casme2, smic and samm the
    clips of MEGC 2019. objective: the objective classes I to V. emotions5 (casme2,
    samm), emotions4 (casme): see docs/protocols.md. A list: disgust,happiness. A JSON
    file that maps classes to emotions: FILE.json."""
    min_frames: int | None = None
    """Minimum number of frames from onset to offset; shorter expressions are left out.
    Default: the paper's, which is 16 for casme and casme2 and 1 otherwise."""
    leave_out: str | None = None
    """Ids of clips to leave out, separated by commas."""
    whole_clips: bool = False
    """Leave out recordings that have no frames but onset, apex and offset also for an
    input that needs no others, so that all inputs have the same clips."""

    protocol: Protocol = "holdout"
    """Evaluation protocol. holdout: the paper's, not subject-disjoint. holdout_subject:
    subject-disjoint hold-out. kfold: subject-disjoint cross-validation with --folds
    folds. loso: leave-one-subject-out. lodo: leave one data set of a composite data set
    out. cross_dataset: train on --train_datasets, test on --test_datasets."""
    train_datasets: str | None = None
    """With --protocol=cross_dataset: the data sets of --dataset to train on, separated
    by commas. Validation parts are of these, too. Default: those that are not
    tested."""
    test_datasets: str | None = None
    """With --protocol=cross_dataset: the data sets of --dataset to test on. Default:
    those that are not trained on."""
    folds: int = 5
    """Number of folds of kfold."""
    test_fraction: float = 0.25
    """Fraction of the clips in the test part of a hold-out."""
    validation_fraction: float = 0.2
    """Fraction of the remaining clips in the validation part, which selects the
    checkpoint."""
    train_subjects: int | None = None
    """Keep this number of subjects of each training part, drawn with the seed, for
    learning curves. A smaller number keeps a part of those of a larger. Default:
    all."""
    train_clips: int | None = None
    """Keep at most this number of clips of each subject of a training part, drawn with
    the seed. Default: all."""
    split: str | None = None
    """File split.json of another run, to use the same split."""
    seed: int = 0
    """Seed of the split, the initial parameters, the order of clips and the flips."""
    seeds: str | None = None
    """Several seeds. 5: five seeds, from --seed upwards. 3,7,9: these seeds."""
    fold_shard: str | None = None
    """Train a part of the folds, such as 2/8, the second of eight. eval.py --merge
    merges the parts."""

    coordinator: str | None = None
    """HOST:PORT of the first of several processes that train one run, with
    --num_processes and --process_id. auto: JAX finds the processes, on Cloud TPU. Not
    needed under Slurm and Open MPI."""
    num_processes: int | None = None
    """Number of processes that train the run."""
    process_id: int | None = None
    """Number of this process, from 0."""

    settings: Any = None
    """Settings of the recogniser. Default: its default settings."""

    def __post_init__(self):
        """Sets the recogniser's defaults, and raises UserError for invalid values."""
        recogniser = self.recogniser
        if self.settings is None:
            object.__setattr__(self, "settings", recogniser.settings())
        if type(self.settings) is not recogniser.settings:
            raise UserError(
                f"--model={self.model} needs settings of type "
                f"{recogniser.settings.__name__}, not {type(self.settings).__name__}."
            )
        if self.input is None:
            object.__setattr__(self, "input", recogniser.inputs[0])
        if self.input not in recogniser.inputs:
            raise UserError(
                f"--input={self.input}: --model={self.model} accepts "
                f"{', '.join(recogniser.inputs)}."
            )
        freeze = getattr(self.settings, "freeze", None)
        if self.init is not None and not isinstance(recogniser, Network):
            raise UserError(
                f"--init={self.init}: --model={self.model} is a descriptor, which is "
                "fitted at once and has no weights to start from. Leave out --init, or "
                "choose a network."
            )
        if freeze is not None and self.init is None:
            raise UserError(
                f"--freeze={freeze} keeps the weights of --init, which is missing. "
                "Name the weights with --init, or leave out --freeze."
            )
        check_choices(self)
        check_minimums(
            self,
            {
                "frames": 1,
                "min_frames": 1,
                "size": 1,
                "record_size": 1,
                "seed": 0,
                "folds": 2,
                "train_subjects": 1,
                "train_clips": 1,
                "num_processes": 1,
                "process_id": 0,
            },
        )
        if self.seed >= 2**32:
            raise UserError(f"--seed={self.seed} must be below {2**32}.")
        if self.record_size is not None and self.record_size % self.size:
            raise UserError(
                f"--record_size={self.record_size} is no multiple of "
                f"--size={self.size}, to which records are reduced by averaging. Set "
                "--record_size to a multiple, such as "
                f"{-(-self.record_size // self.size) * self.size}."
            )
        for field in ("test_fraction", "validation_fraction"):
            if not 0 < getattr(self, field) < 1:
                value = getattr(self, field)
                raise UserError(f"--{field}={value} must be between 0 and 1.")
        if self.name is not None:
            folder_names.check_name(self.name)
        processes = (self.coordinator, self.num_processes, self.process_id)
        if processes not in ((None, None, None), ("auto", None, None)) and (
            None in processes or self.process_id >= self.num_processes
        ):
            raise UserError(
                f"--coordinator={self.coordinator} --num_processes="
                f"{self.num_processes} --process_id={self.process_id}: set all three, "
                "and for each process another --process_id, from 0 to --num_processes "
                "- 1."
            )

        names = [name.partition("/")[0] for name in self.datasets]
        if len(set(names)) < len(names):  # they would have the same subjects
            raise UserError(f"--dataset={self.dataset} names a data set twice.")
        if self.rate is not None and not 1 <= self.rate <= 10_000:
            raise UserError(f"--rate={self.rate} must be from 1 to 10000 Hz.")
        if len(names) > 1 and self.rate is not None and self.window is None:
            raise UserError(
                f"--rate={self.rate:g}: with several data sets, set --window, too, the "
                "number of frames of the window at that rate: "
                f"{round(self.rate * 0.5)} are half a second."
            )
        # Errors in these are raised before anything is prepared.
        _ = self.all_seeds, self.shard
        if len(names) > 1:
            self.each_dataset()

    @classmethod
    def from_flags(cls, **flags: object) -> "TrainConfig":
        """Makes a configuration from flags, including those of the recogniser.

        Other flags have their defaults.

        Raises:
          UserError: if there is no such flag, or a value is invalid.
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
        """Returns all settings by flag name, those of the recogniser last."""
        values = vars(self) | vars(self.settings)
        del values["settings"]
        return values

    def change(self, **flags: object) -> "TrainConfig":
        """Returns a copy with other values of some flags.

        If ``model`` changes, settings that both recognisers have keep their values, and
        the others get their defaults.

        Raises:
          UserError: if there is no such flag, or a value is invalid.
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
        recogniser, title = self.recogniser, self.recogniser.title
        if self.init is not None and isinstance(recogniser, Network):
            title = recogniser.title_with_init or title
        return title(self.settings) + recogniser.title_suffix(self.frames)

    @property
    def feed(self) -> str:
        """Where clips are stored during fitting; see ``feed.should_stream``."""
        return getattr(self.settings, "feed", "auto")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets, with their configurations."""
        return flag_values.parse_list(self.dataset)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """All seeds, from ``seed`` and ``seeds``."""
        return flag_values.parse_seeds(self.seeds, self.seed)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The ids of the clips to leave out."""
        return () if self.leave_out is None else flag_values.parse_list(self.leave_out)

    @property
    def tested_datasets(self) -> tuple[str, ...]:
        """The data sets that ``--protocol=cross_dataset`` tests, without configuration.

        Empty for other protocols. Raises UserError if the flags do not divide the data
        sets into those to train on and those to test.
        """
        return flag_values.parse_tested_datasets(
            self.dataset,
            protocol=self.protocol,
            train_datasets=self.train_datasets,
            test_datasets=self.test_datasets,
        )

    @property
    def shard(self) -> tuple[int, int] | None:
        """Index, from 0, and number of parts of ``fold_shard``; None for all folds."""
        if self.fold_shard is None:
            return None
        return flag_values.parse_shard(self.fold_shard)

    def each_dataset(self) -> list["TrainConfig"]:
        """Returns a configuration for each data set of a composite data set.

        Unset values are taken from the recipe of the data set, and NAME=VALUE lists are
        replaced by the value for the data set. Raises UserError for invalid lists.
        """
        alone = []
        for dataset in self.datasets:
            recipe = recipes.recipe(dataset)
            changes = {
                name: recipe.get(name, default)
                for name, default in recipes.BY_DATASET.items()
                if getattr(self, name) is None
            }
            if len(self.datasets) > 1:
                changes |= {
                    name: flag_values.value_of_dataset(
                        getattr(self, name),
                        dataset,
                        self.datasets,
                        flag=name,
                        default=default,
                    )
                    for name, default in recipes.LISTED.items()
                }
            alone.append(self.change(dataset=dataset, **changes))
        return alone

    @property
    def used_flow_method(self) -> str | None:
        """The value of ``flow_method`` if the input needs optical flow, else None."""
        return self.flow_method if inputs.find(self.input).flow else None

    def record_features(self) -> tuple[str, ...]:
        """Returns the features of the records that the input is computed from."""
        return inputs.find(self.input).features

    def required_features(self) -> tuple[str, ...]:
        """Returns those of ``record_features`` without which there is no input."""
        return inputs.find(self.input).required_features

    def record_options(self) -> dict[str, object]:
        """Returns ``datasets.prepare.Options`` of the one data set, by name."""
        names = ("sampling", "frames", "window", "rate", "crop", "margin") + (
            "release",
            "table",
            "sizes",
            "apex",
            "expressions",
            "camera",
        )
        # Records of the paper's size serve every size that divides it.
        size = self.size if recipes.RECORDED % self.size else recipes.RECORDED
        size = self.record_size or size
        return {name: getattr(self, name) for name in names} | {"size": size}

    @property
    def paper_classes(self) -> tuple[str, ...] | None:
        """The paper's classes for the data sets; None if they differ."""
        classes = {recipes.paper_classes(dataset) for dataset in self.datasets}
        return classes.pop() if len(classes) == 1 else None

    @property
    def run_name(self) -> str:
        """The name of the run folder, without that of the shard."""
        default = folder_names.run_name(
            dataset=self.dataset,
            model=self.recogniser.name + self.recogniser.variant(self.settings),
            preset=self.preset,
            network_input=(
                None if self.input == self.recogniser.inputs[0] else self.input
            ),
            init=self.init,
            protocol=self.protocol,
            tested_datasets=self.tested_datasets,
            seeds=self.all_seeds,
        )
        return self.name or default


def _presets(recogniser: Recogniser) -> str:
    return " and ".join(["paper", *recogniser.presets]) + " only"


def default_config(
    dataset: str,
    preset: Preset,
    model: str = TrainConfig.model,
    of_weights: Mapping[str, object] | None = None,
) -> TrainConfig:
    """Returns the defaults of a data set, a preset and a recogniser.

    They are the paper's recipe with the changes of the recogniser and the preset. In a
    composite data set, each data set keeps its own ``window`` and ``min_frames``, and
    the classes are the three of MEGC if the paper's classes differ. For a data set that
    the paper does not use, each emotion is a class.

    Args:
      dataset: see ``TrainConfig``.
      preset: see ``TrainConfig``.
      model: see ``TrainConfig``.
      of_weights: flags that the weights of ``--init`` determine, by name; None for a
        start from random weights.

    Raises:
      UserError: if there is no such recogniser, or it has no such preset.
    """
    config = TrainConfig(dataset=dataset, preset=preset, model=model)
    several = len(config.datasets) > 1
    recogniser = config.recogniser
    own = {} if several else recipes.BY_DATASET | recipes.recipe(dataset.strip())
    if preset != "paper" and preset not in recogniser.presets:
        raise UserError(
            f"--preset={preset}: --model={model} has {_presets(recogniser)}."
        )
    values = own | dict(recogniser.defaults) | recogniser.presets.get(preset, {})
    if of_weights is not None:
        values |= recogniser.fine_tuning.get(preset, {})
    if not config.paper_classes:
        values["classes"] = own.get("classes", "megc3" if several else "all")
    return config.change(**(values | dict(of_weights or {})))
