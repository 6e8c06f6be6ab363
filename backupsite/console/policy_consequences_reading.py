"""Reads what saving a policy would mean from the rows that it is about. Writes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Count, Min, QuerySet

from backupsite.console.policy_consequences import Consequences, Room, Sizes, find_window_conflicts, shorten
from backupsite.console.policy_copies import find_unreached
from backupsite.console.policy_preview import Preview
from backupsite.console.policy_reading import find_devices, make_posted
from backupsite.fleet.models import Device
from backupsite.policies.blocked import Blocked
from backupsite.policies.conflicts import Rival, find_nested, find_rivals
from backupsite.policies.conflicts import Source as Place
from backupsite.policies.document import Hours, PolicyState
from backupsite.policies.document_changes import compare
from backupsite.policies.document_rows import read_stored
from backupsite.policies.forms import PolicyForm
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.policies.naming import name_source
from backupsite.policies.overriding import find_differing
from backupsite.policies.source_forms import BaseSourceFormSet
from backupsite.policies.window_form import WINDOW_FIELDS
from backupsite.policies.writing import key_of
from backupsite.recovery.models import RestorePoint
from backupsite.repositories.default_storage import find_default
from backupsite.repositories.models import Repository, Storage
from backupsite.web.formatting import format_count

# So many devices say how much there is; more would be read at each key that is pressed.
MOST_SAMPLED = 20
MOST_POINTS = 2000
MOST_RIVALS = 100
WHEN_FIELDS = {"when", "time_zone", "at_time", "weekday", "cron"}
BLOCKED_FIELDS = {"when_blocked", "spread_minutes", "priority", "rto"}
PLAIN_FIELDS = ("is_enabled", "rpo", "impact", "upload_mb_s")


def read_consequences(
    form: PolicyForm, sources: BaseSourceFormSet, edited: Policy | None, preview: Preview
) -> Consequences:
    """Given the forms as they are typed, right or not, and what would run, return what else saving means.
    Runs a dozen queries."""
    form, sources = make_posted(form, sources)
    form.is_valid()
    sources.is_valid()
    devices = find_devices(form)
    drafts = {number: row.draft for number, row in enumerate(sources.forms) if row.is_whole}
    places = {number: _place(draft) for number, draft in drafts.items()}
    sample = list(devices.order_by("name")[:MOST_SAMPLED])
    sizes, missing = _read_sizes(sample, [each.key for each in places.values() if not each.is_out])
    nested, rivals = _find_nested(places), _list_rivals(edited, devices)
    conflicts, hidden = shorten(
        [
            *(f"{places[number].path}: {said}" for number, said in nested.items()),
            *find_rivals(places.values(), rivals),
            *find_unreached(form, devices),
            *find_window_conflicts(preview.window, _blocked_of(form), preview.stops, preview.duration),
        ]
    )
    return Consequences(
        changes=_list_changes(form, list(drafts.values()), edited) if edited is not None else (),
        is_new=edited is None,
        sizes=sizes,
        first=_sum(missing),
        rooms=_list_rooms(sample, missing),
        conflicts=conflicts,
        hidden_conflicts=hidden,
        at_rows={
            number: shorten([*([nested[number]] if number in nested else []), *find_rivals([place], rivals)])[
                0
            ]
            for number, place in places.items()
        },
    )


def _place(draft: Mapping[str, Any]) -> Place:
    return Place(key_of(draft), draft["path"], draft["excludes"], draft["mode"])


def _find_nested(places: Mapping[int, Place]) -> dict[int, str]:
    """Return what is said of sources inside of others, by their rows."""
    numbers = list(places)
    return {numbers[at]: said for at, said in find_nested(list(places.values())).items()}


def _blocked_of(form: PolicyForm) -> Blocked:
    return form.blocked if "time_zone" in form.cleaned_data else Blocked((), "UTC")


def _list_rivals(edited: Policy | None, devices: QuerySet[Device]) -> list[Rival]:
    """Return the sources that other policies have on these devices."""
    shared = PolicyDevice.objects.filter(device__in=devices.values("pk"))
    if edited is not None:
        shared = shared.exclude(policy=edited)
    counted = shared.values("policy", "policy__name").annotate(count=Count("pk"), first=Min("device__name"))
    found = {row["policy"]: row for row in counted.order_by("policy__name")[:MOST_RIVALS]}
    rows = Source.objects.filter(policy__in=list(found)).order_by("policy__name", "key")
    return [
        Rival(
            found[row.policy_id]["policy__name"],
            Place(row.key, row.path, row.excludes, row.mode),
            found[row.policy_id]["first"],
            found[row.policy_id]["count"],
        )
        for row in rows
    ]


def _read_sizes(sample: Sequence[Device], keys: Sequence[str]) -> tuple[Sizes, dict[int, list[int | None]]]:
    """Return how much there is by the newest restore points, and by device what those sources may hold that
    have none: as much as on the other devices, None when nobody knows."""
    newest: dict[tuple[int, str], object] = {}
    bytes_of: Counter[tuple[int, str]] = Counter()
    points = RestorePoint.objects.filter(device__in=sample, source__in=keys).order_by("-made_at")
    rows = points.values_list("device_id", "source", "made_at", "size_bytes")[:MOST_POINTS]
    for device, key, made_at, size in rows:
        # The streams of one source are a set: they have the moment in common.
        if newest.setdefault((device, key), made_at) == made_at:
            bytes_of[device, key] += size
    usual = _average(bytes_of)
    missing: dict[int, list[int | None]] = defaultdict(list)
    for device_row in sample:
        for key in keys:
            if (device_row.pk, key) not in bytes_of:
                missing[device_row.pk].append(usual.get(key))
    return Sizes(len(sample) * len(keys), len(bytes_of), sum(bytes_of.values())), missing


def _average(bytes_of: Mapping[tuple[int, str], int]) -> dict[str, int]:
    by_key: dict[str, list[int]] = defaultdict(list)
    for (_, key), size in bytes_of.items():
        by_key[key].append(size)
    return {key: sum(sizes) // len(sizes) for key, sizes in by_key.items()}


def _sum(missing: Mapping[int, Sequence[int | None]]) -> Sizes:
    listed = [size for sizes in missing.values() for size in sizes]
    known = [size for size in listed if size is not None]
    return Sizes(len(listed), len(known), sum(known))


def _list_rooms(sample: Sequence[Device], missing: Mapping[int, Sequence[int | None]]) -> list[Room]:
    """Return what each storage would have to hold. A device without a repository gets one in the default."""
    if not missing:
        return []
    storages = {storage.pk: storage for storage in Storage.objects.all()}
    own = dict(Repository.objects.filter(device__in=sample).values_list("device_id", "storage_id"))
    needed: Counter[int] = Counter()
    default = find_default()
    for device, sizes in missing.items():
        storage = own.get(device, default.pk if default is not None else None)
        if storage is not None:
            needed[storage] += sum(size for size in sizes if size is not None)
    return [Room(storages[pk].name, count, storages[pk].free_bytes) for pk, count in needed.items() if count]


def _list_changes(form: PolicyForm, drafts: list[dict[str, Any]], edited: Policy) -> list[str]:
    """Return what becomes different, in words; how many restore points are left of sources that go."""
    (before,) = (each.state for each in read_stored(Policy.objects.filter(pk=edited.pk)))
    fields = {**before.fields, **_typed_fields(form)}
    storage = fields.pop("copy_storage", edited.copy_storage)
    stored = {key_of(each): each for each in before.sources}
    after = PolicyState(
        form.cleaned_data.get("name") or before.name,
        fields,
        tuple(_find_named(form).values_list("name", flat=True)),
        form.tag_names if form.tag_names is not None else before.tags,
        _typed_hours(form, before),
        # What a row does not show stays as it is.
        tuple({**stored.get(key_of(draft), {}), **draft} for draft in drafts),
        storage.name if storage is not None else "",
    )
    lines = list(compare(before, after, 0).lines)
    gone = {key_of(each) for each in before.sources} - {key_of(each) for each in drafts}
    said = [_with_points(line, edited, gone) for line in lines]
    differing = find_differing(edited, most=0).sentence
    return [*said, f"{differing} Their own values stay."] if said and differing else said


def _with_points(line: str, edited: Policy, gone: Iterable[str]) -> str:
    for key in gone:
        if line == f"source {name_source(key)} removed: its restore points stay":
            count = RestorePoint.objects.filter(policy=edited, source=key).count()
            kept = f"its {format_count(count)} restore points stay" if count else "it has no restore points"
            return f"source {name_source(key)} removed: {kept}"
    return line


def _typed_fields(form: PolicyForm) -> dict[str, Any]:
    """Return the fields of the model that are typed and right."""
    data = form.cleaned_data
    fields = {name: data[name] for name in PLAIN_FIELDS if name in data}
    if data.keys() >= WHEN_FIELDS:
        fields |= form.schedule_fields
    if not data.get("cold_is_enabled") or data.keys() >= {*WINDOW_FIELDS}:
        fields |= form.window_fields
    if data.keys() >= BLOCKED_FIELDS:
        fields |= form.blocked_fields
    if data.keys() >= {"copy_storage", "copy_keep"}:
        fields |= form.copy_fields
    fields |= form.selection_fields
    return fields


def _find_named(form: PolicyForm) -> QuerySet[Device]:
    if form.cleaned_data.get("every_device"):
        return Device.objects.all()
    chosen: QuerySet[Device] | None = form.cleaned_data.get("devices")
    return chosen if chosen is not None else Device.objects.none()


def _typed_hours(form: PolicyForm, before: PolicyState) -> tuple[Hours, ...]:
    if not form.is_blocked_posted or "time_zone" not in form.cleaned_data:
        return before.blocked
    return tuple(Hours(*each) for each in form.blocked.hours)
