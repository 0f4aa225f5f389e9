"""What the campaigns service takes, checked before the database sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from examples.campaigns.requests import LARGEST_ID, MoreRecipients, NewCampaign, Page


def recipients(*addresses: str) -> list[str]:
    return NewCampaign(name="a", subject="b", body="c", recipients=list(addresses)).recipients


def test_addresses_are_lower_case_and_each_once() -> None:
    """In the order given."""
    assert recipients("Bo@Example.com", " ana@example.com ", "bo@example.com") == ["bo@example.com", "ana@example.com"]


@pytest.mark.parametrize("address", ["ana+list@mail.example.co.uk", "o'brien@example.com", "1@2.io"])
def test_ordinary_addresses_are_taken(address: str) -> None:
    """Plus tags, apostrophes and digits are ordinary."""
    assert recipients(address) == [address]


@pytest.mark.parametrize(
    "address",
    [
        "", "ana", "ana@", "@example.com", "ana@localhost", "a@b@example.com", "ana@-x.com", "ana@example.1om",
        "ana bo@example.com", "ana@example.com\nbcc: all@example.com", "ana@exam\x00ple.com", "a" * 65 + "@example.com",
        "ana@" + "a" * 250 + ".com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    """Nothing that could end a header or name two people."""
    with pytest.raises(ValidationError, match="not an e-mail address"):
        recipients(address)


@given(st.text(max_size=400))
def test_an_address_that_is_taken_is_a_single_plain_one(text: str) -> None:
    """Whatever is tried: one @, no space or control character, no upper case."""
    try:
        (address,) = recipients(text)
    except ValidationError:
        return
    assert (address.count("@"), address.isascii(), address.isprintable(), " " in address) == (1, True, True, False)
    assert address == address.lower()


def test_adding_nobody_is_a_mistake() -> None:
    """An empty list is more likely a bug of the caller than a wish."""
    with pytest.raises(ValidationError):
        MoreRecipients(recipients=[])


def test_a_page_is_bounded() -> None:
    """At most 100, and an id that the table can hold."""
    assert (Page().limit, Page(before=LARGEST_ID).before) == (20, LARGEST_ID)
    for wrong in ({"limit": 101}, {"limit": 0}, {"before": LARGEST_ID + 1}, {"offset": 3}):
        with pytest.raises(ValidationError):
            Page.model_validate(wrong)
