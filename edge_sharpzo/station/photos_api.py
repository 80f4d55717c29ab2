"""The API of photos: what lies where, and every step that changes it."""

from collections.abc import Iterable, Sequence

import numpy as np
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from edge_sharpzo.album import AlbumPhoto, ClassFolder, Contents, NotThereError, Outcome, Step
from edge_sharpzo.clip.images import UnreadableImageError
from edge_sharpzo.photos.near_duplicates import near_duplicates
from edge_sharpzo.runs.options import info_of
from edge_sharpzo.station.answers import (
    AddAsked,
    AddedAnswer,
    Done,
    HistoryAnswer,
    Photo,
    PhotoList,
    PhotosAsked,
    Refused,
    StepAnswer,
    ToClass,
)
from edge_sharpzo.station.aside import can_go_back
from edge_sharpzo.station.calls import Asked
from edge_sharpzo.station.desk import Desk
from edge_sharpzo.station.errors import AskedError
from edge_sharpzo.station.look import Look
from edge_sharpzo.station.sending import file_response, opened
from edge_sharpzo.station.thumbnails import tag, thumbnail
from edge_sharpzo.station.uploads import MOST_FILES, Upload, look_at, receive
from edge_sharpzo.system.errors import PromptTooLongError
from edge_sharpzo.system.text import as_spoken, is_line, is_text, shown

# By content; what else a photo may be is sent as its thumbnail.
TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
}
LATER = "private, max-age=0, must-revalidate"


def step_answer(step: Step | None) -> StepAnswer | None:
    """A step as it is answered."""
    return None if step is None else StepAnswer(step.id, step.time, shown(step.text), step.undone)


def done(desk: Desk, outcome: Outcome) -> Done:
    """The answer to a step. Raises AskedError for one of which nothing was done."""
    desk.changed()
    told = [shown(text) for text in outcome.told]
    if outcome.step is None:
        raise AskedError(409, f"nothing was changed. {'; '.join(told)}")
    return Done(step_answer(outcome.step), told)


def _class(contents: Contents, name: str) -> ClassFolder:
    for each in contents.classes:
        if each.name == name:
            return each
    raise NotThereError(f"there is no class '{shown(name)}'")


def photos(desk: Desk, asked: Asked) -> PhotoList:
    """Some of the photos that lie in one place."""
    wanted: PhotosAsked = asked.query
    contents = desk.contents()
    chosen = [wanted.class_, wanted.background, wanted.set_aside]
    if sum(each is not None for each in chosen) > 1:
        raise AskedError(422, "ask for one class, or the background, or those set aside")
    if wanted.class_ is not None:
        found = _class(contents, wanted.class_).photos
    elif wanted.background is not None:
        found = contents.background
    elif wanted.set_aside is not None:
        found = contents.set_aside
    else:
        found = [photo for each in contents.classes for photo in each.photos]
    some = found[wanted.offset : wanted.offset + wanted.limit]
    marks = _Marks(desk.learner.look)
    listed = [marks.marked(photo) for photo in some]
    if wanted.set_aside is not None:
        for each, photo, says in zip(listed, some, desk.aside.says(some), strict=True):
            each.says, each.can_go_back = says, can_go_back(photo, contents, desk.data)
    return PhotoList(listed, len(found))


class _Marks:
    """What the newest look says of photos."""

    def __init__(self, look: Look | None):
        # By id, so that what came into the place of a photo that was looked at has none.
        self._misread: dict[str | None, str] = {}
        self._suspect: set[str | None] = set()
        self._judged: set[str | None] = set()
        self._unsure: set[str | None] = set()
        self._refused: set[str | None] = set()
        self._can_refuse = False
        if look is None:
            return
        ids = [look.ids.get(path) for path in look.judged.photos.paths]
        said = look.judged.said
        self._judged = set(ids)
        self._misread = {ids[i]: look.folders[said[i]] for i in look.misread()}
        self._unsure = {ids[i] for i in look.unsure()}
        self._refused = {ids[i] for i in look.refused()}
        self._suspect = {look.ids.get(look.every.paths[i]) for i in look.judgement.suspects()}
        self._can_refuse = look.judged.known is not None

    def marked(self, photo: AlbumPhoto) -> Photo:
        each, known = photo.id, photo.id in self._judged
        return Photo(
            each,
            _as_text(photo.class_name),
            photo.part,
            shown(photo.path.name),
            each in self._suspect,
            self._misread.get(each),
            each not in self._unsure and each not in self._refused if known else None,
            each not in self._refused if known and self._can_refuse else None,
        )


