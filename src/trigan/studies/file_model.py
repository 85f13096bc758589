"""Files that users write, as pydantic models: strict types, and each mistake as one line of trigan's."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic.fields import FieldInfo

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

T = TypeVar("T")
#: A list in the file; a tuple in the model.
ListOf = Annotated[tuple[T, ...], Strict(False)]
#: A text; a number is taken for one, so that a row may be called 5.
Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]


#: Settings as they are written on a command line.
Settings = Annotated[
    ListOf[Annotated[str, Field(pattern="=")]], Field(description="a list of settings, each written key=value")
]


class FileModel(BaseModel):
    """A mapping in a file. The ``description`` of a field says what is expected there, also in the JSON Schema."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


M = TypeVar("M", bound=FileModel)


def read_file(model: type[M], path: Path, load: Callable[[str], Any] = yaml.safe_load) -> M:
    """The checked content of a file, YAML by default; a ConfigError names the wrong key and what was expected."""
    try:
        content = load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_line(error, model, content)}") from None


def _first_line(error: ValidationError, model: type[FileModel], content: Any) -> str:
    """The first mistake: the key's path, its value, and what the description of its field expects."""
    first = error.errors(include_url=False)[0]
    fields, value, expected, keys = _fields(model), content, "", list[str]()
    for part in first["loc"]:
        if isinstance(value, Mapping) and (part in value or part in fields):
            keys.append(str(part))
            value = value.get(part)
        elif (
            isinstance(value, list) and isinstance(part, int) and len(value) > part and isinstance(value[part], Mapping)
        ):
            value = value[part]
            keys.append(str(value.get("name", part)))
        else:  # an element of a plain list, or a member of a union
            break
        if field := fields.get(str(part)):
            expected, fields = field.description or expected, _fields(field.annotation) or fields
    key = ".".join(keys)
    if first["type"] in ("extra_forbidden", "invalid_key"):
        return f"{key}: no such key{nearest_hint(keys[-1], fields)}; keys: {', '.join(fields)}"
    if first["type"] == "value_error" and (text := str(first["ctx"]["error"])):
        return f"{key}: {text}" if key else text
    if not key:
        return f"expected a mapping with the keys {', '.join(fields)}"
    wrong = " is missing" if first["type"] == "missing" else f"={_shown(value)}"
    return f"{key}{wrong}: expected {expected or first['msg']}"


def _fields(annotation: Any) -> dict[str, FieldInfo]:
    """The fields, by their key in the file, of the first model in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {field.alias or name: field for name, field in annotation.model_fields.items()}
    return next((found for argument in get_args(annotation) if (found := _fields(argument))), {})


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
