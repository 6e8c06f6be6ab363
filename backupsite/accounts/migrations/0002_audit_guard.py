"""The database refuses to change the audit trail."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from backupsite.accounts.audit_guard import create_guard, drop_guard


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    create_guard(schema_editor.connection)


def drop(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    drop_guard(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [migrations.RunPython(create, drop)]
