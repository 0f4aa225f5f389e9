"""A stand-in for Slack: the Web API that Tocsin uses, with its limits, errors and threads, and faults on demand.

`async with FakeSlack() as slack:` runs it in a test; `python -m tocsin.testing.slack --port 0 [--state FILE]` runs it
as a process of its own and prints one JSON object with its addresses. Its channel is a page at `/`.
It shares no code with the notifier, so that the one can prove the other.
"""

from tocsin.testing.slack.faults import Fault, Kind
from tocsin.testing.slack.methods import ALL_SCOPES
from tocsin.testing.slack.server import DEFAULT_CHANNELS, DEFAULT_TOKEN, Call, FakeSlack
from tocsin.testing.slack.workspace import Channel, Message, SlackRefusal, Workspace

__all__ = [
    "ALL_SCOPES",
    "DEFAULT_CHANNELS",
    "DEFAULT_TOKEN",
    "Call",
    "Channel",
    "FakeSlack",
    "Fault",
    "Kind",
    "Message",
    "SlackRefusal",
    "Workspace",
]
