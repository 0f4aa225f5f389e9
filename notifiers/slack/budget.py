"""Slack's limits, kept before sending: texts are cut to fit, and what still does not fit is named.

slack_sdk checks some of them (section, header, button) and misses the rest, so all are checked here.
Source: https://docs.slack.dev/reference/block-kit/blocks. The total is not documented: Slack refuses somewhere near
12,000 characters (msg_blocks_too_long), so 8,000 is the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

TEXT: Final = 4_000
"""What chat.update takes; chat.postMessage would take 40,000."""
BLOCKS: Final = 50
SECTION: Final = 3_000
FIELDS: Final = 10
FIELD: Final = 2_000
HEADER: Final = 150
ELEMENTS: Final = 25
CONTEXT_ELEMENTS: Final = 10
BUTTON_TEXT: Final = 75
BUTTON_VALUE: Final = 2_000
URL: Final = 3_000
OPTION_TEXT: Final = 75
OPTION_VALUE: Final = 150
OPTIONS: Final = 5
IDENTIFIER: Final = 255
TOTAL: Final = 8_000

Block = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent: `text` for phones and readers of the list, blocks for the rest."""

    text: str
    blocks: tuple[Block, ...] = ()


def cut(markup: str, limit: int) -> str:
    """At most `limit` characters of escaped mrkdwn, cut where it breaks neither an entity nor a link.

    A whole last line is given up first where that costs less than half.
    """
    if len(markup) <= limit:
        return markup
    head = markup[: max(limit - 1, 0)]
    line_end = head.rfind("\n")
    if line_end > limit // 2:
        return head[:line_end] + "\n…" if line_end + 2 <= limit else head[:line_end]
    for opening, closing in (("<", ">"), ("&", ";")):
        start = head.rfind(opening)
        # An entity is at most five characters: an `&` further back is whole.
        if start > head.rfind(closing) and (opening == "<" or len(head) - start < 5):
            head = head[:start]
    return head.rstrip() + "…"


def fault_of(message: Message) -> str:
    """The first limit that `message` breaks, empty when Slack would take it."""
    return next(_faults(message), "")


def _faults(message: Message) -> Iterator[str]:
    yield from _text("text", message.text, TEXT)
    if len(message.blocks) > BLOCKS:
        yield f"{len(message.blocks)} blocks, {BLOCKS} at most"
    for kind in ("block_id", "action_id"):
        names = list(_named(message.blocks, kind))
        if len(names) != len(set(names)):
            yield f"the same {kind} twice"
        for name in names:
            yield from _text(kind, name, IDENTIFIER)
    for block in message.blocks:
        yield from _block(block)
    if (total := size(list(message.blocks))) > TOTAL:
        yield f"{total} characters in all blocks, {TOTAL} at most"


def size(value: Any) -> int:
    """Characters of every text within."""
    if isinstance(value, dict):
        return sum(size(item) for item in value.values())
    if isinstance(value, list):
        return sum(size(item) for item in value)
    return len(value) if isinstance(value, str) else 0


def _block(block: Block) -> Iterator[str]:
    match block["type"]:
        case "section":
            if "text" in block:
                yield from _text("section", block["text"]["text"], SECTION)
            if len(block.get("fields", ())) > FIELDS:
                yield f"{len(block['fields'])} fields, {FIELDS} at most"
            for field in block.get("fields", ()):
                yield from _text("field", field["text"], FIELD)
        case "header":
            yield from _text("header", block["text"]["text"], HEADER)
        case "context":
            if len(block["elements"]) > CONTEXT_ELEMENTS:
                yield f"{len(block['elements'])} context elements, {CONTEXT_ELEMENTS} at most"
            for element in block["elements"]:
                yield from _text("context", element["text"], SECTION)
        case "actions":
            if len(block["elements"]) > ELEMENTS:
                yield f"{len(block['elements'])} elements, {ELEMENTS} at most"
            for element in block["elements"]:
                yield from _element(element)


def _element(element: Block) -> Iterator[str]:
    if element["type"] == "button":
        yield from _text("button", element["text"]["text"], BUTTON_TEXT)
        yield from _text("button value", element.get("value", "-"), BUTTON_VALUE)
        yield from _text("button URL", element.get("url", "-"), URL)
    elif element["type"] == "overflow":
        if not 1 <= len(element["options"]) <= OPTIONS:
            yield f"{len(element['options'])} options, 1 to {OPTIONS} are allowed"
        for option in element["options"]:
            yield from _text("option", option["text"]["text"], OPTION_TEXT)
            yield from _text("option value", option["value"], OPTION_VALUE)


def _text(what: str, text: str, limit: int) -> Iterator[str]:
    if not text.strip():
        yield f"an empty {what}"
    elif len(text) > limit:
        yield f"a {what} of {len(text)} characters, {limit} at most"


def _named(blocks: tuple[Block, ...], kind: str) -> Iterator[str]:
    for block in blocks:
        for item in (block, *block.get("elements", ())):
            if kind in item:
                yield item[kind]
