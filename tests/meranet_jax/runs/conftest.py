from unittest import mock

import pytest

from meranet_jax.evaluation import figures
from tests.meranet_jax.running import touch_figure


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    """Makes figures of reports empty files; test_figures and test_train save them."""
    with mock.patch.object(figures, "save", touch_figure):
        yield
