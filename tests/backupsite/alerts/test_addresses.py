"""Which addresses are taken, and what is shown of them."""

from __future__ import annotations

import pytest

from backupsite.alerts.addresses import ALLOWED, AddressRefused, mask_host, read_address


@pytest.mark.parametrize(
    "text",
    [
        "exec://touch%20/tmp/x",
        "dbus://",
        "gnome://",
        "macosx://",
        "windows://",
        "glib://",
        "syslog://",
        "rsyslog://example.org",
        "file:///etc/passwd",
        "blink1://",
        "mqtt://example.org/topic",
        "smpp://u:p@example.org/1/2",
        "http://127.0.0.1/",
        "https://evil.example/",
        "no scheme at all",
        "://",
        "",
        "json://",
    ],
)
def test_it_refuses_a_service(text: str) -> None:
    with pytest.raises(AddressRefused):
        read_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?Template=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?image=no;template=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?temp%6cate=/etc/passwd",
        "mailto://u:p@example.org?pgp=yes&pgppub=/etc/passwd",
        "ntfys://topic?attach=file:///etc/passwd",
        "json://example.org?store=yes",
    ],
)
def test_it_refuses_what_could_read_files(text: str) -> None:
    with pytest.raises(AddressRefused, match="not allowed"):
        read_address(text)


@pytest.mark.parametrize(
    ("text", "scheme", "host"),
    [
        ("mailto://user:s3cret@example.org?smtp=mail.example.org&from=a@example.org", "mailto", "ex…org"),
        ("mailtos://user:s3cret@example.org", "mailtos", "ex…org"),
        ("ntfys://a-secret-topic", "ntfys", ""),
        ("tgram://123456789:abcdefg_hijklmnop/-1001234/", "tgram", ""),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack", ""),
        ("jsons://user:s3cret@example.org/hook?+X-Token=s3cret", "jsons", "ex…org"),
        ("gotifys://example.org/AbcDefGhiJklmno", "gotifys", "ex…org"),
    ],
)
def test_it_takes_an_address_and_shows_little_of_it(text: str, scheme: str, host: str) -> None:
    address = read_address(f"  {text} ")
    assert (address.scheme, address.masked_host) == (scheme, host)
    assert address.url.reveal() == text
    assert "s3cret" not in repr(address)


def test_an_error_never_repeats_the_secret() -> None:
    with pytest.raises(AddressRefused) as caught:
        read_address("discord://s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_short_host_is_hidden_almost_whole() -> None:
    assert mask_host("") == ""
    assert mask_host("a.de") == "a…"


def test_nothing_local_is_on_the_list() -> None:
    local = {
        "exec",
        "dbus",
        "qt",
        "kde",
        "gnome",
        "glib",
        "macosx",
        "windows",
        "syslog",
        "file",
        "blink1",
        "growl",
    }
    assert not ALLOWED & local
