"""A person who uses the pages of a running console, as a browser without scripts does."""

from __future__ import annotations

import http.client
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


@dataclass(frozen=True)
class Page:
    """An answer. `address` is where it came from, after redirects."""

    status: int
    address: str
    text: str

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields of its forms."""
        return dict(_HIDDEN.findall(self.text))


class Visitor:
    """Signed in, with cookies of their own."""

    def __init__(self, origin: str, name: str, password: str) -> None:
        self._origin = origin
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)
        page = self.post("/login/", {"name": name, "password": password})
        assert page.status == 200 and "/login/" not in page.address, page.text[:2000]

    def get(self, path: str) -> Page:
        return self._open(urllib.request.Request(self._origin + path))

    def open(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Begin to fetch what may be large. Raise HTTPError when it is refused."""
        request = urllib.request.Request(self._origin + path, headers=headers)
        answer: http.client.HTTPResponse = self._opener.open(request, timeout=60)
        return answer

    def post(self, path: str, fields: dict[str, str]) -> Page:
        """Fill in the form of a page, with its hidden fields, and send it."""
        form = self.get(path)
        found = _TOKEN.search(form.text)
        assert found is not None, form.text[:2000]
        said = {**form.hidden, "csrfmiddlewaretoken": found[1], **fields}
        data = urllib.parse.urlencode(said).encode()
        return self._open(urllib.request.Request(self._origin + path, data))

    def _open(self, request: urllib.request.Request) -> Page:
        try:
            with self._opener.open(request, timeout=60) as answer:
                return Page(answer.status, answer.url, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Page(error.code, error.url or "", error.read().decode())
