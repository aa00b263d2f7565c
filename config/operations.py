"""The OpenAPI schema as the documentation page shows it: operations by subject, with every reference resolved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy, ngettext

Schema = dict[str, Any]

# The words of an address that tell what it is about; below projects/ and tasks/ the second word does.
SUBJECTS: tuple[tuple[str, Promise, tuple[str, ...]], ...] = (
    ("projects", gettext_lazy("Projects"), ("projects", "templates")),
    ("people", gettext_lazy("People"), ("members", "invitations", "admins", "annotators")),
    ("records", gettext_lazy("Import and export"), ("import", "imports", "mappings", "export", "withdrawals")),
    ("judging", gettext_lazy("Judging"), ("next", "assign", "annotations", "draft", "skip")),
    ("review", gettext_lazy("Review"), ("disputes", "review", "adjudications", "comments")),
    ("quality", gettext_lazy("Quality"), ("quality", "agreement", "stats")),
    ("snapshots", gettext_lazy("Snapshots"), ("snapshots",)),
    ("runs", gettext_lazy("Runs"), ("runs",)),
    ("models", gettext_lazy("Models"), ("models",)),
    ("rounds", gettext_lazy("Rounds"), ("rounds",)),
)
SUBJECT_OF = {word: key for key, _label, words in SUBJECTS for word in words}
LARGEST = 2**63 - 1  # what the database holds, no limit that anybody set
CHOICE = re.compile(r"\* `(.+?)` - (.+)")


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body, with the fields inside it."""

    name: str
    type: str
    required: bool
    help: str
    choices: tuple[tuple[str, str], ...]  # a value, and its words where they say more than the value
    limits: str
    place: str
    inside: tuple[Field, ...]


@dataclass(frozen=True)
class Body:
    """What is sent or answered: its media types, its type in words, its fields."""

    media: str
    type: str
    help: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Answer:
    status: str
    body: Body | None


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    help: str
    parameters: tuple[Field, ...]
    body: Body | None
    answers: tuple[Answer, ...]
    curl: str

    @property
    def first_line(self) -> str:
        return self.help.partition("\n")[0].replace("`", "")  # a summary has no markup

    @property
    def more(self) -> str:
        return self.help.partition("\n")[2].strip()


@dataclass(frozen=True)
class Subject:
    key: str
    label: Promise
    operations: tuple[Operation, ...]


def subjects(schema: Schema) -> list[Subject]:
    """Every operation of `schema` under what it is about."""
    found: dict[str, list[Operation]] = {key: [] for key, _label, _words in SUBJECTS}
    reader = Reader(schema)
    for path, methods in schema["paths"].items():
        words = [word for word in path.removeprefix("/api/v1/").split("/") if word and not word.startswith("{")]
        word = words[1] if words[0] in ("projects", "tasks") and len(words) > 1 else words[0]
        found[SUBJECT_OF[word]] += [reader.operation(path, method, told) for method, told in methods.items()]
    return [Subject(key, label, tuple(found[key])) for key, label, _words in SUBJECTS]


