"""The nodes: which are heard, what lies on them, how one is added; one is removed after a question."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from agents.commands import quote
from agents.errors import PlanRefused
from backupsite.console import nodes
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.repositories.nodes import CONSOLE, is_heard
from backupsite.web.status import Status
from backupsite.web.visible import make_visible

_JOIN = " | ssh root@MACHINE /opt/hotfleet/script/node --join"
COMMAND = f"script/node --add NAME{_JOIN} --storage /srv/backups"


@dataclass(frozen=True)
class Row:
    """A node as it is now."""

    node: Node
    status: Status
    repositories: int

    @property
    def may_go(self) -> bool:
        return self.node.slug != CONSOLE and not self.repositories

    @property
    def may_be_lost(self) -> bool:
        return self.node.slug != CONSOLE


@require_safe
def nodes_list(request: HttpRequest) -> HttpResponse:
    counts = dict(Repository.objects.order_by().values_list("storage__node").annotate(count=Count("pk")))
    found = Node.objects.prefetch_related("storages").order_by("pk")
    context = {
        "rows": [Row(node, _status_of(node), counts.get(node.pk, 0)) for node in found],
        "why_not": nodes.why_unreachable(),
        "command": COMMAND,
        "crumbs": [("Repositories", reverse("repositories")), ("Nodes", "")],
    }
    return render(request, "console/nodes.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def node_remove(request: HttpRequest, slug: str) -> HttpResponse:
    node = get_object_or_404(Node.objects.exclude(slug=CONSOLE), slug=slug)
    name, refused = make_visible(node.name), ""
    if request.method == "POST":
        try:
            nodes.remove(node, actor=request)
            messages.success(request, f"The node {name} was removed; its workers stop within seconds.")
            return redirect("nodes")
        except PlanRefused as error:
            refused = error.message
    context = {
        "node": node,
        "refused": refused,
        "crumbs": [("Repositories", reverse("repositories")), ("Nodes", reverse("nodes")), (name, "")],
    }
    return render(request, "console/node_remove.html", context, status=422 if refused else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def node_again(request: HttpRequest, slug: str) -> HttpResponse:
    """Its machine was lost. What another one is told holds keys, and is printed on the console alone."""
    node = get_object_or_404(Node.objects.exclude(slug=CONSOLE), slug=slug)
    name = make_visible(node.name)
    if request.method == "POST":
        nodes.lock_out(node, actor=request)
        messages.success(request, f"The machine of {name} is locked out. Another one can take its place now.")
        return redirect("node-again", node.slug)
    context = {
        "node": node,
        "is_locked_out": node.joined_at is None,
        "command": f"script/node --add {node.slug} --again{_JOIN}{_name_storages(node)}",
        "crumbs": [("Repositories", reverse("repositories")), ("Nodes", reverse("nodes")), (name, "")],
    }
    return render(request, "console/node_again.html", context)


def _name_storages(node: Node) -> str:
    """Return its directories as options: each is looked into when another machine joins."""
    paths = node.storages.filter(kind=Storage.DIRECTORY).order_by("pk").values_list("path", flat=True)
    # Quoted twice: the shell of the other machine reads them too.
    return "".join(f" --storage {quote(quote(path))}" for path in paths)


def _status_of(node: Node) -> Status:
    if is_heard(node, timezone.now()):
        return Status("Works", "good", "good")
    if node.joined_at is None:
        return Status("Not joined yet")
    return Status("Silent", "bad", "bad")
