"""What Slack refuses in a message: `problem_of(...)` gives the error it would answer, or None.

Written from Slack's documentation and independent of the notifier's own budgets, so that the one checks the other.
Lengths are counted in characters of the escaped text, the strictest reading.
Source: https://docs.slack.dev/reference/block-kit/blocks, https://docs.slack.dev/reference/methods/chat.postMessage
The total of about 12-13k characters (msg_blocks_too_long) is not documented; 12,000 is what is enforced here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MAX_BLOCKS: Final = 50
MAX_TOTAL: Final = 12_000
MAX_UPDATE_TEXT: Final = 4_000
MAX_POST_TEXT: Final = 40_000
MAX_ATTACHMENTS: Final = 100
MAX_METADATA: Final = 8_000
_COLOURS: Final = frozenset({"primary", "danger"})


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The `error` of the answer, and what Slack adds under `errors`."""

    error: str
    details: tuple[str, ...] = ()


def problem_of(args: dict[str, Any], *, edit: bool) -> Problem | None:
    """The first thing wrong with the arguments of chat.postMessage or chat.update."""
    text, blocks, attachments = args.get("text") or "", args.get("blocks"), args.get("attachments")
    if not text and not blocks and not attachments:
        return Problem(error="no_text")
    if edit and len(text) > MAX_UPDATE_TEXT:
        return Problem(error="msg_too_long")
    if (problem := _metadata_problem(args.get("metadata"))) is not None:
        return problem
    if attachments is not None:
        if not isinstance(attachments, list) or not all(isinstance(item, dict) for item in attachments):
            return Problem(error="invalid_attachments")
        if len(attachments) > MAX_ATTACHMENTS:
            return Problem(error="too_many_attachments")
    layouts = [blocks] if blocks is not None else []
    layouts += [item["blocks"] for item in attachments or [] if item.get("blocks") is not None]
    for layout in layouts:
        if not isinstance(layout, list) or not all(isinstance(block, dict) for block in layout):
            return Problem(error="invalid_blocks_format")
    if found := [fault for layout in layouts for fault in _layout_faults(layout)]:
        return Problem(error="invalid_blocks", details=tuple(found))
    if sum(_length(layout) for layout in layouts) > MAX_TOTAL:
        return Problem(error="msg_blocks_too_long")
    return None


def _metadata_problem(metadata: Any) -> Problem | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
        return Problem(error="invalid_metadata_format")
    if not isinstance(metadata.get("event_payload"), dict):
        return Problem(error="invalid_metadata_format")
    if len(json.dumps(metadata)) > MAX_METADATA:
        return Problem(error="metadata_too_large")
    return None


def _length(value: Any) -> int:
    """Characters of every text within a layout."""
    if isinstance(value, dict):
        return sum(_length(item) for key, item in value.items() if key not in {"type", "action_id", "block_id"})
    if isinstance(value, list):
        return sum(_length(item) for item in value)
    return len(value) if isinstance(value, str) else 0


def _layout_faults(blocks: list[dict[str, Any]]) -> Iterator[str]:
    if len(blocks) > MAX_BLOCKS:
        yield f"no more than {MAX_BLOCKS} items allowed [json-pointer:/blocks]"
    block_ids: set[str] = set()
    action_ids: set[str] = set()
    for number, block in enumerate(blocks):
        where = f"/blocks/{number}"
        if (block_id := block.get("block_id")) is not None:
            yield from _text_faults(block_id, 255, f"{where}/block_id")
            if block_id in block_ids:
                yield f"block_id already exists [json-pointer:{where}/block_id]"
            block_ids.add(block_id)
        yield from _block_faults(block, where)
        for element in [*_list(block.get("elements")), block.get("accessory")]:
            if not isinstance(element, dict) or (action_id := element.get("action_id")) is None:
                continue
            yield from _text_faults(action_id, 255, f"{where}/action_id")
            if action_id in action_ids:
                yield f"action_id already exists [json-pointer:{where}/elements]"
            action_ids.add(action_id)


