"""The methods of both clients, written once: each is a request, done at once by one client and awaited by the other."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from service.client import requests
from service.client.flows import Flow

if TYPE_CHECKING:
    from service.client.connections import AsyncClient, Client

Given = ParamSpec("Given")
Item = TypeVar("Item")


class One(Generic[Given, Item]):
    """A request with one answer: `client.verb(…)`, or `await client.verb(…)`."""

    def __init__(self, request: Callable[Given, Flow[Item]]) -> None:
        self.request = request

    @overload
    def __get__(self, client: "Client", owner: object) -> Callable[Given, Item]: ...

    @overload
    def __get__(self, client: "AsyncClient", owner: object) -> Callable[Given, Coroutine[Any, Any, Item]]: ...

    def __get__(self, client: Any, owner: object) -> Callable[Given, Any]:
        return _bound(self.request, client, "answer")


class Many(Generic[Given, Item]):
    """A request answered item by item: `for item in client.verb(…)`, or `async for`."""

    def __init__(self, request: Callable[Given, Flow[Item]]) -> None:
        self.request = request

    @overload
    def __get__(self, client: "Client", owner: object) -> Callable[Given, Iterator[Item]]: ...

    @overload
    def __get__(self, client: "AsyncClient", owner: object) -> Callable[Given, AsyncIterator[Item]]: ...

    def __get__(self, client: Any, owner: object) -> Callable[Given, Any]:
        return _bound(self.request, client, "stream")


class Verbs:
    """What the service can be asked; `requests.py` says what each takes and gives."""

    submit = One(requests.submit)
    experiments = Many(requests.experiments)
    experiment = One(requests.experiment)
    watch = Many(requests.watch)
    trials = One(requests.trials)
    trial = One(requests.trial)
    cancel = One(requests.cancel)
    report = One(requests.report)
    catalog = One(requests.catalog)
    models = Many(requests.models)
    model = One(requests.model)
    history = One(requests.history)
    card = One(requests.card)
    bundle = One(requests.bundle)
    promote = One(requests.promote)
    roll_back = One(requests.roll_back)
    predict = One(requests.predict)
    predict_batch = Many(requests.predict_batch)
    prediction = One(requests.prediction)
    ready = One(requests.ready)


def _bound(request: Callable[..., Flow[Any]], client: Any, how: str) -> Callable[..., Any]:
    if client is None:
        return request  # read from the class, as documentation tools do

    @wraps(request)
    def method(*args: Any, **named: Any) -> Any:
        return getattr(client, how)(request(*args, **named))

    return method
