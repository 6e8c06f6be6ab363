"""Pages that read the index: the file browser, search, versions, comparison."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from agents.commands import to_bytes
from backupsite.fleet.models import Device
from backupsite.recovery.folders import decode_path, encode_path
from backupsite.recovery.index.adding import add
from backupsite.recovery.models import Download, RestorePoint
from backupsite.runs.models import Run
from tests.backupsite.hostile import GENERIC, MARKUP
from tests.backupsite.making import make_device
from tests.backupsite.recovery.making import HOSTILE
from tests.backupsite.recovery.test_index_faults import walk_badly
from tests.backupsite.recovery.trees import Trees

A = {"/srv/a.txt": (1, 10), "/srv/b.txt": (2_000_000, 20), "/srv/www/index.html": (3, 30)}
BAD_PATHS = ["", "!!", "YQ", "A" * 30_000, *(encode_path(path) for path in ("/srv/../etc", "/./a", "srv"))]


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOTFLEET_HOME = tmp_path
    return tmp_path


@pytest.fixture
def device(db: None) -> Device:
    return make_device()


@pytest.fixture
def trees(device: Device) -> Trees:
    return Trees(device)


def read(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, url
    return answer.content.decode()


def browse(point: RestorePoint, folder: str, *picked: str, **fields: object) -> str:
    query = "".join(f"&path={encode_path(path)}" for path in picked)
    query += "".join(f"&{name}={value}" for name, value in fields.items())
    return f"{point.get_absolute_url()}?folder={encode_path(folder)}{query}"


def search_url(**fields: object) -> str:
    return "/search/files/?" + "&".join(
        f"{name}={quote(str(value), safe='')}" for name, value in fields.items()
    )


def versions_url(point: RestorePoint, path: str) -> str:
    where = reverse("path-versions", args=[point.device.slug])
    return f"{where}?point={point.pk}&path={encode_path(path)}"


def names_of(text: str) -> list[str]:
    """The names that the file browser shows, in its order."""
    found = re.findall(r'class="path-line">.*?class="file-name"[^>]*>([^<]*)<', text, re.DOTALL)
    return [unescape(name) for name in found]


def test_strangers_are_sent_to_sign_in(trees: Trees, stranger: Client) -> None:
    old, new = trees.add(A), trees.add({})
    for url in (
        search_url(q="a"), versions_url(old, "/srv/a.txt"),
        reverse("points-compare", args=[old.pk, new.pk]), reverse("point-compare", args=[new.pk]),
    ):  # fmt: skip
        answer = stranger.get(url)
        assert (answer.status_code, answer["Location"]) == (302, "/setup/"), "there is nobody yet"


def test_pages_only_read(trees: Trees, operator: Client) -> None:
    old, new = trees.add(A), trees.add({})
    for url in (
        search_url(q="a"), versions_url(old, "/srv/a.txt"),
        reverse("points-compare", args=[old.pk, new.pk]), reverse("point-compare", args=[new.pk]),
    ):  # fmt: skip
        assert operator.post(url).status_code == 405
        assert operator.head(url).status_code in (200, 302)


def test_a_point_that_is_not_in_the_index_says_so(trees: Trees, operator: Client) -> None:
    point = trees.make(A)
    assert "is being made" in read(operator, point.get_absolute_url())
    assert "Open this folder" in read(operator, point.get_absolute_url())
    assert "is being made" in read(operator, versions_url(point, "/srv/a.txt"))
    other = trees.make(A)
    assert "is being made" in read(operator, reverse("points-compare", args=[point.pk, other.pk]))
    assert "1 device is not in this answer" in read(operator, search_url(q="a.txt"))


def test_folders_open_without_a_worker(
    trees: Trees, operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    point = trees.add(A)
    with django_assert_num_queries(4):  # session, user, point, its second copy
        text = read(operator, point.get_absolute_url())
    assert names_of(text) == ["www", "a.txt", "b.txt"]
    assert "3 entries" in text
    assert names_of(read(operator, browse(point, "/srv/www"))) == ["index.html"]
    assert "This folder is empty" in read(operator, browse(point, "/nowhere"))
    operator.post(reverse("point-open", args=[point.pk]), {"folder": encode_path("/srv/www")})
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("name", ["www", "a.txt", "b.txt"]), ("-name", ["www", "b.txt", "a.txt"]),
        ("-size", ["b.txt", "a.txt", "www"]), ("modified", ["www", "a.txt", "b.txt"]),
        ("-modified", ["b.txt", "a.txt", "www"]), ("kind", ["www", "a.txt", "b.txt"]),
        ("size; DROP TABLE entry", ["www", "a.txt", "b.txt"]),
    ],
)  # fmt: skip
def test_folders_are_sorted(trees: Trees, operator: Client, sort: str, names: list[str]) -> None:
    text = read(operator, browse(trees.add(A), "/srv", sort=sort))
    assert names_of(text) == names
    assert text.count("aria-sort") == 1


@pytest.mark.parametrize(
    ("number", "first"), [("1", "0000"), ("2", "0200"), ("3", "0400"), ("99", "0400"), ("0", "0000"),
                          ("-1", "0000"), ("9" * 400, "0400"), ("x", "0000"), ("٢", "0000")],
)  # fmt: skip
def test_large_folders_come_in_pages(trees: Trees, operator: Client, number: str, first: str) -> None:
    point = trees.add({f"/srv/{count:04}": (1, 1) for count in range(450)})
    assert names_of(read(operator, browse(point, "/srv", page=number)))[0] == first


def test_picks_stay_while_one_looks_around(trees: Trees, operator: Client) -> None:
    point = trees.add(A)
    text = read(operator, browse(point, "/srv", "/srv/a.txt", "/srv/www/index.html", "/srv/gone"))
    assert re.search(rf'value="{encode_path("/srv/a.txt")}"[^>]*checked', text)
    assert not re.search(rf'value="{encode_path("/srv/b.txt")}"[^>]*checked', text)
    assert "Picked in other places" in text
    assert "/srv/www/index.html" in text
    carried = f"path={encode_path('/srv/a.txt')}&amp;path={encode_path('/srv/www/index.html')}"
    assert f"folder={encode_path('/srv/www')}&amp;sort=name&amp;{carried}" in text
    assert f'value="{encode_path("/srv/gone")}"' not in text, "what is not there cannot be restored"


def test_picks_of_many_folders_are_restored_byte_for_byte(trees: Trees, operator: Client) -> None:
    tree = {f"/srv/{number}/{name}": (1, 1) for number, name in enumerate(HOSTILE)}
    point = trees.add(tree)
    page = reverse("device-restore", args=[point.device.slug])
    picked = {"point": str(point.pk), "path": [encode_path(path) for path in tree]}
    assert operator.post(page, picked).status_code == 200
    for bad in ([*picked["path"], encode_path("/etc/shadow")], [encode_path("/srv/../etc")], ["!!"]):
        assert operator.post(page, picked | {"path": bad}).status_code == 404
    assert not Run.objects.exists()


def test_picked_files_can_be_downloaded(trees: Trees, operator: Client) -> None:
    point = trees.add(A)
    url = reverse("point-download", args=[point.pk])
    operator.post(url, {"folder": encode_path("/srv"), "entry": encode_path("a.txt")})
    assert decode_path(Download.objects.get().path_key) == "/srv/a.txt"
    for name in ("gone", "../etc", "/etc", "."):
        fields = {"folder": encode_path("/srv"), "entry": encode_path(name)}
        assert operator.post(url, fields).status_code == 404, name


def test_hostile_names_are_visible_and_come_back(trees: Trees, operator: Client) -> None:
    paths = [f"/srv/{name.replace('/', '')}" for name in HOSTILE]
    point = trees.add(dict.fromkeys(paths, (1, 1)))
    text = read(operator, browse(point, "/srv"))
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "\\xff\\xfe.txt" in text
    keys = re.findall(r'name="path" value="([\w-]+)"', text)
    assert {to_bytes(decode_path(key)) for key in keys} == set(map(to_bytes, paths))
    for key in keys:
        found = read(operator, versions_url(point, decode_path(key)))
        assert "<script>alert" not in found
        assert "\u202e" not in found
    found = read(operator, search_url(q="/srv/*"))
    assert "<script>alert" not in found
    assert "\u202e" not in found
    assert "8 paths" in found


@pytest.mark.parametrize("path", BAD_PATHS)
def test_what_is_no_path_is_not_found(trees: Trees, operator: Client, path: str) -> None:
    point = trees.add(A)
    other = trees.add({})
    where = reverse("path-versions", args=[point.device.slug])
    assert operator.get(where, {"point": str(point.pk), "path": path}).status_code == 404
    if path:
        assert operator.get(point.get_absolute_url(), {"path": path}).status_code == 404
        compared = reverse("points-compare", args=[point.pk, other.pk])
        assert operator.get(compared, {"folder": path}).status_code == 404


def test_points_of_another_device_or_source_are_not_found(trees: Trees, operator: Client) -> None:
    mine = trees.add(A)
    etc = trees.add(A, source="/etc")
    theirs = Trees(make_device("web-01")).add(A)
    gone = "00000000-0000-4000-8000-000000000000"
    for other in (etc.pk, theirs.pk, gone):
        assert operator.get(f"/points/{mine.pk}/compare/{other}/").status_code == 404
        assert operator.get(f"/points/{other}/compare/{mine.pk}/").status_code == 404
        assert operator.get(f"/points/{mine.pk}/compare/?with={other}").status_code == 404
    assert operator.get(f"/points/{mine.pk}/compare/?with=nonsense").status_code == 404
    where = reverse("path-versions", args=[mine.device.slug])
    for pk in (theirs.pk, gone, "nonsense"):
        assert operator.get(where, {"point": str(pk), "path": encode_path("/srv/a.txt")}).status_code == 404
    assert operator.get("/devices/nobody/versions/").status_code == 404


def test_a_file_is_found(
    trees: Trees, operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    trees.add(A)
    newest = trees.add({"/srv/b.txt": (5, 20)})
    # session, user, devices: choice and look, nodes, how many restore points
    with django_assert_num_queries(6):
        text = read(operator, search_url(q="a.txt"))
    assert "1 path" in text
    assert "Deleted since" in text
    assert f"path={encode_path('/srv/a.txt')}" in text
    text = read(operator, search_url(q="b.txt"))
    assert "Deleted since" not in text
    assert "2 versions" in text
    assert f"point={newest.pk}" in text


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"q": "TXT"}, {"a.txt", "b.txt"}), ({"q": "?.txt"}, {"a.txt", "b.txt"}),
        ({"q": "[b-z].txt"}, {"b.txt"}), ({"q": "*.html"}, {"index.html"}), ({"q": "www/"}, {"index.html"}),
        ({"q": "/srv/www/ind"}, {"index.html"}), ({"q": "/www/ind"}, set()), ({"q": "srv/a"}, {"a.txt"}),
        ({"q": "/s*/i*"}, {"index.html"}), ({"q": "%"}, set()), ({"q": "_"}, set()), ({"q": "\\"}, set()),
        ({"q": "'"}, set()), ({"q": "["}, set()), ({"min": "1 MB"}, {"b.txt"}),
        ({"max": "1"}, {"a.txt", "srv", "www"}), ({"max": "1", "kind": "file"}, {"a.txt"}),
        ({"q": "www", "kind": "file"}, set()), ({"q": "www", "kind": "dir"}, {"www"}),
        ({"q": "a.txt", "from": "1971-01-01"}, set()), ({"q": "a.txt", "to": "1971-01-01"}, {"a.txt"}),
    ],
)  # fmt: skip
def test_what_fits_is_found(trees: Trees, operator: Client, fields: dict[str, str], found: set[str]) -> None:
    trees.add(A)
    text = read(operator, search_url(**fields))
    assert set(re.findall(r'class="row-link file-name"[^>]*>([^<]*)<', text)) == found
    assert ("Nothing fits" in text) == (not found)


@pytest.mark.parametrize(
    "fields",
    [{"min": "much"}, {"max": "-1"}, {"from": "yesterday"}, {"to": "9999-12-31"}, {"kind": "x"},
     {"device": "x"}, {"q": "a" * 501}, {"q": "a\0b"}, {"min": "9" * 400}],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_at_its_field(
    trees: Trees, operator: Client, fields: dict[str, str]
) -> None:
    trees.add(A)
    text = read(operator, search_url(**{"q": "a.txt"} | fields), 422)
    assert "field-error" in text
    assert "row-link" not in text


@pytest.mark.parametrize("text", [*GENERIC[:5], *GENERIC[6:], *MARKUP])
def test_hostile_questions_are_answered(trees: Trees, operator: Client, text: str) -> None:
    trees.add(A)
    answer = operator.get("/search/files/", {"q": text})
    assert answer.status_code == (422 if "\0" in text or len(text) > 500 else 200)
    assert text not in answer.content.decode() or not text.startswith("<") or len(text) < 2


def test_without_a_question_it_asks_for_one(trees: Trees, operator: Client) -> None:
    trees.add(A)
    for url in ("/search/files/", search_url(q="*"), search_url(q="/"), search_url(q="   ")):
        assert "What are you looking for?" in read(operator, url)


def test_the_fleet_is_searched_or_one_device(trees: Trees, operator: Client) -> None:
    trees.add(A)
    Trees(make_device("web-01")).add({"/srv/a.txt": (7, 7)})
    make_device("empty-01")
    text = read(operator, search_url(q="a.txt"))
    assert ">db-01</a>" in text
    assert ">web-01</a>" in text
    text = read(operator, search_url(q="a.txt", device="web-01"))
    assert ">db-01</a>" not in text
    assert "not in this answer" not in text


def test_an_answer_says_what_is_missing_in_it(trees: Trees, operator: Client) -> None:
    trees.add(A)
    trees.make(A)
    text = read(operator, search_url(q="a.txt"))
    assert "1 restore point could not be looked into: its list of paths is being made" in text
    trees.add({})
    assert "could not be looked into" not in read(operator, search_url(q="a.txt"))


def test_a_point_that_could_not_be_read_says_why(trees: Trees, operator: Client) -> None:
    point = trees.make(A)
    add(point, walk=walk_badly)
    text = read(operator, point.get_absolute_url())
    assert "could not be made: a pack is gone" in text
    assert "Open this folder" in text


def test_hits_come_in_pages(trees: Trees, operator: Client) -> None:
    trees.add({f"/srv/{count:04}.txt": (1, 1) for count in range(1100)})
    text = read(operator, search_url(q=".txt", page=2))
    assert "More than 1\u202f000 paths" in text
    assert "51 to 100 of 1\u202f000" in text
    assert text.count("hit-path") == 50


def test_a_file_has_its_strip(
    trees: Trees, operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    trees.add(A)
    point = trees.add({"/srv/a.txt": (5, 50), "/srv/b.txt": (1, 1)})
    trees.add({"/srv/b.txt": (1, 1)})
    with django_assert_num_queries(4):  # session, user, device, point
        text = read(operator, versions_url(point, "/srv/a.txt"))
    assert "2 versions in 2 restore points." in text
    assert "does not hold it any more" in text
    assert "missing in 1" in text
    assert text.count("version-tick") == 3
    assert read(operator, versions_url(point, "/srv/never"), 404)


def test_two_points_are_compared_by_folder(
    trees: Trees, operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    old = trees.add(A)
    new = trees.add({"/srv/a.txt": (5, 50), "/srv/www/index.html": (3, 30), "/srv/www/<b>": (7, 7)})
    answer = operator.get(reverse("point-compare", args=[new.pk]))
    url = reverse("points-compare", args=[old.pk, new.pk])
    assert answer["Location"] == url
    with django_assert_num_queries(5):  # session, user, both points, those that are offered
        text = read(operator, url)
    assert f"folder={encode_path('/srv/www')}" in text
    text = read(operator, f"{url}?folder={encode_path('/srv/www')}")
    assert "&lt;b&gt;" in text
    assert "Added" in text
    assert "Nothing changed directly" in read(operator, f"{url}?folder={encode_path('/etc')}")
    same = reverse("points-compare", args=[new.pk, new.pk])
    assert "Nothing to compare with" in read(operator, same)


def test_the_first_point_is_compared_with_itself(trees: Trees, operator: Client) -> None:
    only = trees.add(A)
    answer = operator.get(reverse("point-compare", args=[only.pk]))
    url = reverse("points-compare", args=[only.pk, only.pk])
    assert answer["Location"] == url
    text = read(operator, url)
    assert "Nothing to compare with" in text and "compare-with" not in text
    trees.add({"/srv/a.txt": (5, 50)})
    text = read(operator, url)
    assert "Nothing to compare with" in text and "compare-with" in text


def test_what_is_not_in_the_index_for_good_says_why_and_what_to_do(trees: Trees, operator: Client) -> None:
    broken, after = trees.make(A), trees.make(A)
    urls = [
        reverse("points-compare", args=[broken.pk, after.pk]),
        f"{reverse('path-versions', args=['db-01'])}?path={encode_path('/srv/a.txt')}&point={broken.pk}",
    ]
    assert all("Come back in a few minutes" in read(operator, url) for url in urls)
    add(broken, walk=walk_badly)
    text = read(operator, urls[0])
    assert "a pack is gone" in text and reverse("repositories") in text
    assert "Come back in a few minutes" not in text


def test_the_search_box_stands_where_one_looks(trees: Trees, operator: Client) -> None:
    point = trees.add(A)
    for url in (point.get_absolute_url(), reverse("device-points", args=[trees.device.slug])):
        assert 'action="/search/files/"' in read(operator, url)
