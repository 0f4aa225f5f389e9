"""Runs a parsed template on an alert's data.

Never runs away: blocks nest no deeper than `MAX_CALLS`, loops take no more than `MAX_STEPS` steps and the text is
no longer than `MAX_TEXT`. Past that it fails like any other template, with a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .arguments import constant_as, fitting, parameter_types, steps_of
from .functions import ANY, Function
from .go_format import printed
from .lex import quote
from .nodes import (
    Action,
    Bool,
    Branch,
    Call,
    Chain,
    Command,
    Dot,
    Field,
    Identifier,
    Jump,
    Node,
    Number,
    Operand,
    Pipe,
    String,
    Text,
    Variable,
)
from .times import METHODS
from .values import (
    MISSING,
    AlertData,
    AnyMap,
    Duration,
    ExecutionFailed,
    Missing,
    QuerySample,
    StringMap,
    Time,
    truth,
    type_name,
)

MAX_CALLS: Final = 40
MAX_STEPS: Final = 100_000
MAX_TEXT: Final = 1 << 20


class _Break(Exception):
    """{{break}}"""


class _Continue(Exception):
    """{{continue}}"""


class Execution:
    """One rendering. `here` is the node being evaluated: an error says so."""

    def __init__(self, functions: Mapping[str, Function], defined: Mapping[str, Sequence[Node]]) -> None:
        self._functions = functions
        self._defined = defined
        self._out: list[str] = []
        self._length = 0
        self._steps = 0
        self._calls = 0
        self._variables: list[tuple[str, object]] = []
        self.here: Node | None = None

    def run(self, body: Sequence[Node], data: object, variables: Mapping[str, object]) -> str:
        """The text. Raises ExecutionFailed; `here` is then the node that failed."""
        self._variables = [("$", data), *variables.items()]
        self._walk_all(body, data)
        return "".join(self._out)

    # Blocks --------------------------------------------------------------------------------------------------------

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_TEXT:
            raise ExecutionFailed(f"the text grew past {MAX_TEXT} characters")
        self._out.append(text)

    def _walk_all(self, nodes: Sequence[Node], dot: object) -> None:
        for node in nodes:
            self._walk(node, dot)

    def _walk(self, node: Node, dot: object) -> None:
        self.here = node
        match node:
            case Text():
                self._write(node.text)
            case Action():
                value = self._pipeline(node.pipe, dot)
                if not node.pipe.declared:
                    self._write(printed(value))
            case Branch():
                known = len(self._variables)
                self._branch(node, dot)
                del self._variables[known:]
            case Call():
                self._call_template(node, dot)
            case Jump():
                raise _Break if node.keyword == "break" else _Continue

    def _branch(self, node: Branch, dot: object) -> None:
        if node.keyword == "range":
            self._range(node, dot)
            return
        value = self._pipeline(node.pipe, dot)
        if truth(value):
            self._walk_all(node.body, value if node.keyword == "with" else dot)
        elif node.otherwise is not None:
            self._walk_all(node.otherwise, dot)

    def _range(self, node: Branch, dot: object) -> None:
        value = self._pipeline(node.pipe, dot)
        # The variables of the pipe hold the whole list so far; each step gives them its own values.
        declared = len(node.pipe.declared)
        empty = True
        mark = len(self._variables)
        for key, item in steps_of(value):
            empty = False
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise ExecutionFailed(f"more than {MAX_STEPS} steps of range")
            self._give(node.pipe, mark, declared, key, item)
            try:
                self._walk_all(node.body, item)
            except _Break:
                break
            except _Continue:
                pass
            finally:
                del self._variables[mark:]
        if empty and node.otherwise is not None:
            self._walk_all(node.otherwise, dot)

    def _give(self, pipe: Pipe, mark: int, declared: int, key: object, item: object) -> None:
        values = (item,) if declared == 1 else (key, item)
        for position, name in enumerate(pipe.declared):
            if pipe.assigns:
                self._assign(name, values[position])
            else:
                self._variables[mark - declared + position] = (name, values[position])

    def _call_template(self, node: Call, dot: object) -> None:
        body = self._defined.get(node.name)
        if body is None:
            raise ExecutionFailed(f"template {quote(node.name)} not defined")
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise ExecutionFailed(f"exceeded maximum template depth ({MAX_CALLS})")
        inner = self._pipeline(node.pipe, dot) if node.pipe else None
        outer, self._variables = self._variables, [("$", inner)]
        try:
            self._walk_all(body, inner)
        finally:
            self._variables = outer
            self._calls -= 1

    # Values --------------------------------------------------------------------------------------------------------

    def _lookup(self, name: str) -> object:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise ExecutionFailed(f"undefined variable: {name}")

    def _assign(self, name: str, value: object) -> None:
        for position in range(len(self._variables) - 1, -1, -1):
            if self._variables[position][0] == name:
                self._variables[position] = (name, value)
                return
        raise ExecutionFailed(f"undefined variable: {name}")

    def _pipeline(self, pipe: Pipe, dot: object) -> object:
        self.here = pipe
        value: object = MISSING
        for command in pipe.commands:
            value = self._command(command, dot, value)
        for name in pipe.declared:
            if pipe.assigns:
                self._assign(name, value)
            else:
                self._variables.append((name, value))
        return value

    def _command(self, command: Command, dot: object, final: object) -> object:
        first = command.args[0]
        match first:
            case Field() | Chain() | Variable():
                return self._dotted(first, dot, command.args, final)
            case Identifier():
                return self._function(first, dot, command.args, final)
        if not isinstance(first, Pipe):
            self.here = first
        if len(command.args) > 1 or final is not MISSING:
            raise ExecutionFailed(f"can't give argument to non-function {first}")
        match first:
            case Pipe():
                return self._pipeline(first, dot)
            case Bool() | Number() | String():
                return first.value
            case Dot():
                return dot
        raise ExecutionFailed("nil is not a command")

    def _dotted(self, node: Field | Chain | Variable, dot: object, args: Sequence[Operand], final: object) -> object:
        """`.a.b`, `$x.a` or `(…).a`: only the last name may be a method that takes arguments."""
        self.here = node
        names = node.names
        if isinstance(node, Field):
            value = dot
        elif isinstance(node, Variable):
            value, names = self._lookup(node.names[0]), node.names[1:]
            if not names and (len(args) > 1 or final is not MISSING):
                raise ExecutionFailed(f"can't give argument to non-function {args[0]}")
        else:
            value = self._argument(node.term, ANY, dot)
        for position, name in enumerate(names):
            last = position == len(names) - 1
            value = self._member(value, name, node, args if last else (), final if last else MISSING, dot)
        return value

    def _member(
        self, receiver: object, name: str, node: Node, args: Sequence[Operand], final: object, dot: object
    ) -> object:
        has_arguments = len(args) > 1 or not isinstance(final, Missing)
        match receiver:
            case None:
                return None
            case AlertData() | QuerySample():
                fields = receiver.fields()
                if name in fields:
                    if has_arguments:
                        raise ExecutionFailed(f"{name} has arguments but cannot be invoked as function")
                    return fields[name]
            case StringMap() | AnyMap():
                if has_arguments:
                    raise ExecutionFailed(f"{name} is not a method but has arguments")
                return receiver.get(name, "" if isinstance(receiver, StringMap) else None)
            case Time() | Duration():
                method = METHODS.get((type(receiver), name))
                if method is not None:
                    parameters, call = method
                    bound = Function(lambda *rest: call(receiver, *rest), parameters)
                    return self._apply(bound, name, node, dot, args, final)
        raise ExecutionFailed(f"can't evaluate field {name} in type {type_name(receiver)}")

    # Calls ---------------------------------------------------------------------------------------------------------

    def _function(self, node: Identifier, dot: object, args: Sequence[Operand], final: object) -> object:
        self.here = node
        if node.name in ("and", "or"):
            return self._short_circuit(node, dot, args, final)
        return self._apply(self._functions[node.name], node.name, node, dot, args, final)

    def _short_circuit(self, node: Identifier, dot: object, args: Sequence[Operand], final: object) -> object:
        if len(args) < 2 and final is MISSING:
            raise ExecutionFailed(f"wrong number of args for {node.name}: want at least 1 got 0")
        stops_at = node.name == "or"
        value: object = MISSING
        for arg in args[1:]:
            value = self._argument(arg, ANY, dot)
            if truth(value) is stops_at:
                return value
        return value if final is MISSING else final

    def _apply(
        self, function: Function, name: str, node: Node, dot: object, args: Sequence[Operand], final: object
    ) -> object:
        types = parameter_types(function, name, max(len(args) - 1, 0) + (final is not MISSING))
        values = [self._argument(arg, types[position], dot) for position, arg in enumerate(args[1:])]
        if final is not MISSING:
            values.append(fitting(final, types[-1]))
        try:
            return function.call(*values)
        except ExecutionFailed as failed:
            self.here = self._context(node, args)
            raise ExecutionFailed(f"error calling {name}: {failed}") from failed

    def _context(self, node: Node, args: Sequence[Operand]) -> Node:
        """Go shows the whole command of a failed function, `first $x`, not only its name."""
        return Command(node.at, list(args)) if isinstance(node, Identifier) and len(args) > 1 else node

    def _argument(self, node: Operand, wanted: type, dot: object) -> object:
        self.here = node
        match node:
            case Dot():
                return fitting(dot, wanted)
            case Field() | Chain() | Variable():
                return fitting(self._dotted(node, dot, (node,), MISSING), wanted)
            case Pipe():
                return fitting(self._pipeline(node, dot), wanted)
            case Identifier():
                return fitting(self._function(node, dot, (node,), MISSING), wanted)
        return constant_as(node, wanted)