def _block_faults(block: dict[str, Any], where: str) -> Iterator[str]:
    match block.get("type"):
        case "section":
            yield from _section_faults(block, where)
        case "header":
            yield from _text_object_faults(block.get("text"), 150, f"{where}/text", plain=True)
        case "context":
            elements = _list(block.get("elements"))
            if not 1 <= len(elements) <= 10:
                yield f"must have 1 to 10 items [json-pointer:{where}/elements]"
            for number, element in enumerate(elements):
                if isinstance(element, dict) and element.get("type") == "image":
                    yield from _image_faults(element, f"{where}/elements/{number}")
                else:
                    yield from _text_object_faults(element, 3000, f"{where}/elements/{number}")
        case "actions":
            elements = _list(block.get("elements"))
            if not 1 <= len(elements) <= 25:
                yield f"must have 1 to 25 items [json-pointer:{where}/elements]"
            for number, element in enumerate(elements):
                yield from _element_faults(element, f"{where}/elements/{number}")
        case "image":
            yield from _image_faults(block, where)
        case "divider":
            pass
        case other:
            yield f"unsupported type: {other} [json-pointer:{where}/type]"


def _section_faults(block: dict[str, Any], where: str) -> Iterator[str]:
    text, fields = block.get("text"), block.get("fields")
    if text is None and not fields:
        yield f"missing required field: text [json-pointer:{where}]"
    if text is not None:
        yield from _text_object_faults(text, 3000, f"{where}/text")
    if fields is not None:
        if not 1 <= len(_list(fields)) <= 10:
            yield f"must have 1 to 10 items [json-pointer:{where}/fields]"
        for number, field in enumerate(_list(fields)):
            yield from _text_object_faults(field, 2000, f"{where}/fields/{number}")
    if block.get("accessory") is not None:
        yield from _element_faults(block["accessory"], f"{where}/accessory")


def _element_faults(element: Any, where: str) -> Iterator[str]:
    if not isinstance(element, dict):
        yield f"must be an object [json-pointer:{where}]"
        return
    match element.get("type"):
        case "button":
            yield from _text_object_faults(element.get("text"), 75, f"{where}/text", plain=True)
            yield from _text_faults(element.get("value", "x"), 2000, f"{where}/value")
            yield from _text_faults(element.get("url", "https://x"), 3000, f"{where}/url")
            if element.get("style", "primary") not in _COLOURS:
                yield f"must be primary or danger [json-pointer:{where}/style]"
        case "overflow":
            yield from _option_faults(element.get("options"), 5, where)
        case "static_select":
            yield from _text_object_faults(element.get("placeholder"), 150, f"{where}/placeholder", plain=True)
            yield from _option_faults(element.get("options"), 100, where)
        case "users_select":
            yield from _text_object_faults(element.get("placeholder"), 150, f"{where}/placeholder", plain=True)
        case "image":
            yield from _image_faults(element, where)
        case other:
            yield f"unsupported type: {other} [json-pointer:{where}/type]"


def _option_faults(options: Any, most: int, where: str) -> Iterator[str]:
    if not 1 <= len(_list(options)) <= most:
        yield f"must have 1 to {most} items [json-pointer:{where}/options]"
    for number, option in enumerate(_list(options)):
        pointer = f"{where}/options/{number}"
        if not isinstance(option, dict):
            yield f"must be an object [json-pointer:{pointer}]"
            continue
        yield from _text_object_faults(option.get("text"), 75, f"{pointer}/text")
        yield from _text_faults(option.get("value"), 150, f"{pointer}/value")


def _image_faults(image: dict[str, Any], where: str) -> Iterator[str]:
    yield from _text_faults(image.get("image_url"), 3000, f"{where}/image_url")
    yield from _text_faults(image.get("alt_text"), 2000, f"{where}/alt_text")


def _text_object_faults(text: Any, most: int, where: str, *, plain: bool = False) -> Iterator[str]:
    if not isinstance(text, dict):
        yield f"missing required field [json-pointer:{where}]"
        return
    kinds = {"plain_text"} if plain else {"plain_text", "mrkdwn"}
    if text.get("type") not in kinds:
        yield f"must be one of {sorted(kinds)} [json-pointer:{where}/type]"
    if text.get("type") == "plain_text" and "verbatim" in text:
        yield f"additional property: verbatim [json-pointer:{where}]"
    yield from _text_faults(text.get("text"), most, f"{where}/text")


def _text_faults(text: Any, most: int, where: str) -> Iterator[str]:
    if not isinstance(text, str):
        yield f"must be a string [json-pointer:{where}]"
    elif not text.strip():
        yield f"must be more than 0 characters [json-pointer:{where}]"
    elif len(text) > most:
        yield f"must be less than {most + 1} characters [json-pointer:{where}]"
    elif any("\ud800" <= sign <= "\udfff" for sign in text):
        yield f"must be valid UTF-8 [json-pointer:{where}]"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
