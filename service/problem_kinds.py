"""Every kind of problem that the service answers with. `/problems/NAME`, the `type` of a problem, shows its entry."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProblemKind:
    """`meaning` and `remedy` hold for every problem of the kind; a single problem may have a more exact detail."""

    status: int
    title: str
    meaning: str
    remedy: str


REGISTER_ON_THE_SERVER = "dermatriage dataset register --direct"

KINDS: dict[str, ProblemKind] = {
    "bad-request": ProblemKind(
        400,
        "The request cannot be read",
        "the body is not what its Content-Type says, or the address holds a character that no address may hold",
        "Check that the body is what its Content-Type says.",
    ),
    "unauthorized": ProblemKind(
        401,
        "A key is needed",
        "the request has no API key, or one that is not in use",
        "Send the header `Authorization: Bearer dt_…`; `dermatriage keys create` makes a key.",
    ),
    "forbidden": ProblemKind(
        403,
        "This is not allowed",
        "the API key lacks the scope that the request takes, or another web site sent the request through a browser",
        "Make a key with `dermatriage keys create --scope SCOPE NAME`; GET /docs names the scope of each operation.",
    ),
    "form-out-of-date": ProblemKind(
        403,
        "The form is out of date",
        "the form belongs to another session",
        "Load the page again and submit the form again.",
    ),
    "not-found": ProblemKind(
        404, "There is no such address", "nothing is at this address", "GET /docs lists every address."
    ),
    "experiment-not-found": ProblemKind(
        404,
        "There is no such experiment",
        "no experiment has the id in the address",
        "GET /v1/experiments lists those there are.",
    ),
    "trial-not-found": ProblemKind(
        404,
        "There is no such trial",
        "no trial has the id in the address",
        "GET /v1/experiments/{id}/trials lists those of an experiment.",
    ),
    "log-not-found": ProblemKind(
        404,
        "The trial log is empty",
        "the process of the trial has written nothing to its log yet",
        "A trial writes its log once it runs; GET /v1/trials/{id} shows whether it does.",
    ),
    "model-not-found": ProblemKind(
        404,
        "There is no such model",
        "no model has the version in the address",
        "GET /v1/models lists those there are.",
    ),
    "validation-not-kept": ProblemKind(
        404,
        "The bundle keeps no validation scores",
        "the model was made by an earlier version, which kept no scores of single validation images",
        "Run the experiment again: new models keep them.",
    ),
    "dataset-not-found": ProblemKind(
        404,
        "There is no such data set",
        "no data set has this name",
        "GET /v1/datasets lists those there are; `dermatriage dataset register PATH --name NAME` adds one.",
    ),
    "prediction-not-found": ProblemKind(
        404,
        "There is no such prediction",
        "no prediction with the id in the address is recorded",
        "Use the prediction_id of an answer, a second after it came; GET /v1/predictions lists those recorded.",
    ),
    "method-not-allowed": ProblemKind(
        405,
        "The address does not allow this method",
        "the address exists, and allows other methods",
        "The Allow header and GET /docs list the methods of this address.",
    ),
    "request-timeout": ProblemKind(
        408,
        "The body came too slowly",
        "the body took longer than UPLOAD_SECONDS allows, or that of a data set longer than DATASET_UPLOAD_SECONDS",
        "Send it faster, or in parts.",
    ),
    "experiment-finished": ProblemKind(
        409,
        "The experiment has already ended",
        "the experiment has succeeded or failed; there is nothing left to cancel",
        "Read its result with GET /v1/experiments/{id}.",
    ),
    "experiment-unfinished": ProblemKind(
        409,
        "The experiment has not ended",
        "an experiment that waits or runs cannot be deleted",
        "Cancel it with POST /v1/experiments/{id}/cancel, wait until it is cancelled, and delete it then.",
    ),
    "not-retryable": ProblemKind(
        409,
        "The experiment cannot be retried",
        "it has not failed, or none of its trials could end differently; the detail says which",
        "Read its state with GET /v1/experiments/{id}; POST /v1/experiments submits a new experiment.",
    ),
    "model-is-champion": ProblemKind(
        409,
        "The champion cannot be deleted",
        "the model answers predictions",
        "Make another version champion with POST /v1/models/{version}/promote first.",
    ),
    "nothing-to-roll-back-to": ProblemKind(
        409,
        "The champion has no predecessor",
        "no model was champion before this one",
        "POST /v1/models/{version}/promote makes any other version the champion.",
    ),
    "dataset-name-refused": ProblemKind(
        409,
        "The name is taken",
        "another data set has this name",
        "Choose another name.",
    ),
    "outcome-differs": ProblemKind(
        409,
        "The prediction has another outcome",
        "the outcome that was sent differs from the recorded one and has no `replaces`",
        "GET the same address for the recorded outcome; to correct it, send its number as `replaces`.",
    ),
    "revision-changed": ProblemKind(
        412,
        "The champion changed in the meantime",
        "the ETag in If-Match is older than the last promotion or rollback",
        "GET /v1/models/{version} gives the current ETag; send it as If-Match if the change is still wanted.",
    ),
    "revision-unknown": ProblemKind(
        412,
        "The If-Match header names no revision",
        "If-Match is not an ETag that this service gave out",
        'Send the ETag of GET /v1/models/{version} as it came, such as If-Match: "3", or leave the header out.',
    ),
    "content-too-large": ProblemKind(
        413,
        "More was sent than is accepted",
        "the request, or a file in it, has more bytes than the settings allow",
        "Send less, or in several requests: of one image, a JPEG at quality 90 and 2,000 pixels wide is ample. "
        f"Register a data set that is too large to send on the server: `{REGISTER_ON_THE_SERVER}`.",
    ),
    "image-format-unknown": ProblemKind(
        415,
        "The file is not an image that can be read",
        "the file is not PNG, JPEG, WebP, BMP or TIFF",
        "Send one PNG, JPEG, WebP, BMP or TIFF photograph of the lesion.",
    ),
    "body-not-an-image": ProblemKind(
        415,
        "The body is neither a form nor an image",
        "the Content-Type of the body is neither multipart/form-data nor an image's",
        "Send it as multipart/form-data with a field `file`, or as an image body (Content-Type: image/png).",
    ),
    "charset-unknown": ProblemKind(
        415,
        "The charset is not supported",
        "the Content-Type names a charset other than UTF-8, ASCII and ISO-8859-1",
        "Send UTF-8, or leave the charset out of Content-Type.",
    ),
    "invalid-request": ProblemKind(
        422,
        "The request is not valid",
        "a field of the body, or a parameter, is missing, unknown or outside its bounds",
        "Correct what `errors` lists; GET /docs shows every field, and GET /v1/catalog every name.",
    ),
    "idempotency-key-reused": ProblemKind(
        422,
        "The Idempotency-Key belongs to another experiment",
        "another experiment was submitted with the same Idempotency-Key",
        "Send a new key with a new experiment, or the same experiment with the same key.",
    ),
    "image-refused": ProblemKind(
        422,
        "The image is refused",
        "the image, or the zip that holds it, is damaged, too large, too small or of an extreme shape",
        "Send one PNG, JPEG, WebP, BMP or TIFF photograph of the lesion.",
    ),
    "lesions-unknown": ProblemKind(
        422,
        "The data set has no lesion ids",
        "a split by lesions needs a lesions file, and the data set has none",
        "Register the data set again with its lesions file beside it.",
    ),
    "dataset-invalid": ProblemKind(
        422,
        "The data set cannot be used",
        "the file of the data set is damaged or not in MedMNIST layout",
        "Register the original file again.",
    ),
    "too-little-evidence": ProblemKind(
        422,
        "The data set is too small for the experiment",
        "the data set has too few malignant images or lesions for the guarantee asked for, or a split has none at all",
        "Lower calibration.target_recall or calibration.confidence, or use a data set with more malignant images.",
    ),
    "too-many-requests": ProblemKind(
        429,
        "Too many requests",
        "the caller sent more requests a minute than the setting REQUESTS_PER_MINUTE allows",
        "Wait as long as Retry-After says, and send many images at once with POST /v1/predict/batch.",
    ),
    "client-gone": ProblemKind(
        499,
        "The client has gone",
        "the client closed the connection before the answer was there",
        "Wait for the answer.",
    ),
    "internal-error": ProblemKind(
        500,
        "Something unexpected happened",
        "the server failed to answer this request; the cause is in its log",
        "Try again; if it fails again, report it with the time of the request and the server's log.",
    ),
    "no-champion": ProblemKind(
        503,
        "No model answers yet",
        "no model has been promoted, or the promoted one failed its checks",
        'Submit an experiment with "promote": "always", or POST /v1/models/{version}/promote a finished one.',
    ),
    "not-ready": ProblemKind(
        503,
        "The service cannot do all of its work",
        "the database, the broker or the model does not answer",
        "Start what does not answer; without a model, promote one.",
    ),
    "overloaded": ProblemKind(
        503,
        "Too many uploads came at once",
        "this web process has as many images or data sets, or bytes of them, as it takes in at once",
        "Try again in a second; more web processes (DERMATRIAGE_WEB_PROCESSES) take in more.",
    ),
    "split-under-way": ProblemKind(
        503,
        "Another split is being made",
        "the server makes one split at a time",
        "Try again in a minute.",
    ),
    "bundle-altered": ProblemKind(
        503,
        "The store does not hold this model as it was written",
        "a file of the model's bundle is missing, or its checksum differs from the recorded one",
        "Restore the store from its backup; until then promote another version.",
    ),
    "dataset-unavailable": ProblemKind(
        503,
        "The data set cannot be read now",
        "the store, or the place from which the data set is downloaded, does not answer",
        "Try again later; the operator of the server has to check its store.",
    ),
    "database-unreachable": ProblemKind(
        503,
        "The database does not answer",
        "the database could not be reached, or was busy for too long",
        "Try again in a few seconds; GET /readyz says when it is back.",
    ),
    "too-many-connections": ProblemKind(
        503, "The server is busy", "the server has as many connections as it takes", "Try again in a few seconds."
    ),
    "disk-full": ProblemKind(
        507,
        "The server's disk is full",
        "there is no room on the server for what this request needs",
        "Try again later; the operator of the server has to free space; see its log.",
    ),
}
# The errors that the HTTP framework raises by itself.
BY_STATUS = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-timeout",
    413: "content-too-large",
}
