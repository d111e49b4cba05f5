"""A dozen rendered words, made once for all tests of training."""

import pytest

from tests.samples import word_folder


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    return word_folder(tmp_path_factory.mktemp("words"))
