import numpy as np

from meranet_jax.training import fold_progress


def test_each_epoch_has_each_clip_once_in_new_order():
    train = np.arange(100, 121)
    first = fold_progress.epoch_order(train, 4, seed=0, epoch=1)
    assert first.shape == (5, 4)  # one clip is left out
    assert len(set(first.ravel())) == 20
    assert set(first.ravel()) <= set(train)
    assert np.array_equal(first, fold_progress.epoch_order(train, 4, seed=0, epoch=1))
    assert not np.array_equal(
        first, fold_progress.epoch_order(train, 4, seed=0, epoch=2)
    )
    assert not np.array_equal(
        first, fold_progress.epoch_order(train, 4, seed=1, epoch=1)
    )
