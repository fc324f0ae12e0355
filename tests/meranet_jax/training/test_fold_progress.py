import numpy as np

from meranet_jax.training import fold_progress


def test_an_epoch_takes_each_clip_once_and_every_epoch_another_order():
    train = np.arange(100, 121)
    first = fold_progress.epoch_order(train, 4, seed=0, epoch=1)
    assert first.shape == (5, 4)  # one clip sits out
    assert len(set(first.ravel())) == 20
    assert set(first.ravel()) <= set(train)
    assert np.array_equal(first, fold_progress.epoch_order(train, 4, seed=0, epoch=1))
    assert not np.array_equal(
        first, fold_progress.epoch_order(train, 4, seed=0, epoch=2)
    )
    assert not np.array_equal(
        first, fold_progress.epoch_order(train, 4, seed=1, epoch=1)
    )
