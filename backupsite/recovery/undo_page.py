"""The question before a restore is undone, for as long as its safety restore points live."""

from __future__ import annotations

import uuid

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.accounts import audit
from backupsite.policies.known import read_known_facts
from backupsite.recovery.asking import FormWasSent
from backupsite.recovery.restores import ask_undo, list_safety_points, may_undo
from backupsite.recovery.undoing import say_stays
from backupsite.recovery.wishes import make_undo
from backupsite.recovery.words import describe_restore, show_points
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE
from backupsite.runs.states import State
from backupsite.web.visible import make_visible


class UndoForm(forms.Form):
    typed = forms.CharField(
        label="Name of the device",
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    token = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: object, device_name: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as Django's own, whatever it takes
        self.device_name = device_name

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"])
        if typed != self.device_name:
            raise forms.ValidationError(
                f"Type {make_visible(self.device_name)}, the name of the device whose files are replaced."
            )
        return typed


@require_http_methods(["GET", "HEAD", "POST"])
def restore_undo(request: HttpRequest, number: int) -> HttpResponse:
    """Ask before, and start, the undo of a restore. 404 when nothing was saved or is left, or nothing was
    replaced."""
    run = get_object_or_404(Run.objects.select_related("device"), number=number, kind=Run.RESTORE)
    if not State(run.state).is_final:
        return redirect(run)
    if not may_undo(run):
        raise Http404("nothing to undo")
    given = request.POST if request.method == "POST" else None
    form = UndoForm(given, initial={"token": uuid.uuid4()}, device_name=run.device.name)
    if given is not None and form.is_valid():
        try:
            return redirect(_ask(request, run, str(form.cleaned_data["token"])))
        except FormWasSent as error:
            form.add_error(None, str(error))
    points, facts = list_safety_points(run), read_known_facts(run.device)
    undos = [make_undo(point, facts.mounts if facts is not None else ()) for point in points]
    context = {
        "run": run,
        "device": run.device,
        "form": form,
        "points": show_points(points),
        "stays": [(undo.folder, why) for undo in undos if (why := say_stays(undo, facts))],
        "restore": describe_restore(run),
        "crumbs": [
            ("Runs", reverse("runs")),
            (f"#{run.number}", run.get_absolute_url()),
            ("Undo this restore", ""),
        ],
    }
    return render(request, "recovery/undo.html", context, status=422 if given is not None else 200)


def _ask(request: HttpRequest, undone: Run, token: str) -> Run:
    """Ask for the undo and return its run. Raise FormWasSent as `ask_once` does."""

    def note(run: Run) -> None:
        detail = {"run": run.number, "undone": undone.number}
        audit.record(request, "device.restore.undo", undone.device.name, detail)

    return ask_undo(undone, token=token, requested_by=request.user.get_username(), note=note)


def find_undo(run: Run) -> Run | None:
    """Given a restore, return the newest run that undid it, or is at it. Runs one query. An undo that ended
    in any other way left something to undo."""
    asked = Run.objects.filter(kind=Run.RESTORE, device=run.device, request__undo=str(run.pk))
    return asked.filter(state__in=(*ACTIVE, State.SUCCEEDED)).order_by("-number").first()
