"""Tests of kubectl's commands for pods and nodes: each by all transports."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from kubectl import TERMINAL_SIZE
from real_cluster import WORKER_IP

from support.kubectl_command import read_line, read_lines

MIB = 1 << 20
BUSYBOX = ("--image=test.local/busybox:1", "--image-pull-policy=Never")
WEBSOCKET, SPDY = ({"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": each} for each in ("true", "false"))
PROTOCOLS = pytest.mark.parametrize("protocol", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def numbers(lines):
    return [int(line.split()[1]) for line in lines]


def test_logs_have_the_last_lines_with_their_times(everywhere):
    def check(k):
        assert len(numbers(k.ok("logs", "web", "--tail=5").splitlines())) == 5
        assert re.match(rb"\d{4}-\d\d-\d\dT\S+Z line \d+\n", k.ok("logs", "web", "--timestamps", "--tail=1"))
        assert "container none is not valid" in k.error("logs", "web", "-c", "none")

    everywhere(check)


def test_eight_followers_of_a_log_see_each_line_once(everywhere):
    def follow(k):
        with k.running("logs", "-f", "web", "--tail=1") as process:
            return numbers(read_lines(process, 60))

    def check(k):
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(follow, [k] * 8):
                assert found == list(range(found[0], found[0] + 60))

    everywhere(check)


@PROTOCOLS
def test_exec_returns_output_errors_and_exit_codes(everywhere, protocol):
    def check(k):
        def run(*words):
            return k.run("exec", "web", "--", *words, **protocol)

        done = run("sh", "-c", "echo out; echo err >&2")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")
        for code in (3, 255):
            assert run("sh", "-c", f"exit {code}").returncode == code
        assert run("sh", "-c", "kill -9 $$").returncode == 137
        assert b"no-such-program" in run("no-such-program").stderr

    everywhere(check)


@PROTOCOLS
def test_exec_passes_8_mib_of_input_and_output(everywhere, protocol):
    def check(k):
        sent = os.urandom(8 * MIB)
        assert k.ok("exec", "-i", "web", "--", "cat", stdin=sent, **protocol) == sent

    everywhere(check)


@PROTOCOLS
def test_exec_on_a_terminal_has_its_size_and_signals(everywhere, protocol):
    def check(k):
        talk = [  # the output, not the echo of the typed command, has the sums and the word without quotes
            (rb"# ", b"tty && stty -a && echo the end: $((200 + 31))\n"),
            (rb"the end: 231\r\n.*# ", b"echo beg''un; sleep 300\n"),
            (rb"begun", b"\x03"),
            (rb"# ", b"exit 7\n"),
        ]
        output, code = k.terminal(["exec", "-it", "web", "--", "sh"], talk, **protocol)
        assert code == 7, output
        assert b"rows %d; columns %d" % TERMINAL_SIZE in output
        assert b"/dev/pts/" in output

    everywhere(check)


def test_ten_execs_at_a_time_get_their_own_output(everywhere):
    def check(k):
        with ThreadPoolExecutor(5) as pool:
            found = list(pool.map(lambda number: k.ok("exec", "web", "--", "echo", str(number)), range(10)))
        assert found == [f"{number}\n".encode() for number in range(10)]

    everywhere(check)


def test_50_mib_are_copied_into_a_pod_and_back(everywhere, tmp_path):
    data = os.urandom(50 * MIB)
    (tmp_path / "data").write_bytes(data)

    def check(k):
        name = f"/tmp/{k.transport}"
        k.copy(str(tmp_path / "data"), f"web:{name}")
        assert k.ok("exec", "web", "--", "sha256sum", name).split()[0].decode() == sha256(data)
        k.copy(f"web:{name}", str(tmp_path / k.transport))
        assert sha256((tmp_path / k.transport).read_bytes()) == sha256(data)
        k.ok("exec", "web", "--", "rm", name)
        (tmp_path / k.transport).unlink()

    everywhere(check)


def test_attach_reaches_the_running_process(everywhere):
    def check(k):
        with k.running("attach", "-i", "readers", "-c", k.transport) as process:
            process.stdin.write(b"hello\n")
            assert read_line(process) == b"got hello\n"

    everywhere(check)


def test_forwarded_ports_pass_100_requests_and_50_mib(everywhere, curl):
    def check(k):
        with k.forwarding("pod/web", 8080) as url:
            assert curl(f"{url}/index.html?[1-60]") == b"hello\n" * 60
            assert curl("--parallel", "--parallel-max", "8", f"{url}/index.html?[1-40]") == b"hello\n" * 40
            assert sha256(curl(f"{url}/large")) == curl(f"{url}/checksum").decode().strip()

    everywhere(check)


def test_a_forwarded_port_without_a_listener_is_an_error(everywhere, curl):
    def check(k):
        with k.forwarding("pod/web", 9999) as url:
            with pytest.raises(subprocess.CalledProcessError):
                curl(url)

    everywhere(check)


def test_debug_adds_a_container_to_a_pod_and_attaches_to_it(everywhere):
    def check(k):
        look = b"cat /proc/1/root/www/index.html; ps | grep -q [h]ttpd && echo sees $((200 + 31))\n"
        words = ["debug", "-it", "web", *BUSYBOX, "--target=web", "--profile=sysadmin"]
        output, _ = k.terminal([*words, "--", "sh"], [(rb"", b"\n"), (rb"# ", look), (rb"sees 231\r\n", b"exit\n")])
        assert b"hello\r\nsees 231" in output, output.decode()

    everywhere(check)


def test_debug_of_a_node_shows_its_files(everywhere):
    def check(k):
        created = k.ok(
            "debug", "node/worker", *BUSYBOX, "--profile=general", "--", "cat", "/host/etc/containerd.toml"
        ).decode()
        pod = re.search(r"node-debugger-\S+", created)[0]
        k.ok("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", "--timeout=60s")
        assert b"sandbox_image" in k.ok("logs", pod)
        k.ok("delete", "pod", pod, "--now", "--wait=false")

    everywhere(check)


def test_services_and_pods_are_reached_through_the_api_server(everywhere):
    def check(k):
        for path in ("services/web:http", "pods/web:8080"):
            assert k.ok("get", "--raw", f"/api/v1/namespaces/default/{path}/proxy/index.html") == b"hello\n"
        large = k.ok("get", "--raw", "/api/v1/namespaces/default/pods/web:8080/proxy/large")
        assert sha256(large) == k.ok("exec", "web", "--", "cat", "/www/checksum").decode().strip()

    everywhere(check)


def test_the_endpoints_of_both_kubelets_are_reached(everywhere):
    def check(k):
        assert b'pod="web"' in k.ok("get", "--raw", "/api/v1/nodes/worker/proxy/metrics/resource")
        assert b"web" in k.ok("get", "--raw", "/api/v1/nodes/worker/proxy/pods")
        assert k.ok("get", "--raw", "/api/v1/nodes/control/proxy/healthz") == b"ok"
        assert b"Proxy server started" in k.ok("-n", "kube-system", "logs", "konnectivity-server-control")

    everywhere(check)


def test_a_pod_that_is_deleted_ends_its_exec_its_log_and_its_forwarding(everywhere):
    def check(k):
        pod = f"victim-{k.transport}"
        overrides = '{"spec": {"nodeName": "worker", "terminationGracePeriodSeconds": 1}}'
        k.ok("run", pod, *BUSYBOX, "--overrides", overrides, "--", "sh", "-c", "echo on; sleep 1000")
        k.ok("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
        with (
            k.running("exec", "-i", pod, "--", "sh", "-c", "echo on; sleep 1000") as shell,
            k.running("logs", "-f", pod) as log,
            k.forwarding(f"pod/{pod}", 80),
        ):
            assert read_line(shell) == read_line(log) == b"on\n"
            k.ok("delete", "pod", pod)
            assert shell.wait(30) == 137
            assert log.wait(30) == 0

    everywhere(check)


def test_the_control_plane_reaches_neither_the_worker_nor_its_pods_itself(cluster, curl):
    pod = cluster.kubectl.value("pod", "web")["status"]["podIP"]
    for address in (f"{WORKER_IP}:10250", f"{pod}:8080"):
        with pytest.raises(subprocess.CalledProcessError):
            curl("-k", "--max-time", "1", f"https://{address}/")


def test_each_api_server_counts_its_dials_by_its_own_transport(everywhere):
    def check(k):
        k.ok("exec", "web", "--", "true")
        text = k.ok("get", "--raw", "/metrics").decode()
        dials = re.findall(r"^apiserver_egress_dialer_dial_start_total\{(.*?)\} (\d+)", text, re.MULTILINE)
        protocol, transport = {
            "grpc-uds": ("grpc", "uds"),
            "connect-uds": ("http_connect", "uds"),
            "connect-tls": ("http_connect", "tcp"),
        }[k.transport]
        assert [labels for labels, count in dials if int(count)] == [f'protocol="{protocol}",transport="{transport}"']

    everywhere(check)
