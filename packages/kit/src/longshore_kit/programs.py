"""What a container runs, as queue files and pipelines describe it: one program, or a chain of stages.

Owns the models that a queue's `worker` and a pipeline's stages have in common, and what is wrong with a chain as a
whole. Refuses nothing of an image: any image is a worker, and any worker a stage.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema, field_validator
from pydantic.alias_generators import to_camel

from longshore_kit import contract
from longshore_kit.documents import Misfit, key_of, near, nearest
from longshore_kit.quantities import PATTERN, is_quantity, not_a_quantity
from longshore_kit.references import texts_in, unknown_references

Scalar: TypeAlias = str | bool | int | float
WORK: Final = "work"
"""As `${work}` the folder that the stages of a chain share, and a volume of this name: WORK_PATH."""
ADAPTER: Final = "multi-worker"
"""The container before the first stage, and its image."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STAGE_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_OWNED_VARIABLES: Final = frozenset(
    {
        contract.ITEM_FILE_VARIABLE,
        contract.ITEM_NAME_VARIABLE,
        contract.QUEUE_VARIABLE,
        contract.RESULT_FILE_VARIABLE,
    }
)


class Model(BaseModel):
    """What every part of a file is: keys in camelCase, and none that there is not."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=False, validate_by_alias=True
    )


class HostPath(Model):
    """A folder of the machine itself: works on the laptop and on Docker as it is."""

    path: str = Field(description="The folder; where it is relative, it counts from the queue file, on a laptop only.")
    type: Literal["Directory", "DirectoryOrCreate"] = Field(
        default="Directory", description="DirectoryOrCreate makes the folder where it is missing, as in Kubernetes."
    )


def _amount(value: Scalar) -> Scalar:
    if isinstance(value, bool) or not is_quantity(variable_text(value)):
        raise ValueError(not_a_quantity(variable_text(value)))
    return value


Amount: TypeAlias = Annotated[
    Scalar,
    AfterValidator(_amount),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": PATTERN}, {"type": "number", "minimum": 0}]}),
]
"""How much of a resource: a quantity of Kubernetes."""


class Program(Model):
    """What one container runs: any image, or on a laptop any command."""

    image: str = Field(default="", description="A shipped image by its short name (worker-ffmpeg), or any other.")
    command: tuple[str, ...] = Field(default=(), description="Instead of the image's entry point; may hold ${…}.")
    args: tuple[str, ...] = Field(default=(), description="Its arguments; may hold ${…}.")
    env: dict[str, Scalar] = Field(
        default={}, description="Its variables; values may hold ${…}.", examples=[{"NAME": "value"}]
    )
    script: str = Field(
        default="", description="For worker-script: the script itself, which gets the item as files and variables."
    )
    existing_secret: str = Field(
        default="", description="A Secret whose keys become variables; on a laptop they are those of `longshore run`."
    )
    volumes: tuple[str, ...] = Field(default=(), description="The volumes that it sees.")
    resources: dict[Literal["requests", "limits"], dict[str, Amount]] = Field(
        default={}, description="Kubernetes requests and limits.", examples=[{"requests": {"cpu": "500m"}}]
    )

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, Scalar]) -> dict[str, Scalar]:
        for name in env:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable")
            if name in _OWNED_VARIABLES:
                raise ValueError(f"{name} is set by Longshore for every worker")
        return env

    def problem(self) -> str:
        """What keeps it from being run at all; empty: nothing."""
        if not self.image and not self.command:
            return "set image, or command to run a program of this machine"
        if self.script and "SCRIPT" in self.env:
            return "script and env.SCRIPT say the same: keep one"
        return ""

    def texts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every text of it that may hold references, with its place."""
        yield from ((("command", index), text) for index, text in enumerate(self.command))
        yield from ((("args", index), text) for index, text in enumerate(self.args))
        yield from ((("env", name), str(value)) for name, value in self.env.items())


def _as_json(item: dict[str, JsonValue]) -> dict[str, JsonValue]:
    contract.encode(item)
    return item


