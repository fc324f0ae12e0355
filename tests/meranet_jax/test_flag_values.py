import pytest

from meranet_jax import flag_values
from meranet_jax.errors import UserError


@pytest.mark.parametrize(
    ("seeds", "seed", "expected"),
    [
        (None, 0, (0,)),
        (None, 4, (4,)),
        ("3", 0, (0, 1, 2)),
        ("3", 4, (4, 5, 6)),
        ("9,2", 0, (9, 2)),
    ],
)
def test_seeds(seeds, seed, expected):
    assert flag_values.parse_seeds(seeds, seed) == expected


@pytest.mark.parametrize(
    "text", ["0", "-2", "a", "", "1,", "1,1", "1,-1", "1.5", "2000", "1,99999999999"]
)
def test_invalid_seeds(text):
    with pytest.raises(UserError, match=f"--seeds={text}"):
        flag_values.parse_seeds(text, 0)


def test_a_list_of_seeds_and_a_first_seed_are_refused():
    with pytest.raises(UserError, match="--seed=4 and --seeds=9,2: set only one"):
        flag_values.parse_seeds("9,2", 4)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1/2/3"])
def test_invalid_shards(text):
    with pytest.raises(UserError, match=f"--fold_shard={text} is not PART/PARTS"):
        flag_values.parse_shard(text)
    assert flag_values.parse_shard("2/8") == (1, 8)
