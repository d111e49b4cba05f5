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
from math import inf, isfinite, log
from pathlib import Path

from minicrnn.ctc.kneser_ney import START, UNKNOWN, NGram
from minicrnn.files import replace_file

_LN10 = log(10)
_NEVER = -99.0  # stands for log10 0
_ROUNDED = 4e-7  # so much above 0 may a logarithm of 1 stand
_COUNT = re.compile(r"ngram[ \t]+(\d+)[ \t]*=[ \t]*(\d+)")
_SECTION = re.compile(r"\\(\d+)-grams:")
_CODE_POINT = re.compile(r"<U\+([0-9A-F]{4,6})>")


def escape(symbol: str) -> str:
    """White space by its code point.

    >>> escape(" "), escape("a")
    ('<U+0020>', 'a')
    """
    return f"<U+{ord(symbol):04X}>" if len(symbol) == 1 and (symbol.isspace() or not symbol.isprintable()) else symbol


def unescape(symbol: str) -> str:
    """The inverse of :func:`escape`."""
    match = _CODE_POINT.fullmatch(symbol)
    return chr(int(match[1], 16)) if match else symbol


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
    """Natural logarithms of probabilities and of back-off weights. Symbols stay as they are written, <UNK> aside.

    Raises:
        ValueError: naming the line, for what is no ARPA file; and for n-grams missing at the end.
        OSError: the file cannot be read.
    """
    log_probs: dict[NGram, float] = {}
    backoffs: dict[NGram, float] = {}
    promised: dict[int, int] = {}
    order = -1  # −1 before \data\, 0 in it
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip(" \t\r\n")
            try:
                if order < 0 or not text:
                    order = max(order, 0 if text == "\\data\\" else order)
                elif text == "\\end\\":
                    break
                elif match := _SECTION.fullmatch(text):
                    order = int(match[1])
                elif order == 0:
                    promised.update([_count(text)])
                else:
                    ngram, log_prob, backoff = _entry(text, order)
                    if ngram in log_probs:
                        raise ValueError("the n-gram is there already")
                    log_probs[ngram] = log_prob
                    if backoff != 0:
                        backoffs[ngram] = backoff
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {text[:60]!r}: {error}") from None
        else:
            raise ValueError(f"{path}: not a whole ARPA file: it has no \\data\\ or no \\end\\")
    found = {n: sum(len(ngram) == n for ngram in log_probs) for n in promised}
    if found != promised or sum(promised.values()) != len(log_probs):
        raise ValueError(f"{path}: the file promises {promised} n-grams by order, and holds {found}")
    return log_probs, backoffs


def _count(text: str) -> tuple[int, int]:
    if not (match := _COUNT.fullmatch(text)):
        raise ValueError("expected a line such as ngram 1=27")
    return int(match[1]), int(match[2])


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
    return _ngram(rest[:order]), -inf if log10 <= _NEVER else log10 * _LN10, backoff


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _ngram(symbols: list[str]) -> NGram:
    return tuple(UNKNOWN if symbol == "<UNK>" else symbol for symbol in symbols)


def _log10(value: float) -> str:
    return "-99" if value == -inf else f"{value / _LN10:.9g}"
