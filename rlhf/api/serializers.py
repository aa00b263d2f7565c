"""Shapes of the loop's API; they check input and decide nothing."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotation.api.pagination import MOST_ROWS
from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.cleaning import MAX_INT, CleaningError
from annotation.models import Project, User
from rlhf import rounds, withdrawn
from rlhf.models import Cut, Model, Round, Run, Snapshot
from rlhf.prompts import Prompt, distinct, messages
from training import runfile


class VisibleModel(serializers.SlugRelatedField[Model]):
    """A model by its name, among those the caller may see."""

    default_error_messages = {
        "does_not_exist": gettext_lazy(
            "There is no model named {value} that you may see; register it first, then give its name."
        ),
        "invalid": gettext_lazy("Must be the name of a registered model."),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="name", queryset=Model.objects.none(), **options)

    def get_queryset(self) -> Any:
        return Model.objects.visible_to(_caller(self))


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "id, name or name@version"})
class VisibleSnapshot(serializers.PrimaryKeyRelatedField[Snapshot]):
    """A snapshot by its id, or by its name in the project that is asked for, among those the caller may see."""

    default_error_messages = {
        "does_not_exist": gettext_lazy("There is no snapshot {pk_value} that you may see."),
        "incorrect_type": gettext_lazy(
            "Must be a snapshot: its id, or its name in the project, as in prefs or prefs@2."
        ),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(queryset=Snapshot.objects.none(), **options)

    def get_queryset(self) -> Any:
        return Snapshot.objects.visible_to(_caller(self))

    def to_internal_value(self, data: Any) -> Snapshot:
        if isinstance(data, float):
            self.fail("incorrect_type")
        if not isinstance(data, str) or data.isdecimal():
            found: Snapshot = super().to_internal_value(data)
            return found
        name, _, version = data.partition("@")
        asked = getattr(self.root, "initial_data", {})
        rows = self.get_queryset().filter(name=name, project__slug=str(asked.get("project", "")))
        if version:
            rows = rows.filter(version=int(version) if version.isdecimal() and len(version) < 9 else 0)
        named: Snapshot | None = rows.order_by("-version").first()
        if named is None:
            self.fail("does_not_exist", pk_value=data)
        return named


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object", "required": ["prompt"]}]})
class PromptField(serializers.DictField):
    """A text, or `{"id"?, "prompt": text or messages}`."""

    default_error_messages = {
        "not_a_dict": gettext_lazy("Must be a text, or an object with prompt and, if you like, id.")
    }

    def to_internal_value(self, data: Any) -> Any:
        row = super().to_internal_value({"prompt": data} if isinstance(data, str) else data)
        if strange := row.keys() - {"id", "prompt"}:
            raise serializers.ValidationError(
                gettext("%(field)s is not known here; use id and prompt.") % {"field": min(strange)}
            )
        identifier = str(row.get("id", ""))
        if len(identifier) > 80:
            raise serializers.ValidationError(gettext("id must have at most 80 characters."))
        try:
            return {"id": identifier, "prompt": messages(row.get("prompt"))}
        except CleaningError as error:
            raise serializers.ValidationError(str(error)) from None


class Filter(StrictSerializer):
    """What every list of the loop can be narrowed by."""

    project = serializers.SlugField(required=False)
    limit = serializers.CharField(required=False, help_text="Rows in one page, 1 to 200.")
    cursor = serializers.CharField(required=False)


class SnapshotFilter(Filter):
    type = serializers.ChoiceField(choices=Snapshot.Type.choices, required=False)
    name = serializers.CharField(required=False)


class ModelFilter(Filter):
    role = serializers.ChoiceField(choices=Model.Role.choices, required=False)
    state = serializers.ChoiceField(choices=Model.State.choices, required=False)


class RunFilter(Filter):
    kind = serializers.ChoiceField(choices=Run.Kind.choices, required=False)
    state = serializers.ChoiceField(choices=Run.State.choices, required=False)


class RoundFilter(Filter):
    state = serializers.ChoiceField(choices=Round.State.choices, required=False)


class SnapshotSerializer(serializers.ModelSerializer[Snapshot]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    recipe = serializers.DictField(read_only=True)
    counts = serializers.DictField(read_only=True, help_text="train, eval, annotations, annotators, left_out")

    class Meta:
        model = Snapshot
        fields = [
            "id",
            "project",
            "name",
            "version",
            "type",
            "recipe",
            "counts",
            "content_hash",
            "path",
            "size",
        ]
        fields += ["withdrawn", "simulated_share", "created_at"]
        read_only_fields = fields


class CutSerializer(serializers.ModelSerializer[Cut]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    snapshot = serializers.PrimaryKeyRelatedField[Snapshot](read_only=True)
    recipe = serializers.DictField(read_only=True)

    class Meta:
        model = Cut
        fields = ["id", "project", "name", "type", "recipe", "state", "snapshot", "problem", "created_at"]
        read_only_fields = fields


class SnapshotInput(StrictSerializer):
    project = serializers.SlugField()
    name = serializers.CharField(max_length=80)
    type = serializers.ChoiceField(choices=Snapshot.Type.choices)
    recipe = serializers.DictField(required=False, help_text="split, aggregation, min_agreement, flags, …")


class ModelSerializer(serializers.ModelSerializer[Model]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    parent = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)  # type: ignore[assignment]
    run = serializers.PrimaryKeyRelatedField[Run](read_only=True)
    figures = serializers.DictField(read_only=True)
    decision = serializers.DictField(read_only=True)
    withdrawn = serializers.SerializerMethodField(
        help_text="snapshots behind it whose judgements were withdrawn since they were cut: snapshot, name, judgements"
    )

    class Meta:
        model = Model
        fields = ["name", "project", "role", "state", "is_adapter", "parent", "run", "path", "sha256", "size"]
        fields += ["template", "source", "figures", "decision", "withdrawn", "created_at"]
        read_only_fields = fields

    def get_withdrawn(self, model: Model) -> list[dict[str, Any]]:
        return withdrawn.as_rows(self.context["withdrawn"].get(model.pk, ()))


class ModelInput(StrictSerializer):
    name = serializers.SlugField(max_length=80)
    folder = CleanCharField(max_length=500, help_text="A folder on the server.")
    project = serializers.SlugField(required=False)
    role = serializers.ChoiceField(choices=Model.Role.choices, default=Model.Role.POLICY)
    template = serializers.ChoiceField(choices=["", *runfile.TEMPLATES], default="")
    parent = VisibleModel(required=False)  # type: ignore[assignment]


class Reason(StrictSerializer):
    reason = CleanCharField(max_length=2000, required=False, allow_blank=True, default="")


class NeededReason(StrictSerializer):
    reason = CleanCharField(max_length=2000)


class RunSerializer(serializers.ModelSerializer[Run]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    round = serializers.PrimaryKeyRelatedField[Round](read_only=True)
    start_model = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)
    reward_model = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)
    snapshot = serializers.PrimaryKeyRelatedField[Snapshot](read_only=True)
    config = serializers.DictField(read_only=True, help_text="run.json as written")
    error = serializers.DictField(read_only=True, allow_null=True, help_text="code, message, hint")
    outcome = serializers.DictField(read_only=True)

    class Meta:
        model = Run
        fields = [
            "id",
            "project",
            "round",
            "name",
            "kind",
            "state",
            "start_model",
            "reward_model",
            "snapshot",
            "config",
        ]
        fields += ["attempt", "step", "total", "error", "outcome", "created_at", "started_at", "finished_at"]
        read_only_fields = fields


class RunInput(StrictSerializer):
    project = serializers.SlugField()
    kind = serializers.ChoiceField(choices=Run.Kind.choices)
    name = serializers.CharField(max_length=80, required=False)
    start_model = VisibleModel(required=False)
    snapshot = VisibleSnapshot(required=False)
    reward_model = VisibleModel(required=False)
    policies = VisibleModel(many=True, required=False, help_text="evaluate: who answers")
    references = serializers.DictField(
        child=serializers.CharField(), required=False, help_text="evaluate: policy → the one its KL is measured to"
    )
    reference = serializers.ChoiceField(choices=["base", "start_adapter"], required=False)
    params = serializers.DictField(required=False)
    adapter = serializers.DictField(required=False, allow_null=True, help_text="null trains all weights")
    hardware = serializers.DictField(required=False)
    template = serializers.ChoiceField(
        choices=runfile.TEMPLATES, required=False, help_text="where the start model brings no chat template"
    )
    seed = serializers.IntegerField(min_value=0, max_value=2**32 - 1, required=False)
    prompts = serializers.ListField(child=PromptField(), max_length=100_000, required=False)

    def validate_prompts(self, rows: list[Prompt]) -> list[Prompt]:
        return numbered(rows)


class MetricsQuery(StrictSerializer):
    after = serializers.IntegerField(min_value=0, required=False, help_text="Only steps later than this one.")


class MetricsSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=Run.State.choices)
    metrics = serializers.ListField(child=serializers.DictField(), help_text="step, time and what the kind logs")


class LinesQuery(StrictSerializer):
    after = serializers.IntegerField(
        min_value=0, max_value=MAX_INT, default=0, help_text="Lines seen: the `next` of the answer before."
    )
    limit = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=MOST_ROWS)


class LinesSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=Run.State.choices)
    next = serializers.IntegerField(help_text="what to give as `after` next time")
    more = serializers.BooleanField(help_text="whether more lines are there already")


class LogSerializer(LinesSerializer):
    lines = serializers.ListField(child=serializers.CharField(), help_text="time, level and text")


class SamplesSerializer(LinesSerializer):
    samples = serializers.ListField(
        child=serializers.DictField(),
        help_text="line, step, prompt, and the answers with their rewards; of a step and prompt the last line counts",
    )


class RoundSerializer(serializers.ModelSerializer[Round]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    start_model = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)
    base_model = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)
    reward_model = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)
    promoted_model = serializers.SlugRelatedField[Model](slug_field="name", read_only=True)
    snapshot = serializers.PrimaryKeyRelatedField[Snapshot](read_only=True)
    runs = serializers.PrimaryKeyRelatedField[Run](many=True, read_only=True)
    plan = serializers.DictField(read_only=True)
    evaluation = serializers.DictField(read_only=True, help_text="per policy: preferred, kl, length, …")
    decision = serializers.DictField(read_only=True, help_text="by, at, reason; step, when abandoned")

    class Meta:
        model = Round
        fields = ["id", "project", "number", "state", "problem", "plan", "start_model", "base_model", "reward_model"]
        fields += ["snapshot", "runs", "evaluation", "promoted_model", "decision", "created_at", "finished_at"]
        read_only_fields = fields


class RoundDetailSerializer(RoundSerializer):
    """One round, with what people still have to do for it and what its gate says."""

    progress = serializers.SerializerMethodField(
        help_text="judgements that stand and that are wanted: label and compare, each with done, wanted and tasks"
    )
    gate = serializers.SerializerMethodField(
        help_text="while it waits for the decision, for each policy the conditions: name, value, limit, met"
    )

    class Meta(RoundSerializer.Meta):
        fields = [*RoundSerializer.Meta.fields, "progress", "gate"]
        read_only_fields = fields

    def get_progress(self, round: Round) -> dict[str, dict[str, int]]:
        return rounds.progress(round)

    def get_gate(self, round: Round) -> dict[str, list[dict[str, Any]]]:
        return rounds.gate(round) if round.state == Round.State.DECIDE else {}


class RoundInput(StrictSerializer):
    project = serializers.SlugField()
    plan = serializers.DictField(
        required=False, help_text="docs/loop.md lists the keys; those left out are as in the round before"
    )
    start_model = VisibleModel()
    base_model = VisibleModel(
        required=False,
        help_text="what people compare with; by default that of the round before, else the weights start_model is on",
    )
    prompts = serializers.ListField(
        child=PromptField(), max_length=100_000, required=False, help_text="by default those of the project's tasks"
    )
    eval_prompts = serializers.ListField(
        child=PromptField(),
        max_length=100_000,
        required=False,
        help_text="by default the prompts that nobody was asked to label, else those of earlier rounds' evaluations",
    )

    def validate_prompts(self, rows: list[Prompt]) -> list[Prompt]:
        return numbered(rows)

    def validate_eval_prompts(self, rows: list[Prompt]) -> list[Prompt]:
        return numbered(rows)


class Promotion(Reason):
    model = VisibleModel()


class Changes(StrictSerializer):
    changes = serializers.DictField(required=False, help_text="keys of the plan to change")


def numbered(rows: list[Prompt]) -> list[Prompt]:
    """The different prompts, those without an id named by their place."""
    return distinct(row | {"id": row["id"] or str(place)} for place, row in enumerate(rows, start=1))


def _caller(field: serializers.Field[Any, Any, Any, Any]) -> User:
    user: User = field.context["request"].user
    return user
