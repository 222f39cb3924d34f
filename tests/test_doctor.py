"""The doctor's rules: what a check may do to the others, and what a report may not contain."""

from __future__ import annotations

import errno
import getpass
import io
import json
import tarfile
import threading

import pytest

from vbofs.daemon.background import default_log
from vbofs.doctor import CHECKS, Finding, Patient, Verdict, disk, examine, machine, network
from vbofs.doctor.bundle import write
from vbofs.doctor.finding import ok, problem, warning
from vbofs.doctor.redaction import redacted, without_passwords
from vbofs.errors import BundleUnwritable, CacheFull
from vbofs.remote import probe
from vbofs.remote.probe import endpoint_of


@pytest.fixture
def patient(settings):
    return Patient(settings)


# --- how checks are run


def test_findings_come_in_the_order_of_the_checks_with_their_names(patient):
    checks = {
        "one": lambda _: iter([ok("a"), warning("b", "cure")]),
        "two": lambda _: iter([problem("c")]),
    }
    assert list(examine(patient, checks)) == [
        Finding("one", Verdict.OK, "a"),
        Finding("one", Verdict.WARNING, "b", "cure"),
        Finding("two", Verdict.PROBLEM, "c"),
    ]


def test_an_error_of_ours_is_a_problem_in_its_own_words(patient):
    def full(_):
        raise CacheFull("no space left")
        yield

    assert list(examine(patient, {"x": full})) == [Finding("x", Verdict.PROBLEM, "no space left")]


def test_a_check_that_fails_stops_no_other(patient):
    def broken(_):
        yield ok("first")
        raise OSError(errno.EIO, "Input/output error")

    found = list(examine(patient, {"x": broken, "y": lambda _: iter([ok("fine")])}))
    assert [finding.verdict for finding in found] == ["ok", "warning", "ok"]
    assert "could not be looked at" in found[1].text


def test_a_check_that_hangs_is_left_behind(patient):
    never = threading.Event()

    def hanging(_):
        never.wait()
        yield ok("too late")

    found = list(examine(patient, {"x": hanging, "y": lambda _: iter([ok("fine")])}, 0.05))
    never.set()
    assert [(f.check, f.verdict) for f in found] == [("x", "problem"), ("y", "ok")]


def test_every_check_says_what_it_looks_at():
    assert all(check.__doc__ for check in CHECKS.values())
    assert all(len(name) <= 12 for name in CHECKS)


# --- single checks


def test_flawed_settings_are_the_first_problem(patient):
    patient.flaw = "unknown key 'x'"
    found = next(examine(patient))
    assert (found.check, found.verdict) == ("settings", "problem")
    assert "unknown key 'x'" in found.text


def test_offline_nobody_is_asked(make_settings):
    patient = Patient(make_settings(offline=True, endpoint_url="http://127.0.0.1:9"))
    for check in (network.names, network.endpoint, network.clock, network.bucket):
        (said,) = check(patient)
        assert said == ok("not asked, for the settings say offline")


def test_one_broken_thing_is_one_problem(make_settings):
    patient = Patient(make_settings(endpoint_url="http://nowhere.invalid"))
    checks = {name: CHECKS[name] for name in ("names", "endpoint", "clock", "bucket", "throughput")}
    verdicts = [finding.verdict for finding in examine(patient, checks)]
    assert verdicts == ["problem", *["warning"] * 4]


def test_a_cache_that_is_not_there_yet_is_fine_and_stays_away(patient):
    (said,) = disk.cache(patient)
    assert said.verdict == "ok"
    assert not patient.settings.cache_dir.exists()


def test_a_cache_that_is_a_file_is_a_problem_and_one_that_is_empty_stays_so(
    make_settings, tmp_path
):
    (said,) = disk.cache(Patient(make_settings(cache_dir="/dev/null")))
    assert said.verdict == "problem"
    (tmp_path / "empty").mkdir()
    patient = Patient(make_settings(cache_dir=tmp_path / "empty"))
    assert [said.verdict for said in disk.cache(patient)] == ["ok"]
    assert "MB/s written" in next(disk.speed(patient)).text  # However fast the disk is.
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_disk_with_less_than_is_to_be_kept_free_is_a_warning(make_settings):
    (said, *_) = disk.space(Patient(make_settings(keep_free="900T")))
    assert said.verdict == "warning"
    assert "takes no more" in said.text


