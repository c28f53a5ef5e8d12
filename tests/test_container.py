"""The experiments' container, started with a `docker` that only notes what it is asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from src.core.paths import ROOT

START, CERTIFICATES = "start_experiment_container.sh", "host_certificates.sh"
NOTES_CALLS = """#!/usr/bin/env bash
{ printf '%s\\n' "$@"; echo --; } >>"$NOTES"
[[ $1 != image ]] # the image is not there yet
"""


def certificate(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


@pytest.fixture
def host(tmp_path):
    """Returns what runs a script of `env_shell/`, copied, on a host with given variables, and tells what it printed."""
    shutil.copytree(ROOT / "env_shell", tmp_path / "project" / "env_shell")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(NOTES_CALLS)
    (tmp_path / "bin" / "docker").chmod(0o755)
    (tmp_path / "home").mkdir()
    fixed = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    fixed["NOTES"] = str(tmp_path / "notes")

    def run(script: str, **variables: Path | str) -> str:
        environment = fixed | {name: str(value) for name, value in variables.items()}
        command = [tmp_path / "project" / "env_shell" / script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def calls(notes: Path) -> list[list[str]]:
    """Returns the arguments of every call of `docker`."""
    return [each.splitlines() for each in notes.read_text().split("--\n") if each]


def test_what_the_host_trusts_is_told_once_and_without_what_is_no_certificate(host, tmp_path):
    own, other = tmp_path / "own.pem", tmp_path / "other.pem"
    own.write_text(
        "a proxy's\n" + certificate("one") + "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"
    )
    other.write_bytes((certificate("two") + certificate("one")).replace("\n", "\r\n").encode())
    (tmp_path / "pip.conf").write_text(f"[global]\ncert = {tmp_path / 'three.pem'}\n")
    (tmp_path / "three.pem").write_text(certificate("three"))

    plain = host(CERTIFICATES)
    named = {"PIP_CERT": own, "SSL_CERT_FILE": other, "REQUESTS_CA_BUNDLE": tmp_path / "not there"}
    found = host(CERTIFICATES, **named, PIP_CONFIG_FILE=tmp_path / "pip.conf")

    assert found.startswith(certificate("one") + certificate("two"))
    each, before = blocks(found), blocks(plain)
    assert len(set(each)) == len(each) and set(before) <= set(each)
    more = set(each) - set(before) - {certificate("one"), certificate("two")}
    assert more <= {certificate("three")}  # where the host has pip
    assert not plain or plain.startswith("-----BEGIN CERTIFICATE-----\n")


def blocks(text: str) -> list[str]:
    """Returns the certificates of a text of nothing else."""
    ends = "-----END CERTIFICATE-----\n"
    found = [f"{each}{ends}" for each in text.split(ends)[:-1]]
    assert "".join(found) == text and all(each.startswith("-----BEGIN CERTIFICATE-----\n") for each in found)
    return found


def test_certificates_proxies_and_pips_files_reach_build_and_run_and_no_value_is_on_a_command_line(host, tmp_path):
    (tmp_path / "own.pem").write_text(certificate("one"))
    (tmp_path / "home" / ".config" / "pip").mkdir(parents=True)
    of_user = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    of_user.write_text("[global]\nindex-url = https://user:secret@index.example/simple\n")
    given = {"HTTPS_PROXY": "http://user:secret@proxy.example", "PIP_INDEX_URL": "https://secret@index.example"}

    host(START, SSL_CERT_FILE=tmp_path / "own.pem", **given)

    kept = tmp_path / "project" / ".container" / "certificates.pem"
    assert kept.read_text().startswith(certificate("one"))
    asked = calls(tmp_path / "notes")
    (build,) = (call for call in asked if call[0] == "build")
    (run,) = (call for call in asked if call[0] == "run")
    assert f"id=certificates,src={kept}" in build and "--build-arg=HTTPS_PROXY" in build
    assert f"{kept}:/anyo-host/certificates.pem:ro" in run and f"{of_user}:/anyo-host/pip.conf:ro" in run
    trusting = {"PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"}
    assert {f"{name}=/anyo-host/certificates.pem" for name in trusting} < set(run)
    assert {"PIP_CONFIG_FILE=/anyo-host/pip.conf", "PIP_INDEX_URL", "--env=HTTPS_PROXY"} < set(run)
    assert "secret" not in " ".join(build + run).replace("--secret", "")


def test_the_file_that_pip_is_told_to_read_goes_before_the_users_own(host, tmp_path):
    (tmp_path / "home" / ".pip").mkdir()
    (tmp_path / "home" / ".pip" / "pip.conf").write_text("")
    (tmp_path / "named.conf").write_text("")

    host(START)
    host(START, PIP_CONFIG_FILE=tmp_path / "named.conf")

    first, second = (call for call in calls(tmp_path / "notes") if call[0] == "run")
    assert f"{tmp_path / 'home' / '.pip' / 'pip.conf'}:/anyo-host/pip.conf:ro" in first
    assert f"{tmp_path / 'named.conf'}:/anyo-host/pip.conf:ro" in second
