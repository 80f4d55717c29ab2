"""The classifier at work: frames from a folder, a video or a camera, each with its answer."""
