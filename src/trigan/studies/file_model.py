"""Files that users write, as pydantic models: strict types, and each mistake as one line of trigan's."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic.fields import FieldInfo

from trigan.config.settings_file import check_settings, load_yaml, read_plain
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError, is_printable

T = TypeVar("T")
#: A list in the file; a tuple in the model.
ListOf = Annotated[tuple[T, ...], Strict(False)]
#: A text; a number is taken for one, so that a row may be called 5.
Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]


def _one_line(name: str) -> str:
    if not is_printable(name):
        raise ValueError(f"{name!r}: expected a name without line breaks and control characters")
    return name


def _of_folder(name: str) -> str:
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"{name!r}: expected a name that a folder can have, without slashes")
    return name


def _checked(settings: tuple[str, ...]) -> tuple[str, ...]:
    check_settings(settings)
    return settings


#: A name of a row or column, and one that a folder gets too.
Name = Annotated[Text, AfterValidator(_one_line)]
FolderName = Annotated[Name, AfterValidator(_of_folder)]
#: Settings as they are written on a command line.
Settings = Annotated[
    ListOf[Annotated[str, Field(pattern="=")]],
    AfterValidator(_checked),
    Field(description="a list of settings, each written key=value"),
]


class FileModel(BaseModel):
    """A mapping in a file. The ``description`` of a field says what is expected there, also in the JSON Schema."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


M = TypeVar("M", bound=FileModel)


def read_file(model: type[M], path: Path, load: Callable[[str], Any] = load_yaml) -> M:
    """The checked content of a file, YAML by default; a ConfigError names the wrong key and what was expected."""
    content = read_plain(path, load)
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