class Reader:
    """Reads the parts of one schema document."""

    def __init__(self, schema: Schema) -> None:
        self.named: dict[str, Schema] = schema["components"]["schemas"]

    def operation(self, path: str, method: str, told: Schema) -> Operation:
        parameters = tuple(self._parameter(one) for one in told.get("parameters", ()))
        content = told.get("requestBody", {}).get("content", {})
        answers = [
            Answer(status, self.body(answer.get("content", {})))
            for status, answer in told["responses"].items()
            if status != "default"  # the error, which is the same everywhere and shown once
        ]
        return Operation(
            id=told["operationId"],
            method=method.upper(),
            path=path,
            help=told.get("description", ""),
            parameters=tuple(sorted(parameters, key=lambda one: not one.required)),
            body=self.body(content, sent=True),
            answers=tuple(answers),
            curl=self._curl(path, method.upper(), parameters, content),
        )

    def body(self, content: Schema, *, sent: bool = False) -> Body | None:
        """The first of the media types that has fields to tell of; None where nothing is sent."""
        if not content:
            return None
        read = [self._field("", one["schema"], sent=sent) for one in content.values()]
        shown = next((field for field in read if field.inside), read[0])
        types = list(dict.fromkeys(field.type for field in read))
        return Body(", ".join(content), gettext(" or ").join(types), shown.help, shown.inside)

    def problem(self) -> tuple[Field, ...]:
        """The fields that every error has."""
        return self._field("", self.named["Problem"]).inside

    def _parameter(self, told: Schema) -> Field:
        schema = told["schema"] | {"description": told.get("description", "")}
        return self._field(told["name"], schema, required=told.get("required", False), place=told["in"])

    def _resolved(self, schema: Schema) -> Schema:
        """The schema with its reference, or its one part, folded in; what stands beside a reference wins."""
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        for part in [schema, *schema.get("allOf", ())]:
            if "$ref" in part:
                beside = self._resolved(self.named[part["$ref"].rpartition("/")[2]]) | beside
        return beside

    def _field(
        self, name: str, schema: Schema, *, required: bool = False, place: str = "", sent: bool = False
    ) -> Field:
        resolved = self._resolved(schema)
        inner = self._resolved(resolved["items"]) if resolved.get("type") == "array" else resolved
        help_text, choices = _help(resolved.get("description", ""), inner.get("enum", ()))
        return Field(
            name=name,
            type=self._type(resolved),
            required=required,
            help=help_text,
            choices=choices,
            limits=", ".join(_limits(resolved)),
            place=place,
            inside=tuple(self._fields(inner, sent)),
        )

    def _fields(self, schema: Schema, sent: bool) -> Iterator[Field]:
        """The fields of an object: those that one may send, or those that come back."""
        needed = schema.get("required", ()) if sent else ()
        for name, told in schema.get("properties", {}).items():
            if not told.get("readOnly" if sent else "writeOnly"):
                yield self._field(name, told, required=name in needed, sent=sent)

    def _type(self, schema: Schema) -> str:
        if options := schema.get("oneOf"):
            told = gettext(" or ").join(dict.fromkeys(self._type(self._resolved(one)) for one in options))
        elif schema.get("type") == "array":
            told = gettext("list of %(type)s") % {"type": self._type(self._resolved(schema["items"]))}
        elif "enum" in schema:
            told = gettext("one of")
        else:
            told = schema.get("format") or schema.get("type") or gettext("anything")
            told = {"double": "number", "int64": "integer", "binary": gettext("file")}.get(told, told)
        return gettext("%(type)s or null") % {"type": told} if schema.get("nullable") else told

    def _curl(self, path: str, method: str, parameters: tuple[Field, ...], content: Schema) -> str:
        address = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), path)
        asked = [f"{one.name}={one.name.upper()}" for one in parameters if one.place == "query" and one.required]
        parts = [f'"$HONE{address}{"?" if asked else ""}{"&".join(asked)}"', '-H "Authorization: Bearer $TOKEN"']
        media = next(iter(content), "")
        if media == "application/json":
            sent = json.dumps(self._example(content[media]["schema"]), ensure_ascii=False).replace("'", "'\\''")
            parts += ["-H 'Content-Type: application/json'", f"-d '{sent}'"]
        elif media:
            properties = self._resolved(content[media]["schema"])["properties"]
            parts += [f"-F {name}=@FILE" for name, one in properties.items() if one.get("format") == "binary"]
        verb = "" if method == "GET" or (method == "POST" and media) else f"-X {method} "
        return f"curl {verb}" + " \\\n  ".join(parts)

    def _example(self, schema: Schema) -> Any:
        """A value that fits: what must be there, or the first field where nothing must."""
        schema = self._resolved(schema)
        if options := schema.get("oneOf"):
            return self._example(options[0])
        for known in ("example", "default"):
            if schema.get(known):
                return schema[known]
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("type") == "object":
            fields = {k: v for k, v in schema.get("properties", {}).items() if not v.get("readOnly")}
            shown = [name for name in schema.get("required", ()) if name in fields] or list(fields)[:1]
            return {name: self._example(fields[name]) for name in shown}
        if schema.get("type") == "array":
            return [self._example(schema["items"])]
        plain = {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 0.5), "boolean": True}
        return plain.get(schema.get("type", ""), "…")


def _help(text: str, values: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The help text without the list of choices that the generator adds to it, and that list."""
    words = dict(CHOICE.findall(text))
    kept = "\n".join(line for line in text.splitlines() if not CHOICE.fullmatch(line)).strip()
    choices = []
    for value in (str(one) for one in values if one not in ("", None)):
        said = words.get(value, "")
        choices.append((value, "" if said.casefold().replace(" ", "_") == value.casefold() else said))
    return kept, tuple(choices)


def _limits(schema: Schema) -> Iterator[str]:
    """What a value may be, in words."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if most == LARGEST:
        most = None
    if least is not None and most is not None:
        yield gettext("%(least)s to %(most)s") % {"least": least, "most": most}
    elif least is not None:
        yield gettext("at least %(least)s") % {"least": least}
    elif most is not None:
        yield gettext("at most %(most)s") % {"most": most}
    if count := schema.get("maxLength"):
        yield ngettext("at most %(count)s character", "at most %(count)s characters", count) % {"count": f"{count:,}"}
    if count := schema.get("maxItems"):
        yield ngettext("at most %(count)s entry", "at most %(count)s entries", count) % {"count": f"{count:,}"}
    if schema.get("default") not in (None, "", [], {}):
        yield gettext("%(value)s when left out") % {"value": json.dumps(schema["default"], ensure_ascii=False)}
