"""What the API's shapes are made of: strict about names, and text through the one door."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiTypes, extend_schema_field
from rest_framework import serializers

from annotation.cleaning import CleaningError, clean_text


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know, so that a misspelled one is never ignored in silence."""

    def to_internal_value(self, data: Any) -> Any:
        known = {name for name, field in self.fields.items() if not field.read_only}
        if isinstance(data, dict) and (strange := data.keys() - known):
            choices = ", ".join(sorted(known))
            raise serializers.ValidationError(
                {name: [gettext("Is not a field here; use %(choices)s.") % {"choices": choices}] for name in strange}
            )
        return super().to_internal_value(data)


class CleanCharField(serializers.CharField):
    """Text through the one door."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return super().to_internal_value(clean_text(data, self.field_name or ""))
        except CleaningError as error:
            raise serializers.ValidationError(error.message) from None


class NamesField(CleanCharField):
    """Several names in one value, with commas between them."""

    def to_internal_value(self, data: Any) -> Any:
        return tuple(name.strip() for name in super().to_internal_value(data).split(",") if name.strip())


class NumbersField(NamesField):
    """Several whole numbers in one value."""

    def to_internal_value(self, data: Any) -> Any:
        names = super().to_internal_value(data)
        if not all(name.isdecimal() and len(name) < 10 for name in names):
            raise serializers.ValidationError(gettext("Must be whole numbers with commas between them."))
        return tuple(map(int, names))


@extend_schema_field(OpenApiTypes.OBJECT)
class StoredBodyField(serializers.Field[Any, Any, Any, Any]):
    """A body as stored, with response ids in place of the sides."""

    def to_representation(self, value: Any) -> Any:
        return value
