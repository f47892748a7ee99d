"""The API key, and credentials in URLs, are told to the server and to nobody else."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path

import pytest

from datagen.errors import UsageError
from datagen.files import Files
from datagen.llm.client import Client, ServersGone, complete
from datagen.llm.journal import Journal
from datagen.llm.wire import Wire
from datagen.testing.llm_server import Faults, Server
from tests.llm.asking import endpoint, request

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_KEY", KEY)


def test_the_key_reaches_the_server(tmp_path: Path) -> None:
    with Server(api_key=KEY) as server:
        ((_, good),) = complete(endpoint(server.url, api_key_env="LLM_KEY"), [request()])
        ((_, bad),) = complete(endpoint(server.url), [request()])
    assert good.reply and not bad.reply


def test_a_server_that_repeats_the_key_is_not_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    journal = Journal(Files(str(tmp_path)), "calls")
    told = []
    with Server(api_key="another") as server:  # its 401 says which key was given, as hosted servers do
        ((_, outcome),) = complete(endpoint(server.url, api_key_env="LLM_KEY"), [request()], journal)
        told += [repr(outcome), str(outcome)]
        assert "Incorrect API key provided: ***" in repr(outcome)
    with Server(answering=lambda body: {"leaked": KEY}, faults=Faults(http_500=0.2, drop=0.2)) as server:
        at = endpoint(server.url, api_key_env="LLM_KEY")
        told += [repr(each) for _, each in complete(at, [request(n, schema=None) for n in range(20)], journal)]
        assert any("leaked" in each for each in told)
    client = Client(at, journal)
    told += [repr(client), repr(at), repr(Wire(at)), at.model_dump_json(), repr(pickle.dumps(at)), caplog.text]
    try:
        list(complete(at.model_copy(update={"gone_s": 0.1}), [request(99)], journal))
    except ServersGone as error:
        told += ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    journal.close()
    told += [file.read_text("utf-8") for file in (tmp_path / "calls").iterdir()]
    assert len(told) > 20 and "leaked" in told[-1]
    assert not [each for each in told if KEY in each]


def test_credentials_in_a_url_are_hidden(tmp_path: Path) -> None:
    at = endpoint("http://somebody:pass-word@127.0.0.1:9/v1", gone_s=0.1, tries=1)
    ((_, outcome),) = complete(at, [request()])
    assert "NoConnection" in repr(outcome) and "127.0.0.1:9" in repr(outcome)
    assert "pass-word" not in repr(outcome) + repr(at) + repr(Wire(at))
    with pytest.raises(ValueError, match="not a URL") as caught:
        endpoint("ftp://somebody:pass-word@host/")
    assert "pass-word" not in str(caught.value)
    with pytest.raises(ValueError, match="not both"):
        endpoint("http://somebody:pass-word@host/", api_key_env="LLM_KEY")


def test_a_key_with_a_line_break_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_KEY", "sk-one\ninjected: header")
    with pytest.raises(UsageError, match="LLM_KEY") as caught:
        list(complete(endpoint("http://127.0.0.1:9", api_key_env="LLM_KEY"), [request()]))
    assert "sk-one" not in str(caught.value)
