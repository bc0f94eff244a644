"""A researcher and an engineer with API keys, in a shell and a browser, on the whole product with scripted trials."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from standardwebhooks import Webhook

from dermatriage_client import Client, Refused, Retries
from migrations import migrated
from models_store.database import Database
from models_store.datasets.synthetic import generate
from models_store.tables import WebhookAddress
from service.access import keys
from service.access.keys import Scope
from tests.end_to_end.browser import visit
from tests.end_to_end.stack import Stack, eventually

# 38 malignant lesions in validation: enough for the default guarantee, too few for a target of 0.95.
COUNTS = (150, 200, 60)
SECRET = "a secret of the journeys"
SMALL = {"dataset": "synthetic", "architectures": ["CNN_v1"], "strategies": []}
Shell = Callable[..., str]
Received = list[tuple[dict[str, str], bytes]]


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """The text of each person's key, once the stack made it."""
    return {}


@pytest.fixture(scope="module")
def stack(browser: Browser, secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Asks for the browser first."""
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("journeys")
    url = f"sqlite:///{folder}/dermatriage.db"
    people: dict[str, list[Scope]] = {"rita": ["read", "submit"], "emil": ["admin"]}
    with migrated(url) as database, database.write() as session:
        secrets |= {name: keys.create(session, name, scopes)[1] for name, scopes in people.items()}
    stack = Stack(folder, url, {"auth": "keys"})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def home(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.web_port}"


@pytest.fixture
def shell(stack: Stack, home: str, secrets: dict[str, str], tmp_path: Path) -> Shell:
    """Runs a command as rita does, in a folder that knows nothing of the server but its address and her key."""
    inherited = {name: value for name, value in stack.environment.items() if not name.startswith("DERMATRIAGE_")}
    environment = inherited | {"DERMATRIAGE_URL": home, "DERMATRIAGE_API_KEY": secrets["rita"]}

    def run(*arguments: str, exit_code: int = 0) -> str:
        command = [sys.executable, "-m", "service.cli", *arguments]
        ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert ended.returncode == exit_code, ended.stderr
        return ended.stdout + ended.stderr

    return run


@pytest.fixture
def emil(stack: Stack, home: str, secrets: dict[str, str]) -> Iterator[Client]:
    with Client(home, key=secrets["emil"], retries=Retries(most=0)) as client:
        yield client
    stack.direct()


@pytest.fixture
def webhooks() -> Iterator[tuple[str, Received]]:
    """The address of a receiver, and what it received."""
    received: Received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()


def webhooks_are_on(stack: Stack) -> bool:
    with suppress(OperationalError), Database(stack.database_url).read() as session:
        return session.scalar(select(WebhookAddress).where(WebhookAddress.url_sha256.is_not(None))) is not None
    return False


def test_a_researcher_registers_from_elsewhere_and_learns_why_a_trial_won_and_what_differs(
    browser: Browser, stack: Stack, home: str, secrets: dict[str, str], shell: Shell, tmp_path: Path
) -> None:
    generate(tmp_path / "clinic.npz", counts=COUNTS)
    assert f"on {home}." in shell("dataset", "register", "clinic.npz", "--name", "clinic")
    # When too much is asked of the data set, then the answer says what would do
    networks = ("--architecture", "CNN_v1", "--architecture", "CNN_v2", "--set", "strategies=[]")
    submit = ("submit", "--dataset", "clinic", *networks)
    refused = shell(*submit, "--set", "calibration.target_recall=0.95", exit_code=2)
    assert "needs at least 59 malignant lesions" in refused
    assert "Lower calibration.target_recall to 0.92" in refused
    # When it is lowered, then the experiment runs, and its trials are ranked with the reason
    stack.direct(CNN_v2_W3={"metrics": {"val_recall": 0.95}})
    shell(*submit, "--promote", "always", "--watch")
    shown = shell("show", "latest")
    experiment_id = shown.split()[0]
    assert "CNN_v2/W3 is first of 2: it has the highest recall, 0.950 against 0.900 of CNN_v1/W3" in shown
    assert " by rita" in shown
    assert "Promoted: asked for by the experiment" in shown
    # When it is run again with another seed from its page, then both can be compared
    with visit(browser, home) as visitor:
        page = visitor.page
        visitor.open("/sign-in")
        page.get_by_label("API key").fill(secrets["rita"])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{home}/")
        visitor.open(f"/experiments/{experiment_id}")
        page.get_by_role("link", name="Run again with changes").click()
        expect(page.get_by_label("Data set")).to_have_value("clinic")
        page.get_by_text("Settings of every trial").click()
        page.get_by_label("Seed").fill("43")
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/experiments/exp_*")
        again = page.url.rpartition("/")[2]
        page.get_by_role("link", name="Result", exact=True).wait_for()
        visitor.open("/")
        for chosen in (experiment_id, again):
            expect(page.locator(f"#row-{chosen}")).to_contain_text("by rita")
            page.locator(f"#row-{chosen} input").check()
        page.get_by_role("button", name="Compare the chosen experiments").click()
        expect(page.get_by_role("heading", name="Compare experiments")).to_be_visible()
        expect(page.get_by_role("table", name="Test results at the threshold")).to_be_visible()
        expect(page.locator("main")).to_contain_text("seed")
        assert visitor.is_clean()
    # An id may be cut short
    assert experiment_id in shell("show", experiment_id[:12])


def test_an_engineer_sees_the_queue_cleans_up_retries_and_turns_webhooks_on(
    stack: Stack, home: str, secrets: dict[str, str], emil: Client, webhooks: tuple[str, Received]
) -> None:
    address, received = webhooks
    # Given an experiment that keeps the worker busy, and another behind it
    stack.direct(every={"seconds": 60})
    with Client(home, key=secrets["rita"]) as rita:
        first = rita.submit(SMALL).id
        eventually(lambda: emil.experiment(first).status == "running")
        second = rita.submit(SMALL | {"seed": 2}).id
    waiting = emil.experiment(second)
    assert waiting.waiting is not None
    assert (waiting.waiting.position, waiting.submitted_by) == (1, "rita")
    # When the first is cancelled, then it can be deleted, not before
    with pytest.raises(Refused, match="is running"):
        emil.delete_experiment(first)
    stack.direct(every={"end": "refused"})
    emil.cancel(first)
    eventually(lambda: emil.experiment(first).status == "cancelled")
    emil.delete_experiment(first)
    with pytest.raises(Refused, match="was deleted by emil"):
        emil.experiment(first)
    assert emil.prune(dry_run=True).predictions == 0
    # When the second has failed, while webhooks were off, and they are turned on
    eventually(lambda: emil.experiment(second).status == "failed")
    stack.kill("sweeper")
    stack.changes["sweeper"] = {"DERMATRIAGE_WEBHOOK_URL": address, "DERMATRIAGE_WEBHOOK_SECRET": SECRET}
    stack.start_process("sweeper")
    eventually(lambda: webhooks_are_on(stack), what="turning webhooks on")
    # Then a retry, which keeps its submitter, is the first end that is sent
    stack.direct()
    assert emil.retry(second).submitted_by == "rita"
    eventually(lambda: received, what="a webhook")
    ((headers, body),) = received
    told = Webhook(SECRET.encode()).verify(body, headers)
    assert (told["experiment"], told["status"]) == (second, "succeeded")
