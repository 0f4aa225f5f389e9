"""The tree of a parsed template. `str(node)` is the source as Go prints it in an error's context."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(slots=True)
class Node:
    """Anything in the tree; `at` is its offset in characters."""

    at: int


@dataclass(slots=True)
class Text(Node):
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True)
class Dot(Node):
    def __str__(self) -> str:
        return "."


@dataclass(slots=True)
class Nil(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(slots=True)
class Bool(Node):
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(slots=True)
class Number(Node):
    """A constant: an int where it is written as one, as in Go."""

    source: str
    value: int | float

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True)
class String(Node):
    source: str
    value: str

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True)
class Identifier(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class Field(Node):
    """`.a.b`"""

    names: list[str]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(slots=True)
class Variable(Node):
    """`$x.a.b`: the first name is the variable with its `$`."""

    names: list[str]

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(slots=True)
class Chain(Node):
    """`(pipeline).a.b`"""

    term: Operand
    names: list[str]

    def __str__(self) -> str:
        term = f"({self.term})" if isinstance(self.term, Pipe) else str(self.term)
        return term + "".join(f".{name}" for name in self.names)


@dataclass(slots=True)
class Command(Node):
    args: list[Operand] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"({arg})" if isinstance(arg, Pipe) else str(arg) for arg in self.args)


@dataclass(slots=True)
class Pipe(Node):
    """Commands joined by `|`, and the variables that take the result."""

    declared: list[str] = field(default_factory=list)
    assigns: bool = False
    commands: list[Command] = field(default_factory=list)

    def __str__(self) -> str:
        head = ""
        if self.declared:
            head = ", ".join(self.declared) + (" = " if self.assigns else " := ")
        return head + " | ".join(str(command) for command in self.commands)


Operand: TypeAlias = Dot | Nil | Bool | Number | String | Identifier | Field | Variable | Chain | Pipe


@dataclass(slots=True)
class Action(Node):
    pipe: Pipe

    def __str__(self) -> str:
        return "{{" + str(self.pipe) + "}}"


@dataclass(slots=True)
class Branch(Node):
    """`if`, `with` or `range`."""

    keyword: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node] | None

    def __str__(self) -> str:
        head = "{{" + f"{self.keyword} {self.pipe}" + "}}" + "".join(map(str, self.body))
        if self.otherwise is not None:
            head += "{{else}}" + "".join(map(str, self.otherwise))
        return head + "{{end}}"


@dataclass(slots=True)
class Call(Node):
    """`{{template "name" pipeline}}`"""

    source: str
    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        return "{{template " + self.source + (f" {self.pipe}" if self.pipe else "") + "}}"


@dataclass(slots=True)
class Jump(Node):
    """`{{break}}` or `{{continue}}`"""

    keyword: str

    def __str__(self) -> str:
        return "{{" + self.keyword + "}}"


@dataclass(slots=True)
class End(Node):
    """`{{end}}` or `{{else}}`: closes a list, never stays in the tree."""

    keyword: str

    def __str__(self) -> str:
        return "{{" + self.keyword + "}}"
