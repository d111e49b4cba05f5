"""What the README shows is what the code prints."""

import doctest
import re
from pathlib import Path

import minicrnn

README = Path(__file__).parent.parent / "README.md"


def test_examples_run():
    text = README.read_text(encoding="utf-8")
    examples = "\n".join(re.findall(r"```python\n(>>> .*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "README", str(README), 0)
    assert test.examples
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert result.failed == 0


def test_the_table_of_vgg_is_the_one_that_describe_prints():
    table = str(minicrnn.describe(minicrnn.CRNN.from_preset("vgg", num_classes=37), 32, 100))
    assert table in README.read_text(encoding="utf-8")
