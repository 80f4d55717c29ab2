"""The shapes of what the API takes and answers; `openapi.py` describes them from here."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MOST_IDS = 20_000  # photos moved in one step
Id = Annotated[str, Meta(pattern="^[0-9a-f]{16}$", description="A photo; another once it moved.")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=2000)]


# What is asked for.


class NameAsked(Struct, forbid_unknown_fields=True):
    name: Name


class ToAsked(Struct, forbid_unknown_fields=True):
    to: Name


class IntoAsked(Struct, forbid_unknown_fields=True):
    into: Name


class DisplayAsked(Struct, forbid_unknown_fields=True):
    display: Annotated[str, Meta(max_length=200, description="Empty: as the folder is called.")]


class TemplateAsked(Struct, forbid_unknown_fields=True):
    template: Annotated[Text, Meta(description="With {} once, the class name's place.")]


class ToClass(Struct, forbid_unknown_fields=True):
    class_: Name = msgspec.field(name="class")


class MoveAsked(Struct, forbid_unknown_fields=True):
    ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST_IDS)]
    to: Annotated[
        str | ToClass,
        Meta(description='{"class": NAME}, "background", "set-aside", or "back" from there.'),
    ]


class LearnAsked(Struct, forbid_unknown_fields=True):
    again: bool = False


class AutoAsked(Struct, forbid_unknown_fields=True):
    on: bool


class PhotosAsked(Struct, forbid_unknown_fields=True):
    """With none of the first three: the photos of all classes."""

    class_: Name | None = msgspec.field(name="class", default=None)
    background: Annotated[str, Meta(max_length=10)] | None = None
    set_aside: Annotated[str, Meta(max_length=10)] | None = msgspec.field(
        name="set-aside", default=None
    )
    offset: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class AddAsked(Struct, forbid_unknown_fields=True):
    """One of the first two."""

    class_: Name | None = msgspec.field(name="class", default=None)
    background: Annotated[str, Meta(max_length=10)] | None = None
    burst: Annotated[str, Meta(max_length=10)] | None = None


class WordsAsked(Struct, forbid_unknown_fields=True):
    class_: Name | None = msgspec.field(name="class", default=None)
    display: Annotated[str, Meta(max_length=200)] | None = None
    template: Text | None = None


# What is answered.


class ClassState(Struct):
    name: str
    display: str
    photos: int  # files that cannot be used, such as unreadable ones, are not counted
    held_out: int  # of these
    left_out: int  # those files; `left_out` of the look names them


class LookStateAnswer(Struct):
    state: str
    version: str | None
    why: str | None
    done: int
    of: int


class Point(Struct):
    queries: int
    loss: float | None
    val_accuracy: float | None


class LearnState(Struct):
    state: str
    queries: int
    of: int | None
    seconds_left: float | None
    stage: str | None
    why: str | None
    told: list[str]
    resumable: bool  # learning goes on with what was stopped
    stopped: str | None  # the folder of what was stopped, for `tune --resume`
    why_not_resumable: str | None  # something was stopped, and would begin anew
    up_to_date: bool
    auto: bool


class LearnAnswer(LearnState):
    history: list[Point]


class State(Struct):
    version: str
    data: str
    run: str
    template: str
    classes: list[ClassState]
    background: int  # as of a class
    background_left_out: int
    set_aside: int
    waiting: int  # of those, how many `watch` saved to be labelled
    learn: LearnState
    look: LookStateAnswer
    can_undo: str | None
    can_redo: str | None
    notes: list[str]


class SaysAnswer(Struct):
    class_: str = msgspec.field(name="class")
    display: str
    probability: float
    known: bool | None
    sure: bool


class Photo(Struct):
    id: str
    class_: str | None = msgspec.field(name="class")
    part: str
    name: str
    suspect: bool
    misread_as: str | None
    sure: bool | None
    known: bool | None
    # Of photos set aside alone.
    says: SaysAnswer | None = None  # what the classifier says; asked again where it is not yet
    can_go_back: bool = False  # it comes from a class that is there, or the background


class PhotoList(Struct):
    photos: list[Photo]
    total: int


class StepAnswer(Struct):
    id: int
    time: str
    text: str
    undone: bool


class Done(Struct):
    step: StepAnswer | None  # null: learning is no step that can be undone
    told: list[str]


class Refused(Struct):
    file: str  # as the client called it
    why: str


class AddedAnswer(Struct):
    step: StepAnswer | None
    told: list[str]
    added: int
    ids: list[str]
    copies: int  # left out, since their content is there already
    copies_of: list[str | None]  # the classes that have it; null: the background
    near_duplicates: int
    refused: list[Refused]


class HistoryAnswer(Struct):
    steps: list[StepAnswer]  # oldest first


class ShareAnswer(Struct):
    right: int
    photos: int
    share: float  # 0 to 1
    plus_minus: float


class WordsAnswer(Struct):
    before: ShareAnswer
    after: ShareAnswer
    photos: int


class Said(Struct):
    id: str
    class_: str = msgspec.field(name="class")
    said: str
    probability: float


class SuspectAnswer(Struct):
    id: str
    class_: str = msgspec.field(name="class")
    looks_like: str
    probability: float


class ClassName(Struct):
    name: str
    display: str


class TunedAnswer(Struct):
    prompt: ShareAnswer  # alone
    classifier: ShareAnswer  # prompt and head, as it answers


class ValidationAnswer(Struct):
    prompt: float | None  # 0 to 1
    classifier: float | None
    photos: int


class LookAnswer(Struct):
    version: str
    how: str  # "held-out" or "judged-by-others"
    shots: int  # a class, to learn from; 0: all but a fifth, kept apart
    taught: int  # photos that were learnt from
    photos: int  # that judge
    before: ShareAnswer
    after: ShareAnswer
    tuned: TunedAnswer | None  # of the run, also one that was stopped, on the photos that judge
    why_not: str | None  # there is none
    tuned_validation: ValidationAnswer | None  # that run's own figures
    tuned_up_to_date: bool  # that run is of the photos, names and template as they are
    tuned_finished: bool  # it was not stopped before its end
    threshold: float | None  # 0 to 1; a likelier answer is sure
    lists_of: str  # who said what follows: "heads", the quick classifier
    classes: list[ClassName]
    confusion: list[list[int]]  # row: the class; column: what is said
    misread: list[Said]
    unsure: list[Said]
    refused: list[Said]
    suspects: list[SuspectAnswer]
    near_duplicates: list[list[str]]
    wanting: list[str]  # classes
    notes: list[str]
    left_out: list[Refused]  # files that nothing learns from, by their place in the folder


class Answered(Struct):
    class_: str = msgspec.field(name="class")
    display: str
    probability: float


class Like(Struct):
    id: str
    class_: str = msgspec.field(name="class")
    similarity: float


class TryAnswer(Struct):
    answers: list[Answered]  # the likeliest first
    known: bool | None  # false: none of these; null: that cannot be told, of too few photos
    sure: bool
    threshold: float | None  # 0 to 1; a likelier answer is sure
    by: str  # "run": the tuned prompt; "heads": learnt just now, prompt not tuned yet
    up_to_date: bool  # that one is of the photos, names and template as they are
    like: list[Like]


class TakeFile(Struct):
    name: str
    bytes: int


class TakeAnswer(Struct):
    ready: bool
    why: str | None
    up_to_date: bool  # made of the photos, names and template as they are
    finished: bool  # not stopped before its end
    none_of_these: bool  # it tells photos that are none of these; else too few taught that
    files: list[TakeFile]
    command: str


class CameraAnswer(Struct):
    available: bool
    why: str | None


class News(Struct):
    version: str | None
    learn: LearnState
    look: LookStateAnswer
