from __future__ import annotations

from django.urls import path

from backupsite.policies import views

urlpatterns = [
    path("policies/", views.policies, name="policies"),
]
