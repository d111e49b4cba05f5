r"""ARPA files: n-gram models as text, which KenLM, SRILM and others read and write.

    \data\
    ngram 1=4                      how many n-grams of each order follow

    \1-grams:
    -99    <s>    -0.30103         log10 p, the n-gram, log10 of its back-off weight (left out where it is 0)
    -0.5   a

    \end\

Symbols are parted by blanks or tabs, so that a symbol that is white space itself needs another form: <U+0020>.

Source: Stolcke, *SRILM: an extensible language modeling toolkit*, ICSLP 2002; its manual page ngram-format(5).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, log
from pathlib import Path

from minicrnn.ctc.kneser_ney import START, UNKNOWN, NGram
from minicrnn.files import replace_file

_LN10 = log(10)
_NEVER = -99.0  # stands for log10 0
_ROUNDED = 4e-7  # so much above 0 may a logarithm of 1 stand
_COUNT = re.compile(r"ngram[ \t]+([0-9]+)[ \t]*=[ \t]*([0-9]+)")
_SECTION = re.compile(r"\\([0-9]+)-grams:")
_CODE_POINT = re.compile(r"<U\+([0-9A-F]{4,5}|10[0-9A-F]{4})>")
_READ_OTHERWISE = re.compile(rf"<(?={_CODE_POINT.pattern[1:]}|UNK>)")  # where a symbol would become another one


def escape(symbol: str) -> str:
    """White space, and what else does not show, by its code point.

    >>> escape(" "), escape("a"), escape("<U+0020>")
    ('<U+0020>', 'a', '<U+003C>U+0020>')
    """
    symbol = _READ_OTHERWISE.sub("<U+003C>", symbol)
    return "".join(f"<U+{ord(c):04X}>" if c.isspace() or not c.isprintable() else c for c in symbol)


def unescape(symbol: str) -> str:
    """The inverse of :func:`escape`."""
    return _CODE_POINT.sub(lambda match: chr(int(match[1], 16)), symbol)


def write(path: str | Path, log_probs: Mapping[NGram, float], backoffs: Mapping[NGram, float]) -> None:
    """Write natural logarithms as an ARPA file, atomically. A start without a probability gets none: −99."""
    ngrams = dict(log_probs)
    ngrams.setdefault((START,), -inf)
    order = max(map(len, ngrams))
    by_order = [sorted(ngram for ngram in ngrams if len(ngram) == n) for n in range(1, order + 1)]
    lines = ["\\data\\", *(f"ngram {n}={len(own)}" for n, own in enumerate(by_order, start=1))]
    for n, own in enumerate(by_order, start=1):
        lines += ["", f"\\{n}-grams:"]
        for ngram in own:
            fields = [_log10(ngrams[ngram]), " ".join(map(escape, ngram))]
            if backoffs.get(ngram, 0.0) != 0:
                fields.append(_log10(backoffs[ngram]))
            lines.append("\t".join(fields))
    replace_file(path, ("\n".join([*lines, "", "\\end\\"]) + "\n").encode())


def read(path: str | Path) -> tuple[dict[NGram, float], dict[NGram, float]]:
    """Natural logarithms of probabilities and of back-off weights.

    Raises:
        ValueError: naming the line, for what is no ARPA file or a damaged one.
        OSError: the file cannot be read.
    """
    contents, number = _Contents(), 0
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = repr(line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r\n")
                contents.take(text, number)
            except UnicodeDecodeError:
                raise ValueError(f"{path}, line {number}: not UTF-8: {line[:60]!r}. Convert the file first") from None
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {text[:60]!r}: {error}") from None
            if contents.ended:
                break
    if not contents.ended:
        where = f"line {number}" if number else "an empty file"
        raise ValueError(f"{path}, {where}: not a whole ARPA file: it has no \\data\\ or no \\end\\")
    for order, (count, promise) in contents.promised.items():
        if count != contents.found.get(order, 0):
            holds = f"the file holds {contents.found.get(order, 0)}"
            raise ValueError(f"{path}, line {promise}: {count} n-grams of order {order} are promised, and {holds}")
    if not contents.log_probs:
        raise ValueError(f"{path}, line {number}: the file ends here and has no n-grams")
    return contents.log_probs, contents.backoffs


@dataclass
class _Contents:
    """What the lines so far have said. section: −1 before \\data\\, 0 in it, then the order of the n-grams."""

    log_probs: dict[NGram, float] = field(default_factory=dict)
    backoffs: dict[NGram, float] = field(default_factory=dict)
    promised: dict[int, tuple[int, int]] = field(default_factory=dict)  # by order: how many, and the line that says so
    found: dict[int, int] = field(default_factory=dict)
    section: int = -1
    ended: bool = False

    def take(self, text: str, number: int) -> None:
        """One line more."""
        if self.section < 0 or not text:
            self.section = max(self.section, 0 if text == "\\data\\" else -1)
        elif text == "\\end\\":
            self.ended = True
        elif match := _SECTION.fullmatch(text):
            self._begin(int(match[1]))
        elif self.section == 0:
            self._promise(text, number)
        else:
            self._add(text)

    def _promise(self, text: str, number: int) -> None:
        if not (match := _COUNT.fullmatch(text)):
            raise ValueError("expected a line such as ngram 1=27")
        if int(match[1]) in self.promised:
            raise ValueError(f"line {self.promised[int(match[1])][1]} has the number of these n-grams already")
        self.promised[int(match[1])] = int(match[2]), number

    def _begin(self, order: int) -> None:
        if order != self.section + 1:
            raise ValueError(f"expected \\{self.section + 1}-grams: or \\end\\: the orders follow each other from 1")
        if order not in self.promised:
            raise ValueError(f"the head of the file has no line ngram {order}=…")
        self.section, self.found[order] = order, 0

    def _add(self, text: str) -> None:
        ngram, log_prob, backoff = _entry(text, self.section)
        if ngram in self.log_probs:
            raise ValueError("the n-gram is there already")
        # A start is history alone: it needs no probability.
        if unknown := [one for one in ngram if len(ngram) > 1 and one != START and (one,) not in self.log_probs]:
            raise ValueError(f"{unknown[0]!r} is none of the 1-grams")
        self.log_probs[ngram] = log_prob
        self.found[self.section] += 1
        if backoff != 0:
            self.backoffs[ngram] = backoff


def _entry(text: str, order: int) -> tuple[NGram, float, float]:
    first, *rest = re.split("[ \t]+", text)
    if len(rest) not in (order, order + 1):
        raise ValueError(f"expected a logarithm, {order} symbols and perhaps a back-off weight")
    backoff = _number(rest[order]) * _LN10 if len(rest) > order else 0.0
    if not isfinite(backoff):
        raise ValueError(f"the back-off weight is {rest[order]}, it must be finite")
    log10 = _number(first)
    if not log10 <= _ROUNDED:  # NaN is not, either
        raise ValueError(f"log10 of the probability is {first}, it must be 0 or less")
    ngram = tuple(UNKNOWN if symbol == "<UNK>" else unescape(symbol) for symbol in rest[:order])
    return ngram, -inf if log10 <= _NEVER else log10 * _LN10, backoff


def _number(text: str) -> float:
    try:  # Python's numbers may have underscores and other scripts' digits, those of ARPA files not
        return float(text.replace("_", "?").encode("ascii", "replace"))
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _log10(value: float) -> str:
    return "-99" if value == -inf else f"{value / _LN10:.9g}"