def test_few_descriptors_are_a_warning(patient, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    (said,) = machine.descriptors(patient)
    assert said.verdict == "warning"
    assert "LimitNOFILE" in said.cure


def test_less_memory_than_the_daemon_may_take_is_a_warning(make_settings):
    (said,) = machine.memory(Patient(make_settings(memory="900T")))
    assert said.verdict == "warning"
    (said,) = machine.memory(Patient(make_settings(memory="128M")))
    assert said.verdict == "ok"


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://visual-behavior-ophys-data.s3.us-west-2.amazonaws.com"),
        (
            {"bucket": "a.b", "project": "p"},
            "https://s3.us-west-2.amazonaws.com/a.b",
        ),
        ({"endpoint_url": "http://10.0.0.1:9000"}, "http://10.0.0.1:9000"),
    ],
)
def test_the_endpoint_is_where_the_daemon_would_ask(make_settings, options, url):
    assert endpoint_of(make_settings(**options)).url == url


@pytest.mark.parametrize("date", ["nonsense", "", "Mon, 01 Jan 99999 00:00:00 GMT"])
def test_a_server_that_does_not_say_the_time_is_not_compared(date):
    assert probe._skew({"Date": date}, 0.0) is None
    assert probe._skew({}, 0.0) is None


def test_a_proxy_is_the_first_hop(make_settings, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.example:3128")
    settings = make_settings()
    assert network._first_hop(settings) == ("proxy.example", 3128)
    (said,) = network.proxies(Patient(settings))
    assert "proxy.example:3128" in said.text
    assert "secret" not in said.text


# --- what a report may not contain

SECRETS = {
    "http://user:hunter2@proxy:3128/x": "hunter2",
    "https://b.s3.amazonaws.com/k?X-Amz-Signature=abcdef0123&versionId=v": "abcdef0123",
    "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F2026": "AKIAIOSFODNN7EXAMPLE",
    "key AKIAIOSFODNN7EXAMPLE is denied": "AKIAIOSFODNN7EXAMPLE",
    "X-Amz-Security-Token=FwoGZXIvYXdzE": "FwoGZXIvYXdzE",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG": "wJalrXUtnFEMI",
    '"aws_session_token": "FwoGZXIvYXdzE"': "FwoGZXIvYXdzE",
    "Authorization: AWS4-HMAC-SHA256 Credential=x": "AWS4-HMAC-SHA256",
    "Proxy-Authorization: Basic dXNlcjpodW50ZXIy": "dXNlcjpodW50ZXIy",
    "password=hunter2": "hunter2",
    "cookie: session=hunter2": "hunter2",
}


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
def test_secrets_are_taken_out(text, secret):
    assert secret not in redacted(f"before {text}\nafter")
    assert redacted(f"before {text}\nafter").endswith("\nafter")
    assert "***" in redacted(text)


def test_what_is_no_secret_stays():
    text = "GET /k?versionId=J0U4 of visual-behavior-ophys at http://127.0.0.1:8080: 503 SlowDown"
    assert redacted(text) == text


def test_the_home_and_the_users_name_are_taken_out(home, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert redacted(f"{home}/vbo of ada, not of adam") == "~/vbo of USER, not of adam"


@pytest.mark.parametrize("proxy", ["u:p@host:1", "http://u:p@host:1", "http://u@host:1"])
def test_a_proxy_loses_its_password(proxy):
    assert without_passwords(proxy).endswith("***@host:1")
    assert "u" not in without_passwords(proxy).replace("http", "")


def test_the_bundle_has_everything_and_no_secret(patient, tmp_path, home, monkeypatch):
    monkeypatch.setenv("VBOFS_PROFILE", "lab")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("https_proxy", "http://u:hunter2@host:1")
    log = default_log(patient.settings.mountpoint)
    log.parent.mkdir(parents=True)
    log.write_text(f"{home}: http://u:hunter2@host:1\na\udcff".encode(errors="replace").decode())
    path = tmp_path / "report.tar.gz"
    write(path, patient, [Finding("x", Verdict.PROBLEM, f"{home} http://u:hunter2@host")])
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        texts = {
            name.partition("/")[2]: io.TextIOWrapper(tar.extractfile(name)).read()
            for name in tar.getnames()
        }
    assert {"README", "findings.json", "settings.json", "versions.txt", "log-1.txt"} <= set(texts)
    assert all("hunter2" not in text and str(home) not in text for text in texts.values())
    assert json.loads(texts["findings.json"])[0]["text"] == "~ http://***@host"
    assert json.loads(texts["settings.json"])["environment"]["VBOFS_PROFILE"] == "lab"
    assert "pyfuse3" in texts["versions.txt"]


@pytest.mark.parametrize("name", ["there", "missing/report", ""])
def test_a_bundle_overwrites_nothing(patient, tmp_path, name):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(BundleUnwritable, match="--bundle"):
        write(tmp_path / name, patient, [])
    assert (tmp_path / "there").read_text() == "mine"