def _as_text(name: str | None) -> str | None:
    """As JSON can have it: what was set aside may come from a folder whose name is no text."""
    return name if name is None or is_text(name) else shown(name)


def _tagged(desk: Desk, asked: Asked) -> tuple[AlbumPhoto, dict[str, str], bool]:
    """A photo, headers of its answer, and whether the client has it already."""
    photo = desk.photo(asked.names["id"])
    try:
        etag = f'"{tag(photo.path)}"'
    except OSError as error:
        raise NotThereError("that photo is gone") from error
    known = [each.strip() for each in asked.headers.get("if-none-match", "").split(",")]
    return photo, {"etag": etag, "cache-control": LATER}, etag in known


def thumbnail_of(desk: Desk, asked: Asked) -> Response:
    """A photo's thumbnail."""
    photo, headers, same = _tagged(desk, asked)
    if same:
        return Response(status_code=304, headers=headers)
    try:
        return Response(thumbnail(photo.path), headers=headers, media_type="image/webp")
    except UnreadableImageError as error:
        raise AskedError(415, f"that photo cannot be read: {error}") from error


async def send_thumbnail(desk: Desk, request: Request, query: None) -> Response:  # noqa: ARG001
    """The same, with few decoded at once."""
    asked = Asked(request.path_params, None, None, request.headers)
    return await to_thread.run_sync(thumbnail_of, desk, asked, limiter=desk.pictures)


def image(desk: Desk, asked: Asked) -> Response:
    """A photo's file as it is."""
    photo, headers, same = _tagged(desk, asked)
    if same:
        return Response(status_code=304, headers=headers)
    try:
        file = opened(photo.path, follow=True)
    except OSError as error:
        raise NotThereError("that photo is gone") from error
    head = file.read(12)
    kind = next((kind for start, kind in TYPES.items() if head.startswith(start)), None)
    if kind is None or (kind == "image/webp" and head[8:] != b"WEBP"):
        file.close()
        return thumbnail_of(desk, asked)
    file.seek(0)
    return file_response(file, kind, headers)


def new_class(desk: Desk, asked: Asked) -> Done:
    """Makes a class."""
    rows_of(desk, [as_spoken(asked.body.name)], desk.template, "name")
    return done(desk, desk.album.new_class(asked.body.name))


def rename(desk: Desk, asked: Asked) -> Done:
    """Renames a class."""
    rows_of(desk, [as_spoken(asked.body.to)], desk.template, "to")
    return done(desk, desk.album.rename(asked.names["name"], asked.body.to))


def merge(desk: Desk, asked: Asked) -> Done:
    """Merges a class into another."""
    return done(desk, desk.album.merge(asked.names["name"], asked.body.into))


def remove(desk: Desk, asked: Asked) -> Done:
    """Removes a class without photos."""
    return done(desk, desk.album.remove_class(asked.names["name"]))


def display(desk: Desk, asked: Asked) -> Done:
    """Has prompts call a class otherwise."""
    rows_of(desk, [asked.body.display], desk.template, "display")
    return done(desk, desk.album.display(asked.names["name"], asked.body.display))


def check_template(template: str) -> None:
    """Raises AskedError where it has no place for a name."""
    info = info_of("template")
    if not (info.allowed(template) and is_line(template)):
        raise AskedError(422, info.cure, "template")


