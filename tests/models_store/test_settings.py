"""Settings from the environment and from the files that container engines mount."""

from pathlib import Path

import pytest

from models_store.settings import Settings

WITHOUT_PASSWORD = {"DATABASE_URL": "postgresql://triage@db:5432/triage", "BROKER_URL": "redis://cache:6379/0"}


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets, and an environment whose URLs hold no password."""
    monkeypatch.chdir(tmp_path)
    for name, url in WITHOUT_PASSWORD.items():
        monkeypatch.setenv(f"DERMATRIAGE_{name}", url)
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


def read(secrets: Path) -> Settings:
    return Settings(_secrets_dir=secrets)


def test_passwords_from_files_are_put_into_urls_that_hold_none(secrets: Path) -> None:
    (secrets / "dermatriage_database_password").write_text("p@ss/word\n")
    (secrets / "dermatriage_broker_password").write_text("s3cret\n")
    settings = read(secrets)
    assert settings.database_url == "postgresql://triage:p%40ss%2Fword@db:5432/triage"
    assert settings.broker_url == "redis://:s3cret@cache:6379/0"


def test_a_url_that_holds_a_password_keeps_it(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMATRIAGE_DATABASE_URL", "postgresql://triage:own@db/triage")
    (secrets / "dermatriage_database_password").write_text("other")
    assert read(secrets).database_url == "postgresql://triage:own@db/triage"


def test_a_url_without_a_host_takes_no_password(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMATRIAGE_DATABASE_URL", "sqlite:///var/dermatriage.db")
    (secrets / "dermatriage_database_password").write_text("unused")
    assert read(secrets).database_url == "sqlite:///var/dermatriage.db"


def test_a_whole_url_may_be_a_secret_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DERMATRIAGE_BROKER_URL")
    (secrets / "dermatriage_broker_url").write_text("redis://:s3cret@elsewhere:6379/0\n")
    assert read(secrets).broker_url == "redis://:s3cret@elsewhere:6379/0"


def test_the_environment_overrides_a_file(secrets: Path) -> None:
    (secrets / "dermatriage_database_url").write_text("postgresql://file/other")
    assert read(secrets).database_url == WITHOUT_PASSWORD["DATABASE_URL"]


def test_a_password_is_not_shown(secrets: Path) -> None:
    (secrets / "dermatriage_broker_password").write_text("s3cret")
    assert "s3cret" not in repr(read(secrets).broker_password)


def test_default_urls_do_not_count_as_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in WITHOUT_PASSWORD:
        monkeypatch.delenv(f"DERMATRIAGE_{name}", raising=False)

    assert not {"database_url", "broker_url"} & Settings().model_fields_set