class Stage(Program):
    """One link of a chain: an ordinary worker, with an item of its own."""

    name: str = Field(description="What it is called: small letters, digits and inner dashes, 40 at most.")
    item: Annotated[dict[str, JsonValue], AfterValidator(_as_json)] | None = Field(
        default=None, description="Its item's data, which may hold ${…}, ${work} too; default: the item's own data."
    )

    @field_validator("name")
    @classmethod
    def _label(cls, name: str) -> str:
        if not _STAGE_NAME.fullmatch(name):
            raise ValueError("use small letters, digits and inner dashes, 40 at most, and a letter first")
        if name == ADAPTER or name.startswith("longshore"):
            raise ValueError(f"{name!r} is one of Longshore's own names: call it otherwise")
        return name


def program_misfits(
    program: Program, place: tuple[str | int, ...], volumes: Mapping[str, object], *, in_chain: bool = False
) -> Iterator[Misfit]:
    """What of a program fits nothing else of its file: volumes that there are not, references to nothing."""
    for index, name in enumerate(program.volumes):
        if name not in volumes:
            yield Misfit((*place, "volumes", index), f"there is no volume {name!r}{nearest(name, volumes)}")
    for within, text in program.texts():
        if "\0" in text:
            yield Misfit((*place, *within), "has a NUL in it, which no argument or variable can hold")
        yield from _reference_misfits((*place, *within), text, program, place, volumes, in_chain=in_chain)


def chain_misfits(
    stages: Sequence[Stage], place: tuple[str | int, ...], volumes: Mapping[str, object]
) -> Iterator[Misfit]:
    """What is wrong with a chain: stages that are called alike, and what is wrong with each."""
    if WORK in volumes:
        yield Misfit(("volumes", WORK), f"${{{WORK}}} is the folder that stages share: call this volume otherwise")
    names = [stage.name for stage in stages]
    for index, stage in enumerate(stages):
        here = (*place, index)
        if stage.name in names[:index]:
            yield Misfit((*here, "name"), f"there is a stage {stage.name!r} before it already")
        if problem := stage.problem():
            yield Misfit(here, problem)
        yield from program_misfits(stage, here, volumes, in_chain=True)
        for within, text in texts_in(stage.item or {}):
            yield from _reference_misfits((*here, "item", *within), text, stage, here, volumes, in_chain=True)


def volume_variable(name: str) -> str:
    """The variable that names a volume's folder: `media` → `MEDIA_PATH`."""
    return f"{upper_snake(name)}_PATH"


def variable_text(value: Scalar) -> str:
    """A value of the file as a variable's text: booleans as true and false, numbers without a needless `.0`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def upper_snake(name: str) -> str:
    """`endpointUrl` and `endpoint-url` as ENDPOINT_URL."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", name).upper()


def unlisted_volume(
    variable: str, listed: Sequence[str], volumes: Mapping[str, object], place: tuple[str | int, ...]
) -> str | None:
    """
    What to do about a reference to a volume that the list at `place` has not; None: there is no such volume at all.

    Empty where the list has its name misspelt: then that is the mistake, and is told there.
    """
    name = next((name for name in volumes if volume_variable(name) == variable), None)
    if name is None:
        return None
    if any(near(one, volumes) == name for one in listed if one not in volumes):
        return ""
    return f"${{{variable}}} is the folder of the volume {name}: add {name} to {key_of(place)}"


def _reference_misfits(
    at: tuple[str | int, ...],
    text: str,
    program: Program,
    place: tuple[str | int, ...],
    volumes: Mapping[str, object],
    *,
    in_chain: bool,
) -> Iterator[Misfit]:
    place = (*place, "volumes")
    work = [WORK] if in_chain else []
    for path in unknown_references(text, dict.fromkeys([*map(volume_variable, program.volumes), *work], "")):
        words = unlisted_volume(path, program.volumes, volumes, place)
        if words is None:
            also = f", ${{{WORK}}}" if in_chain else ""
            words = (
                f"${{{path}}} is neither ${{item.…}}, ${{name}}{also} nor the folder of a volume in {key_of(place)}"
                f"{nearest(path, [*map(volume_variable, volumes), *work])}; write $${{{path}}} for the text itself"
            )
        if words:
            yield Misfit(at, words)
