from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jwt_redis", "0003_adopted"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderSession",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("by_sid", models.CharField(blank=True, editable=False, max_length=64)),
                ("by_sub", models.CharField(editable=False, max_length=64)),
                ("user", models.CharField(editable=False, max_length=96)),
                ("sid", models.CharField(editable=False, max_length=64, unique=True)),
                ("until", models.DateTimeField(db_index=True, editable=False)),
                ("is_over", models.BooleanField(default=False, editable=False)),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["by_sid"], name="jwt_redis_by_op_sid"),
                    models.Index(fields=["by_sub"], name="jwt_redis_by_op_sub"),
                ],
            },
        ),
    ]