def rows_of(desk: Desk, names: Sequence[str], template: str, field: str) -> list[list[int]]:
    """The prompts' token ids. Raises AskedError where one is too long: nothing would learn."""
    try:
        return desk.written(names, template)
    except PromptTooLongError as error:
        raise AskedError(422, f"{error.fault}: shorten it", field) from error


def template(desk: Desk, asked: Asked) -> Done:
    """Chooses the template."""
    check_template(asked.body.template)
    names = [each.display for each in desk.contents().classes] or ["a"]
    rows_of(desk, names, asked.body.template, "template")
    return done(desk, desk.album.set_template(asked.body.template))


def move(desk: Desk, asked: Asked) -> Done:
    """Moves photos."""
    ids, to = list(dict.fromkeys(asked.body.ids)), asked.body.to
    album = desk.album
    if isinstance(to, ToClass):
        return done(desk, album.move(ids, to.class_))
    steps = {
        "background": album.move_to_background,
        "set-aside": album.move_aside,
        "back": album.put_back,
    }
    if to not in steps:
        raise AskedError(422, f"to: one of {', '.join(steps)}, or a class", "to")
    return done(desk, steps[to](ids))


def undo(desk: Desk, asked: Asked) -> Done:  # noqa: ARG001
    """Undoes the newest step."""
    return done(desk, desk.album.undo())


def redo(desk: Desk, asked: Asked) -> Done:  # noqa: ARG001
    """Does the step again that was undone last."""
    return done(desk, desk.album.redo())


def history(desk: Desk, asked: Asked) -> HistoryAnswer:  # noqa: ARG001
    """Every step."""
    return HistoryAnswer([made for each in desk.album.history() if (made := step_answer(each))])


async def add(desk: Desk, request: Request, query: AddAsked) -> AddedAnswer:
    """Adds photos to a class, or to the background."""
    if (query.class_ is None) == (query.background is None):
        raise AskedError(422, "say to which class: ?class=NAME, or ?background=1")
    if query.class_ is not None:  # before anything is sent in vain
        contents = await to_thread.run_sync(desk.contents)
        _class(contents, query.class_)
    received = await receive(request, "photos", MOST_FILES, desk.album.incoming)
    try:
        for upload in received.uploads:
            await to_thread.run_sync(look_at, upload, limiter=desk.coming_in)
        good = [upload for upload in received.uploads if not upload.why]
        alike = 0
        if query.burst is not None and len(good) > 1:
            kept = await to_thread.run_sync(_without_twins, desk, good, limiter=desk.coming_in)
            alike, good = len(good) - len(kept), kept
        return await to_thread.run_sync(_added, desk, query, received.uploads, good, alike)
    finally:
        await to_thread.run_sync(received.clear)


def _without_twins(desk: Desk, uploads: list[Upload]) -> list[Upload]:
    """Those of a burst of which none is nearly the same as one before."""
    seen = list(desk.learner.eyes.each([upload.path for upload in uploads], lambda i, why: None))
    if not seen:
        return uploads
    features = np.stack([each.features for each in seen])
    sketches = np.stack([each.sketch for each in seen])
    groups = near_duplicates(features, sketches, range(len(seen)))
    dropped = {seen[i].place for group in groups for i in group[1:]}
    return [upload for place, upload in enumerate(uploads) if place not in dropped]


def _added(
    desk: Desk, query: AddAsked, uploads: Iterable[Upload], good: list[Upload], alike: int
) -> AddedAnswer:
    refused = [Refused(upload.name, upload.why) for upload in uploads if upload.why]
    if not good:
        return AddedAnswer(None, [], 0, [], 0, [], alike, refused)
    names = {upload.path: upload.name for upload in good}
    added = desk.album.add([upload.path for upload in good], query.class_)
    desk.changed()
    refused += [Refused(names[path], why) for path, why in added.refused]
    return AddedAnswer(
        step_answer(added.step),
        [shown(text) for text in added.told],
        len(added.photos),
        [photo.id for photo in added.photos],
        len(added.copies),
        [_as_text(name) for name in added.copies_of],
        alike,
        refused,
    )
