"""The API of learning: the state of everything, tuning, the look, other words, a try, the news."""

import asyncio
import math
from collections.abc import AsyncIterator
from threading import Lock

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from edge_sharpzo.album import NotThereError
from edge_sharpzo.album.contents import TEST
from edge_sharpzo.station.answers import (
    Answered,
    ClassName,
    ClassState,
    Done,
    LearnAnswer,
    LearnState,
    Like,
    LookAnswer,
    LookStateAnswer,
    News,
    Point,
    Refused,
    Said,
    ShareAnswer,
    State,
    SuspectAnswer,
    TryAnswer,
    TunedAnswer,
    ValidationAnswer,
    WordsAnswer,
    WordsAsked,
)
from edge_sharpzo.station.aside import waiting
from edge_sharpzo.station.calls import Asked
from edge_sharpzo.station.desk import HEADS, Desk
from edge_sharpzo.station.errors import AskedError
from edge_sharpzo.station.look import Look, Share
from edge_sharpzo.station.photos_api import check_template, rows_of
from edge_sharpzo.station.progress import TuneState
from edge_sharpzo.station.uploads import Upload, look_at, receive
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.text import is_line, shown

NEAREST = 6  # photos that are shown as the reason why
NEWS_EVERY, PING_EVERY = 1.0, 15.0  # seconds
OLD_NEWS = 3.0  # seconds for which a walk through the folder is news
_words = Lock()  # a text tower takes memory: one at a time


def state(desk: Desk, asked: Asked) -> State:  # noqa: ARG001
    """Everything that the page shows of itself."""
    contents, look = desk.contents(), desk.learner.look
    apart, unused = look.kept_apart() if look else frozenset(), desk.learner.left_out
    classes = []
    for each in contents.classes:
        used = [photo for photo in each.photos if photo.path not in unused]
        held_out = sum(photo.path in apart if look else photo.part == TEST for photo in used)
        left_out = len(each.photos) - len(used)
        classes.append(ClassState(each.name, each.display, len(used), held_out, left_out))
    background_unused = sum(photo.path in unused for photo in contents.background)
    undo, redo = desk.album.can_undo(), desk.album.can_redo()
    return State(
        contents.version,
        shown(str(desk.data)),
        shown(str(desk.run)),
        desk.template,
        classes,
        len(contents.background) - background_unused,
        background_unused,
        len(contents.set_aside),
        waiting(contents, desk.data),
        _learn_state(desk.tuner.state(), desk.tuner.auto),
        _look_state(desk),
        undo and shown(undo),
        redo and shown(redo),
        [shown(note) for note in [*contents.notes, *(look.notes if look else [])]],
    )


def _look_state(desk: Desk) -> LookStateAnswer:
    now = desk.learner.state
    return LookStateAnswer(now.state, now.version, now.why, now.done, now.of)


def _learn_state(now: TuneState, auto: bool) -> LearnState:
    return LearnState(
        now.state,
        now.queries,
        now.of,
        now.seconds_left,
        now.stage,
        now.why,
        now.told,
        now.resumable,
        shown(str(now.stopped)) if now.stopped else None,
        now.why_not_resumable,
        now.up_to_date,
        auto,
    )


def learn_state(desk: Desk, asked: Asked) -> LearnAnswer:  # noqa: ARG001
    """How far the tuning is, with its looks so far."""
    now = desk.tuner.state()
    history = [
        Point(each.queries, each.loss if math.isfinite(each.loss) else None, each.val_accuracy)
        for each in now.history
    ]
    plain = _learn_state(now, desk.tuner.auto)
    return LearnAnswer(**msgspec.structs.asdict(plain), history=history)


def learn(desk: Desk, asked: Asked) -> Done:
    """Begins to tune, or goes on."""
    desk.tuner.begin(asked.body.again)
    return Done(None, [])


def stop(desk: Desk, asked: Asked) -> Done:  # noqa: ARG001
    """Stops at the next step."""
    return Done(None, [] if desk.tuner.stop() else ["nothing is being tuned"])


def auto(desk: Desk, asked: Asked) -> Done:
    """Whether it tunes by itself when photos changed."""
    desk.tuner.auto = asked.body.on
    return Done(None, [])


def the_look(desk: Desk) -> Look:
    """The newest look. Raises AskedError where there is none."""
    if look := desk.learner.look:
        return look
    now = desk.learner.state
    raise AskedError(409, now.why or "nothing is learnt yet: wait a moment")


def _share(share: Share) -> ShareAnswer:
    return ShareAnswer(share.right, share.photos, share.share, share.plus_minus)


