"""The API's endpoints, in one list: the routes and the OpenAPI file are made of it."""

from starlette.responses import Response

from edge_sharpzo.station import learn_api, photos_api, take_api
from edge_sharpzo.station.answers import (
    AddAsked,
    AddedAnswer,
    AutoAsked,
    CameraAnswer,
    DisplayAsked,
    Done,
    HistoryAnswer,
    IntoAsked,
    LearnAnswer,
    LearnAsked,
    LookAnswer,
    MoveAsked,
    NameAsked,
    PhotoList,
    PhotosAsked,
    State,
    TakeAnswer,
    TemplateAsked,
    ToAsked,
    TryAnswer,
    WordsAnswer,
    WordsAsked,
)
from edge_sharpzo.station.calls import Asked, Endpoint
from edge_sharpzo.station.desk import Desk

GET, POST = "GET", "POST"
CHANGING = (409, 507)
A_CLASS = "/api/classes/{name}"
A_PHOTO = "/api/photos/{id}"


def camera(desk: Desk, asked: Asked) -> CameraAnswer:  # noqa: ARG001
    """Whether the device has one."""
    why = desk.camera.why_not()
    return CameraAnswer(why is None, why)


def frame(desk: Desk, asked: Asked) -> Response:  # noqa: ARG001
    """What it sees."""
    return Response(desk.camera.frame(), media_type="image/jpeg")


ENDPOINTS = (
    Endpoint(GET, "/api/state", "Everything at a glance", learn_api.state, State),
    Endpoint(
        GET,
        "/api/photos",
        "Photos of a class, the background, or set aside",
        photos_api.photos,
        PhotoList,
        query=PhotosAsked,
        statuses=(404,),
    ),
    Endpoint(
        GET,
        f"{A_PHOTO}/thumbnail",
        "A photo as a WebP of at most 256 pixels",
        None,
        "image/webp",
        waits=photos_api.send_thumbnail,
        statuses=(404, 415),
    ),
    Endpoint(
        GET,
        f"{A_PHOTO}/image",
        "A photo as it is",
        photos_api.image,
        "image/*",
        statuses=(404, 415),
    ),
    Endpoint(
        POST,
        "/api/classes",
        "Makes a class",
        photos_api.new_class,
        Done,
        NameAsked,
        statuses=CHANGING,
    ),
    *(
        Endpoint(POST, f"{A_CLASS}/{path}", summary, does, Done, body, statuses=(404, *CHANGING))
        for path, summary, does, body in (
            ("rename", "Renames a class", photos_api.rename, ToAsked),
            ("merge", "Moves all photos of a class to another", photos_api.merge, IntoAsked),
            ("display", "Has prompts call a class otherwise", photos_api.display, DisplayAsked),
        )
    ),
    Endpoint(
        POST,
        f"{A_CLASS}/remove",
        "Removes a class without photos",
        photos_api.remove,
        Done,
        statuses=(404, *CHANGING),
    ),
    Endpoint(
        POST,
        "/api/template",
        "Chooses the template of prompts",
        photos_api.template,
        Done,
        TemplateAsked,
        statuses=CHANGING,
    ),
    Endpoint(
        GET,
        "/api/words",
        "What other words would do to answers by words alone",
        learn_api.words,
        WordsAnswer,
        query=WordsAsked,
        statuses=(404, 409),
    ),
    Endpoint(
        POST,
        "/api/photos",
        "Adds photos",
        None,
        AddedAnswer,
        query=AddAsked,
        waits=photos_api.add,
        takes_files="photos",
        statuses=(404, *CHANGING),
    ),
    Endpoint(
        POST,
        "/api/photos/move",
        "Moves photos",
        photos_api.move,
        Done,
        MoveAsked,
        statuses=(404, *CHANGING),
    ),
    Endpoint(
        POST,
        "/api/undo",
        "Undoes the newest step",
        photos_api.undo,
        Done,
        statuses=(404, *CHANGING),
    ),
    Endpoint(
        POST,
        "/api/redo",
        "Does the step again that was undone last",
        photos_api.redo,
        Done,
        statuses=(404, *CHANGING),
    ),
    Endpoint(GET, "/api/history", "Every step", photos_api.history, HistoryAnswer),
    Endpoint(
        POST,
        "/api/learn",
        "Begins to tune the prompt, or goes on",
        learn_api.learn,
        Done,
        LearnAsked,
        statuses=(409,),
    ),
    Endpoint(POST, "/api/learn/stop", "Stops tuning, with a checkpoint", learn_api.stop, Done),
    Endpoint(
        POST,
        "/api/learn/auto",
        "Whether it tunes by itself when photos changed",
        learn_api.auto,
        Done,
        AutoAsked,
    ),
    Endpoint(GET, "/api/learn", "How far tuning is", learn_api.learn_state, LearnAnswer),
    Endpoint(
        GET, "/api/look", "What is right and wrong", learn_api.look, LookAnswer, statuses=(409,)
    ),
    Endpoint(
        POST,
        "/api/try",
        "What is said of a photo",
        None,
        TryAnswer,
        waits=learn_api.attempt,
        takes_files="photo",
        statuses=(409, 507),
    ),
    Endpoint(GET, "/api/take", "What there is to take", take_api.take, TakeAnswer),
    Endpoint(
        GET,
        "/api/take/classifier.onnx",
        "The classifier, for any engine",
        take_api.classifier,
        "application/octet-stream",
        statuses=(404, 409),
    ),
    Endpoint(
        GET,
        "/api/take/labels.txt",
        "Its classes, one a line",
        take_api.labels,
        "text/plain",
        statuses=(404, 409),
    ),
    Endpoint(
        GET,
        "/api/take/run.zip",
        "The run folder",
        take_api.run_zip,
        "application/zip",
        statuses=(404, 409),
    ),
    Endpoint(GET, "/api/camera", "Whether the device has a camera", camera, CameraAnswer),
    Endpoint(GET, "/api/camera/frame", "What it sees now", frame, "image/jpeg", statuses=(409,)),
    Endpoint(
        GET,
        "/api/events",
        "News, as server-sent events",
        None,
        "text/event-stream",
        waits=learn_api.events,
    ),
)
