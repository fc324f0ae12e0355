import numpy as np

from meranet_jax.descriptors import blocks


def test_blocks_differ_by_at_most_one_pixel():
    found = blocks.block_indices((7, 12), (3, 5))
    assert found.shape == (7, 12)
    assert found[:, 0].tolist() == [0, 0, 0, 5, 5, 10, 10]
    assert found[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]


def test_blocks_of_clips_are_counted_by_rows_columns_and_segments():
    found = blocks.clip_block_indices((4, 6, 5), (2, 3, 2))
    assert found.shape == (4, 6, 5)
    for t, y, x in np.ndindex(found.shape):
        row, column, segment = y * 2 // 6, x * 3 // 5, t * 2 // 4
        assert found[t, y, x] == (row * 3 + column) * 2 + segment
