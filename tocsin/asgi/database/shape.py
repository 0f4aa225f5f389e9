"""A statement without its values: what is logged, and by which equal statements are told.

    select * from t where id in (1, 2, 3) and name = 'Ana'   →   select * from t where id in (?) and name = ?

Literals of every form, numbers and placeholders become `?`; lists of them one; comments go (some libraries write the
request into them), white space is one space. A literal without an end takes the rest along: no value is shown.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MOST: Final = 4000
"""Characters."""
_TOKEN: Final = re.compile(
    r"""
    (?P<gap>   \s+ | --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<name>  "(?:[^"]|"")*(?:"|\Z) )
  | (?P<value> \b[eE]'(?:\\.|''|[^'\\])*(?:'|\\?\Z)
             | (?:\b(?:[bBxXnN]|[uU]&))?'(?:[^']|'')*(?:'|\Z)
             | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
             | %\([^)]*\)[sbt] | %[sbt] | \$\d+
             | (?<![\w.])(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w) | (?<![\w.])0[xXoObB][0-9a-fA-F_]+ )
  | (?P<word>  [^\W\d][\w$]* )
    """,
    re.VERBOSE | re.DOTALL,
)
_LIST: Final = re.compile(r"([(\[])\?(?:, ?\?)+([)\]])")
_LISTS: Final = re.compile(r"\(\?\)(?:, ?\(\?\))+")


@lru_cache(maxsize=1024)
def shape_of(statement: str) -> str:
    """`statement` as it would read with `?` for every value; at most MOST characters."""
    text = _TOKEN.sub(_token, statement[: MOST * 4])
    text = " ".join(text.split())
    text = text.replace("( ", "(").replace(" )", ")").removesuffix(";").rstrip()
    return _LISTS.sub("(?)", _LIST.sub(r"\1?\2", text))[:MOST]


def _token(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "gap":
        return " "
    return found[0] if kind in ("name", "word") else "?"
