"""Slack: one message per incident, edited in place; its thread is the timeline.

Sends with chat.postMessage and chat.update through a bot token, which an incoming webhook can't replace: it returns no
message to edit. What the app needs: chat:write, channels:read and channels:history (groups:… for a private channel),
and to be invited to the channel. `tocsin doctor` names what is missing.

  kind: slack, name: slack-pages, channel: C0123ABCDEF, token_env: SLACK_BOT_TOKEN, timezone: Europe/Berlin

Nothing is sent twice: slack_sdk's own retries are off, every message carries its notification's key as metadata, and
after a send without an answer the delivery looks for that key before it sends again.
Nothing is held back by its looks: a message that Slack refuses, or a template that fails, is sent in a plainer form,
and the receipt says so (`degraded`).
"""

from notifiers.slack.notifier import SlackNotifier
from notifiers.slack.settings import SlackSettings
from tocsin.ports import NotifierSpec

SPEC = NotifierSpec(kind="slack", settings=SlackSettings, build=SlackNotifier, edits=True)

__all__ = ["SPEC", "SlackNotifier", "SlackSettings"]