def look(desk: Desk, asked: Asked) -> LookAnswer:  # noqa: ARG001
    """What is right and wrong."""
    now = the_look(desk)
    run, judged, folders, ids = desk.tuner.folder.state(), now.judged, now.folders, now.ids
    tuned = now.tuned(run.prompt, run.learnt_from) if run.prompt else "no prompt is tuned yet"
    why_not = tuned if isinstance(tuned, str) else None
    said, top = judged.said, judged.probabilities.max(axis=1)

    def told(places: list[int]) -> list[Said]:
        return [
            Said(
                ids[judged.photos.paths[i]],
                folders[judged.photos.labels[i]],
                folders[said[i]],
                float(top[i]),
            )
            for i in places
            if judged.photos.paths[i] in ids
        ]

    looks_like, probabilities = now.judgement.looks_like(), now.judgement.probabilities
    alike = [[ids[path] for path in group if path in ids] for group in now.alike]
    return LookAnswer(
        version=now.version,
        how="held-out" if now.held_out else "judged-by-others",
        shots=now.shots,
        taught=now.learnt,
        photos=len(judged.photos),
        before=_share(now.before),
        after=_share(now.after),
        tuned=None if isinstance(tuned, str) else TunedAnswer(*map(_share, tuned)),
        why_not=why_not,
        tuned_validation=ValidationAnswer(*run.validation) if run.validation else None,
        tuned_up_to_date=run.is_of(desk.look_now()),
        tuned_finished=run.finished,
        threshold=now.prompt.calibration.threshold,
        lists_of=HEADS,
        classes=[ClassName(*each) for each in zip(folders, now.names, strict=True)],
        confusion=judged.confusion().tolist(),
        misread=told(now.misread()),
        unsure=told(now.unsure()),
        refused=told(now.refused()),
        suspects=[
            SuspectAnswer(
                ids[now.every.paths[i]],
                folders[now.every.labels[i]],
                folders[looks_like[i]],
                float(probabilities[i, looks_like[i]]),
            )
            for i in now.judgement.suspects()
            if now.every.paths[i] in ids
        ],
        near_duplicates=[group for group in alike if len(group) > 1],
        wanting=now.wanting(),
        notes=[shown(note) for note in now.notes],
        left_out=[Refused(*each) for each in now.left_out],
    )


def words(desk: Desk, asked: Asked) -> WordsAnswer:
    """What other words would do to the answers by words alone."""
    wanted: WordsAsked = asked.query
    now = the_look(desk)
    classes = len(now.text)
    names, template = now.names[:classes], now.template
    if wanted.template is not None:
        check_template(wanted.template)
        template = wanted.template
    if (wanted.class_ is None) != (wanted.display is None):
        raise AskedError(422, "give `class` and `display` together")
    if wanted.class_ is not None:
        if wanted.class_ not in now.folders[:classes]:
            raise NotThereError(f"there is no class '{shown(wanted.class_)}' with photos")
        if not wanted.display or not wanted.display.strip() or not is_line(wanted.display):
            raise AskedError(422, "give words of one line", "display")
        place = now.folders.index(wanted.class_)
        names = [*names[:place], wanted.display.strip(), *names[place + 1 :]]
    with _words:
        text = desk.clip.written_features(rows_of(desk, names, template, "template"))
    before, after = now.by_words(now.text), now.by_words(text)
    return WordsAnswer(_share(before), _share(after), len(now.every))


async def attempt(desk: Desk, request: Request, query: None) -> TryAnswer:  # noqa: ARG001
    """What is said of a photo."""
    received = await receive(request, "photo", 1, desk.album.incoming)
    try:
        return await to_thread.run_sync(_tried, desk, received.uploads[0], limiter=desk.pictures)
    finally:
        await to_thread.run_sync(received.clear)


def _tried(desk: Desk, upload: Upload) -> TryAnswer:
    look_at(upload, keep=False)
    if upload.why:
        raise AskedError(422, f"that photo cannot be used: {upload.why}", "photo")
    answerer, said, features, look = desk.answer(upload.path)
    names = answerer.displays
    like = look.nearest(features, NEAREST) if look else []
    return TryAnswer(
        [Answered(name, names.get(name, name), p) for name, p in said.probabilities.items()],
        said.known,
        said.sure,
        answerer.threshold,
        answerer.by,
        answerer.up_to_date,
        [
            Like(look.ids[path], look.folders[label], round(cosine, 4))
            for path, label, cosine in like
            if look and path in look.ids
        ],
    )


async def events(desk: Desk, request: Request, query: None) -> Response:  # noqa: ARG001
    """News as they come."""

    def news() -> bytes:
        version = desk.contents(OLD_NEWS).version
        learn = _learn_state(desk.tuner.state(), desk.tuner.auto)
        return msgspec.json.encode(News(version, learn, _look_state(desk)))

    async def told() -> AsyncIterator[bytes]:
        last, quiet = b"", 0.0
        while not desk.closing.is_set():
            try:
                now = await to_thread.run_sync(news)
            except UserError:  # the folder cannot be read: `state` says why
                now = last
            if now != last:
                yield b"data: " + now + b"\n\n"
                last, quiet = now, 0.0
            elif quiet >= PING_EVERY:
                yield b": still here\n\n"
                quiet = 0.0
            await asyncio.sleep(NEWS_EVERY)
            quiet += NEWS_EVERY

    if request.method == "HEAD":  # they have no end
        return Response(media_type="text/event-stream")
    return StreamingResponse(told(), media_type="text/event-stream")
