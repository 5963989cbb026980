from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jwt_redis", "0005_signing_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderLogout",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("by_sid", models.CharField(blank=True, editable=False, max_length=64)),
                ("by_sub", models.CharField(blank=True, editable=False, max_length=64)),
                ("issued_at", models.BigIntegerField(editable=False)),
                ("until", models.DateTimeField(db_index=True, editable=False)),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["by_sid"], name="jwt_redis_logout_by_sid"),
                    models.Index(fields=["by_sub"], name="jwt_redis_logout_by_sub"),
                ],
            },
        ),
        migrations.RemoveField(
            model_name="providersession",
            name="is_over",
        ),
    ]
