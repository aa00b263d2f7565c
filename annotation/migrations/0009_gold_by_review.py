from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0008_mappings_and_versions"),
    ]

    operations = [
        migrations.AddField(
            model_name="adjudication",
            name="makes_gold",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="project",
            name="gold_feedback",
            field=models.BooleanField(default=False),
        ),
    ]
