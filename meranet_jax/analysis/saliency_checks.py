"""Localisation of the movement by saliency maps, and their sanity check."""

from collections.abc import Sequence

import numpy as np

from meranet_jax.analysis import saliency
from meranet_jax.analysis.explainer import ExplainedClip, Explainer
from meranet_jax.data.splits import Job


def localisation(
    explained: Sequence[ExplainedClip],
) -> dict[str, dict[str, np.ndarray]]:
    """Measures how well each kind of map localises the movement.

    Clips without a motion mask, or with one that is uniform, are left out.

    Returns:
      The result of ``saliency.localisation`` by the kind of map; empty without clips.
    """
    known = [clip for clip in explained if clip.motion is not None]
    known = [clip for clip in known if clip.motion.any() and not clip.motion.all()]
    if not known:
        return {}
    motion = np.stack([clip.motion for clip in known])
    kinds = {
        "Grad-CAM": [clip.grad_cam for clip in known],
        "SmoothGrad": [clip.smooth_grad for clip in known],
    }
    for block in known[0].attention:
        kinds[f"attention of {block}"] = [clip.attention[block] for clip in known]
    return {
        kind: saliency.localisation(np.stack(maps), motion)
        for kind, maps in kinds.items()
    }


def sanity(
    explainer: Explainer, job: Job, clip_ids: Sequence[str], *, seed: int = 1
) -> list[dict]:
    """Compares maps with those of networks with randomised layers.

    Cascading randomisation of Adebayo et al. (2018), "Sanity checks for saliency maps":
    layers are randomised one after another, from the head down. A map that does not
    change does not depend on the trained weights.

    Args:
      explainer: the explainer of the run.
      job: a fold.
      clip_ids: clips of its test part.
      seed: draws the random weights.

    Returns:
      A row for each stage, from no layer to all layers: ``randomised``, the lowest
      randomised layer, and for ``grad_cam`` and ``smooth_grad`` the mean of Spearman's
      rank correlation with the maps of the trained network, for its predicted class.
    """
    weights, random = explainer.weights(job), explainer.random_weights(seed)
    trained = explainer.explain(job, clip_ids)
    rows, randomised = [], []
    from_head = [group[::-1] for group in reversed(explainer.layer_groups)]
    for layers in [[], *from_head]:
        randomised += layers
        changed = saliency.randomised(weights, random, randomised)
        correlations = {"grad_cam": [], "smooth_grad": []}
        # Maps of different classes would differ for another reason.
        targets = [one.predicted for one in trained]
        others = explainer.explain(job, clip_ids, target=targets, weights=changed)
        for one, other in zip(trained, others, strict=True):
            for kind, values in correlations.items():
                maps = [getattr(each, kind)[None] for each in (one, other)]
                values.append(float(saliency.similarity(*maps)[0]))
        rows.append(
            {"randomised": layers[-1] if layers else "nothing"}
            | {kind: float(np.mean(values)) for kind, values in correlations.items()}
        )
    return rows


def describe(explained: Sequence[ExplainedClip], layer: str) -> str:
    """Describes for a terminal how well the maps localise the movement.

    Args:
      explained: clips with their maps.
      layer: the layer that Grad-CAM explains.
    """
    found = localisation(explained)
    if not found:
        return "The records of these clips do not say where the face moved."
    width = max(map(len, found))
    count = len(found["Grad-CAM"]["auc"])
    lines = [
        f"Localisation of the movement, means over {count} clips (in brackets: a "
        "uniform map)"
    ]
    for kind, scores in found.items():
        mean = {name: float(values.mean()) for name, values in scores.items()}
        lines.append(
            f"  {kind:{width}}  {mean['energy']:.3f} ({mean['energy_by_chance']:.3f}) "
            f"of the map where the face moved, AUC {mean['auc']:.3f} (0.5); "
            f"{mean['frame_energy']:.3f} ({mean['frame_energy_by_chance']:.3f}) in "
            f"frames with movement, correlation over frames "
            f"{mean['frame_correlation']:+.2f} (0)"
        )
    lines.append(f"Grad-CAM explains {layer}.")
    return "\n".join(lines)
