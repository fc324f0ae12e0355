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


def test_balanced_epochs_have_as_many_clips_of_each_class():
    labels = np.array([0] * 30 + [1] * 9 + [2] * 3)
    train = np.arange(2, 42)  # 28, 9 and 3 clips
    seen = set()
    for epoch in range(1, 21):
        order = fold_progress.epoch_order(train, 8, 0, epoch, labels)
        assert order.shape == (5, 8)
        drawn = order.ravel()
        assert set(drawn) <= set(train)
        counts = np.bincount(labels[drawn])
        assert counts.max() - counts.min() <= 1
        for label in range(3):  # within a class no clip is preferred
            clips = train[labels[train] == label]
            of_class = [np.count_nonzero(drawn == clip) for clip in clips]
            assert max(of_class) - min(of_class) <= 1
        seen |= set(drawn)
    assert seen == set(train)  # other clips of the common class in each epoch
    again = fold_progress.epoch_order(train, 8, 0, 20, labels)
    assert np.array_equal(order, again)
    # A class that the training part does not have is no class.
    two = fold_progress.epoch_order(train[:-3], 8, 0, 1, labels)
    assert np.bincount(labels[two.ravel()]).tolist() == [16, 16]
