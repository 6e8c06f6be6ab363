"""The page on which an application comes back from a restore point."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from agents.applications.services import is_service_name
from agents.comeback import Way
from agents.errors import PlanRefused
from backupsite.accounts import audit
from backupsite.policies.naming import name_source
from backupsite.recovery.asking import FormWasSent
from backupsite.recovery.comeback_form import TITLES, ComebackForm
from backupsite.recovery.comeback_moment import Chosen, choose, first_fields, reach_of, say_log
from backupsite.recovery.comebacks import Options, ask_comeback, find_options
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.restore_form import say_moment
from backupsite.recovery.wal.reach import Reach
from backupsite.recovery.words import ShownPoint
from backupsite.runs.models import Run
from backupsite.web.visible import make_visible

FIRST_PORT = 15432


@require_http_methods(["GET", "HEAD", "POST"])
def point_comeback(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask how the application of a restore point comes back, and start it. 404 for a point of files."""
    point = get_object_or_404(RestorePoint.objects.select_related("device"), pk=pk)
    if point.source.startswith("/"):
        raise Http404("files, no application")
    given = request.POST if request.method == "POST" else None
    reach = reach_of(point)
    if given is None and request.GET.get("part") == "moment":
        return render(request, "recovery/comeback_moment.html", _say_moment(point, reach, request.GET))
    named = given.get("services", "").split() if given is not None else []
    try:
        # What cannot be the name of a service is said at its field.
        options = find_options(point, [name for name in named if is_service_name(name)])
    except PlanRefused as refusal:
        return render(request, "recovery/comeback_refused.html", _frame(point) | {"refusal": refusal})
    first = _propose(point, options) | first_fields(reach, request.GET)
    form = ComebackForm(given, initial=first, options=options, device_name=point.device.name, reach=reach)
    if given is not None and form.is_valid():
        try:
            return redirect(_ask(request, point, form))
        except FormWasSent as error:
            form.add_error(None, str(error))
    context = _frame(point) | {
        "form": form,
        **_say_moment(point, reach, given if given is not None else first),
        "home": options.home,
        "refused": [
            (TITLES[each.way], make_visible(each.reason), make_visible(each.remedy))
            for each in options.choices
            if each not in options.offered
        ],
        "size_bytes": options.stored.size_bytes,
        "has_ways": bool(options.offered),
    }
    return render(request, "recovery/comeback.html", context, status=422 if given is not None else 200)


def _ask(request: HttpRequest, point: RestorePoint, form: ComebackForm) -> str:
    """Ask for the comeback and return the address of its run. Raise FormWasSent as `ask_once` does."""
    wish, token = form.make_wish(), str(form.cleaned_data["token"])
    # A moment begins from the newest restore point before it, whichever page it was asked on.
    base = form.route.route.point if form.route.route is not None else point

    def note(run: Run) -> None:
        detail = {"run": run.number, "source": make_visible(point.source), "way": wish["way"]}
        moment = {"moment": wish["moment"]} if wish["moment"] else {}
        audit.record(request, "device.comeback", point.device.name, detail | {"point": str(base.pk)} | moment)

    name = request.user.get_username()
    return ask_comeback(base, wish, token=token, requested_by=name, note=note).get_absolute_url()


def _propose(point: RestorePoint, options: Options) -> dict[str, object]:
    possible = options.offered
    name = f"{options.stored.application}-restored"
    database = next((each.databases[0] for each in possible if each.databases), "")
    return {
        "way": (possible[0].way if possible else Way.IN_PLACE).value,
        "services": " ".join(options.home.services),
        "keep": True,
        "folder": f"/var/lib/{name}",
        "port": FIRST_PORT,
        "part": database,
        "new_name": f"{database.removesuffix('.dump')}_restored"[:63] if database else "",
        "token": uuid.uuid4(),
    }


def _say_moment(point: RestorePoint, reach: Reach | None, said: Mapping[str, Any]) -> dict[str, object]:
    """What recovery/comeback_moment.html shows: from what, and by how much log, the chosen moment is
    reached."""
    chosen = choose(reach, said) if reach is not None else Chosen()
    shown: dict[str, object] = {"chosen": chosen, "reach": reach, "point": point}
    if chosen.route is not None:
        base = chosen.route.point
        shown |= {"base": base, "base_moment": _in_a_sentence(say_moment(base)), "log": say_log(chosen.route)}
    return shown


def _in_a_sentence(words: str) -> str:
    return words[0].lower() + words[1:]


def _frame(point: RestorePoint) -> dict[str, object]:
    name = make_visible(point.device.name)
    return {
        "point": point,
        "device": point.device,
        "shown": ShownPoint(point),
        "name": name_source(point.source),
        "moment": _in_a_sentence(say_moment(point)),
        "crumbs": [
            ("Devices", reverse("devices")),
            (name, point.device.get_absolute_url()),
            ("Restore an application", ""),
        ],
    }
