"""Which sessions went on with somebody else, and which with a phone that roams, an update, or a server of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collectors.auth_logs.settings import OwnServer
from collectors.auth_logs.tables.moves import Move, Sessions, Sight, client_of

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS {} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{} "
    "Mobile/15E148 Safari/604.1"
)


class Walk:
    """One session, seen again and again."""

    def __init__(self, *, most: int = 100, servers: tuple[OwnServer, ...] = ()) -> None:
        self.sessions = Sessions(salt=b"salt", most=most, servers=servers)
        self._at = AT

    def see(self, address: str, agent: str, id: str = "s-1") -> str:
        """What changed, as the counter has it; empty: nothing."""
        self._at += timedelta(hours=1)
        moves = self.sessions.take([Sight(id, "u-1", address, agent, self._at)])
        return moves[0].changed if moves else ""


def test_a_stolen_session_is_another_address_and_another_client_at_once() -> None:
    """Told once: not again while the thief goes on, and not when the owner comes back."""
    walk = Walk()
    assert walk.see("198.51.100.4", IPHONE.format("17_5", "17.5")) == ""
    assert walk.see("203.0.113.7", "curl/8.5.0") == "both"
    assert walk.see("203.0.113.7", "curl/8.5.0") == ""
    assert walk.see("198.51.100.4", IPHONE.format("17_5", "17.5")) == "address"


def test_a_phone_that_roams_and_is_updated_has_its_old_client() -> None:
    """Another network, and the same browser in its next version, is no move; nor is an address of one's own /64."""
    walk = Walk()
    assert walk.see("2001:db8:1:1::10", IPHONE.format("17_5", "17.5")) == ""
    assert walk.see("2001:db8:1:1::99", IPHONE.format("17_5", "17.5")) == ""
    assert walk.see("198.51.100.4", IPHONE.format("18_0_1", "18.0")) == "address"
    assert walk.see("203.0.113.9", IPHONE.format("18_1", "18.1")) == "address"


def test_an_office_behind_one_address_is_no_move() -> None:
    """Many sessions, many clients, one address."""
    walk = Walk()
    agents = [CHROME.format("126.0.0.0"), IPHONE.format("17_5", "17.5"), "okhttp/4.12.0"]
    for _ in range(3):
        for number in range(60):
            assert walk.see("198.51.100.20", agents[number % 3], id=f"s-{number}") == ""


def test_ci_from_anywhere_with_one_client_is_no_move() -> None:
    """Runners change their address with each job."""
    walk = Walk()
    assert {walk.see(f"203.0.113.{number}", f"supabase-js/2.{number}") for number in range(1, 50)} == {"", "address"}


def test_a_web_view_that_takes_over_and_gives_back_is_told_as_an_agent_alone() -> None:
    """On the same device it has the same address; later it roams with clients that are known."""
    walk = Walk()
    assert walk.see("198.51.100.4", "MyApp/34 CFNetwork/1490.0.4 Darwin/23.2.0") == ""
    assert walk.see("198.51.100.4", IPHONE.format("17_5", "17.5")) == "agent"
    assert walk.see("203.0.113.9", "MyApp/34 CFNetwork/1490.0.4 Darwin/23.2.0") == "address"
    assert walk.see("198.51.100.4", IPHONE.format("17_5", "17.5")) == "address"


@pytest.mark.parametrize(
    "server", [OwnServer(agent="node"), OwnServer(network="10.0.0.0/8"), OwnServer(network="10.0.0.0/8", agent="Node")]
)
def test_a_server_of_ours_that_refreshes_is_as_if_it_had_not(server: OwnServer) -> None:
    """The browser after it is compared with the browser before it."""
    walk = Walk(servers=(server,))
    assert walk.see("198.51.100.4", CHROME.format("126.0.0.0")) == ""
    assert walk.see("10.1.2.3", "node") == ""
    assert walk.see("198.51.100.4", CHROME.format("126.0.0.0")) == ""
    assert walk.see("203.0.113.7", "curl/8.5.0") == "both"


def test_a_thief_in_the_wrong_network_is_not_our_server() -> None:
    """Where both are named both must fit."""
    walk = Walk(servers=(OwnServer(network="10.0.0.0/8", agent="node"),))
    assert walk.see("198.51.100.4", CHROME.format("126.0.0.0")) == ""
    assert walk.see("203.0.113.7", "node") == "both"


def test_what_auth_did_not_write_down_is_no_change() -> None:
    """Neither an address nor an agent that is missing, nor one that is none."""
    walk = Walk()
    assert walk.see("198.51.100.4", "okhttp/4") == ""
    assert [walk.see("", "curl/8"), walk.see("203.0.113.7", ""), walk.see("no address", "curl/8")] == ["", "", ""]
    assert walk.see("203.0.113.7", "curl/8") == "both"


def test_a_row_that_is_read_twice_counts_once() -> None:
    """Also where the older sight comes last."""
    walk = Walk()
    old = Sight("s-1", "u-1", "198.51.100.4", "okhttp/4", AT)
    new = Sight("s-1", "u-1", "203.0.113.7", "curl/8", AT + timedelta(hours=1))
    assert walk.sessions.take([old]) == []
    assert walk.sessions.take([new]) == [Move(sight=new, changed="both")]
    assert walk.sessions.take([new, old, new]) == []


def test_the_longest_quiet_are_forgotten() -> None:
    """The memory has a bound; who is forgotten begins anew."""
    walk = Walk(most=100)
    for number in range(250):
        walk.see("198.51.100.4", "okhttp/4", id=f"s-{number}")
    assert len(walk.sessions.to_json()) == 100
    assert walk.see("203.0.113.7", "curl/8", id="s-249") == "both"
    assert walk.see("203.0.113.7", "curl/8", id="s-1") == ""


def test_memory_survives_and_names_nobody() -> None:
    """What is saved is hashes and times, and goes on where it was."""
    walk = Walk()
    walk.see("198.51.100.4", IPHONE.format("17_5", "17.5"))
    saved = walk.sessions.to_json()
    assert not any(word in repr(saved) for word in ("198.51", "iphone", "iPhone", "s-1"))
    walk.sessions = Sessions(salt=b"salt", most=100)
    walk.sessions.load(saved)
    assert walk.see("203.0.113.7", "curl/8.5.0") == "both"


@pytest.mark.parametrize("agent", ["", "curl", "a" * 600, "\x00 /", "Mozilla/5.0 (", "1.2.3", "ПриватБанк/1.2 (Ω)"])
def test_versions_alone_make_no_other_client(agent: str) -> None:
    """Whatever a client sends, and however long."""
    assert client_of(f"{agent[:400]} App/1.2") == client_of(f"{agent[:400]} App/77")
    assert client_of(f"{agent[:400]} App/1.2") != client_of(f"{agent[:400]} Other/1.2")
    assert len(client_of(agent)) <= 512
