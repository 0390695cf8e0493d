"""Tests of the dashboard page on the admin port in a real Chromium: display, clicks and typed filters."""

from __future__ import annotations

import signal
import socket
import time
from hashlib import sha256

import pytest

from konnectivity.testing.deployment import Deployment, free_port
from support import browser as browsers
from support.browser import Browser
from support.connect_socket import answer_to, dial, fill
from support.tenant_site import TenantSite

MISSING = browsers.missing()
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}; apt-get install chromium chromium-driver"),
]
NASTY = "<img src=x onerror=document.title='owned'>"
CELLS = "tbody tr td:nth-child(%d)"


class Scene:
    """Server with three agents (one of them hostile), five connections (one of them stalled) and failed dials."""

    def __init__(self, directory):
        self.deployment = Deployment(directory)
        self.deployment.start_server("--server-id=server-1")
        for agent_id in ("node-2", "node-1", NASTY):
            self.deployment.start_agent(f"--agent-id={agent_id}", "--agent-identifiers=host=%3Cscript%3Ealert(1)")
        self.targets = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
        self.addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in self.targets]
        self.sockets = [dial(self.deployment.socket, address)[1] for address in self.addresses]
        fill(self.sockets[0], 50_000_000)
        self.closed = f"127.0.0.1:{free_port()}"
        assert answer_to(self.deployment.socket, self.closed) == 502
        assert answer_to(self.deployment.socket, f"{NASTY.replace(' ', '/')}:80") in (400, 502)

    @property
    def page(self):
        return f"http://localhost:{self.deployment.admin_port}/"

    def close(self):
        for each in (*self.sockets, *self.targets):
            each.close()
        self.deployment.stop()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("scene"))
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def window():
    with Browser() as browser:
        yield browser


def visit(window, address):
    """Open a page in a desktop-sized window with empty local storage."""
    window.open("about:blank")
    window.complaints()
    window.size(1280, 900)
    window.prefer("light")
    window.open(address)
    window.run("localStorage.clear()")
    window.open("about:blank")
    window.open(address)


@pytest.fixture
def page(scene, window):
    visit(window, scene.page)
    window.until(lambda: window.texts("#live") == ["Live"], "live")
    yield window
    assert window.complaints() == []


def column(page, number):
    return [text.strip() for text in page.texts(CELLS % number)]


def open_tab(page, name):
    page.find(f"#tab-{name}").click()
    page.until(lambda: page.find(f"#tab-{name}").get_attribute("aria-selected") == "true", name)


def connections(page, count=5):
    open_tab(page, "connections")
    page.until(lambda: len(page.texts("tbody tr")) == count, f"{count} connections")


def type_filter(page, text):
    box = page.find("#filter")
    box.clear()
    box.send_keys(text)


# ---- what is seen first ----------------------------------------------------------------------------------------------


def test_health_and_what_needs_attention_come_first(page, scene):
    page.until(lambda: "stalled" in " ".join(page.texts("#attention")), "the stall")
    assert page.texts("#ready .mark") == ["Ready"]
    assert "3 agents, 5 connections" in page.texts("#ready .summary")[0]
    concerns = page.texts("#attention li")
    assert any("1 connection stalled: 1 destination reads nothing" in each for each in concerns)
    assert any("2 dials failed in the last 5 minutes" in each for each in concerns)
    assert page.driver.title == "server-1: Konnectivity server"


def test_a_concern_leads_to_what_it_is_about(page, scene):
    page.until(lambda: "stalled" in " ".join(page.texts("#attention")), "the stall")
    [button] = [
        each for each in page.driver.find_elements("css selector", "#attention button") if "stalled" in each.text
    ]
    button.click()
    page.until(lambda: column(page, 2) == [scene.addresses[0]], "the stalled one alone")
    assert page.find("#filter").get_attribute("value") == "stalled"
    state = column(page, 1)[0]
    assert state.startswith("stalled ")
    assert "destination reads nothing" in state
    assert "1 of 5 connections." in page.texts(".note")


def test_a_failed_dial_says_why(page, scene):
    open_tab(page, "failures")
    page.until(lambda: scene.closed in column(page, 3), "the failure")
    place = column(page, 3).index(scene.closed)
    why = column(page, 4)[place]
    assert f"dial tcp {scene.closed}: connect: connection refused" in why
    assert "the agent could not connect" in why
    assert column(page, 5)[place] in ("node-1", "node-2", NASTY)
    assert "error_response" in page.texts(".more")[0]


def test_the_plots_say_what_they_show(page):
    page.until(lambda: "5 open" in page.texts("#plots .headline")[2], "open connections")
    labels = page.run(
        "return [...document.querySelectorAll('#plots svg')].map(each => each.getAttribute('aria-label'))"
    )
    assert len(labels) == 4
    assert all(labels)
    assert page.texts("#plots .title") == ["Throughput", "Dials", "Connections", "Agents"]
    lines = page.run("return [...document.querySelectorAll('#plots path.line')].map(each => each.getAttribute('d'))")
    assert all(line.startswith("M") and "NaN" not in line for line in lines)


def test_it_is_live(page, scene):
    connections(page)
    with socket.create_server(("127.0.0.1", 0)) as target:
        address = f"127.0.0.1:{target.getsockname()[1]}"
        _, sock = dial(scene.deployment.socket, address)
        page.until(lambda: address in column(page, 2), "the new connection")
        sock.close()
        page.until(lambda: address not in column(page, 2), "its end")


# ---- clicks and keys -------------------------------------------------------------------------------------------------


def test_a_click_on_a_title_sorts_and_another_one_turns_it_round(page, scene):
    connections(page)
    title = page.find("thead th:nth-child(2) button")
    for order, expected in (("ascending", sorted(scene.addresses)), ("descending", sorted(scene.addresses)[::-1])):
        title.click()
        page.until(lambda expected=expected: column(page, 2) == expected, f"{order}: {expected}")
        assert page.find("thead th:nth-child(2)").get_attribute("aria-sort") == order
        assert len(page.driver.find_elements("css selector", "th[aria-sort]")) == 1


def test_numbers_are_sorted_largest_first_and_by_the_keyboard_too(page, scene):
    connections(page)
    page.run("document.querySelector('thead th:nth-child(5) button').focus()")
    page.driver.switch_to.active_element.send_keys("\ue007")  # Enter
    page.until(lambda: column(page, 2)[0] == scene.addresses[0], "the one with most bytes")
    assert page.find("thead th:nth-child(5)").get_attribute("aria-sort") == "descending"


def test_failures_are_sorted_and_filtered_here(page, scene):
    open_tab(page, "failures")
    page.until(lambda: len(column(page, 3)) == 2, "both")
    page.find("thead th:nth-child(3) button").click()
    page.until(lambda: column(page, 3)[0] == scene.closed, "sorted by destination")
    type_filter(page, "img/src")  # matches a destination and no agent's name
    page.until(lambda: len(column(page, 3)) == 1, "filtered")
    assert scene.closed not in column(page, 3)


def test_a_filter_finds_and_escape_forgets_it(page, scene):
    connections(page)
    page.find("body").send_keys("/")
    assert page.run("return document.activeElement.id") == "filter"
    page.find("#filter").send_keys(scene.addresses[3])
    page.until(lambda: column(page, 2) == [scene.addresses[3]], "the match alone")
    page.find("#filter").send_keys(" nowhere")
    page.until(lambda: page.texts(".note") == ["None of 5 connections matches the filter."], "no match")
    page.find("#filter").send_keys("\ue00c")  # Escape
    page.until(lambda: len(column(page, 2)) == 5, "all again")


def test_tabs_go_by_arrows_and_stay_in_the_address(page):
    page.find("#tab-agents").send_keys("\ue014")  # right
    assert page.run("return document.activeElement.id") == "tab-connections"
    page.driver.switch_to.active_element.send_keys("\ue010")  # End
    page.until(lambda: page.texts(".facts h2")[:2] == ["Server", "Memory"], "facts")
    assert page.driver.current_url.endswith("#server")
    page.driver.refresh()
    page.until(lambda: "Version" in page.texts("dt"), "the same after a reload")
    assert not page.find("#filter").is_displayed()


def test_every_field_and_button_has_a_name(page):
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select, svg[role=img], meter')].filter(each =>"
        " !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length))"
        ".map(each => each.outerHTML)"
    )
    assert nameless == []


# ---- light, dark, small ----------------------------------------------------------------------------------------------


def brightness(page):
    colour = page.run("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


def test_dark_as_the_system_is_or_as_it_is_chosen(page, scene):
    assert brightness(page) > 600
    page.prefer("dark")
    page.until(lambda: brightness(page) < 150, "dark, as the system")
    page.until(lambda: page.texts("#theme") == ["Light"], "the other choice")
    page.find("#theme").click()
    assert brightness(page) > 600
    page.driver.refresh()
    page.until(lambda: brightness(page) > 600, "light, as chosen")
    page.find("#theme").click()
    assert brightness(page) < 150


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(page, scene, width):
    page.size(width, 844, phone=True)
    for tab in ("agents", "connections", "failures", "server"):
        open_tab(page, tab)
        page.until(lambda: page.texts("#panel *"), tab)
        assert page.run("return document.documentElement.scrollWidth") <= width, tab
    connections(page)
    page.until(lambda: page.find("#sort").is_displayed(), "the other way to sort")
    page.run("const s = document.querySelector('#sort'); s.value = 'destination'; s.dispatchEvent(new Event('change'))")
    page.until(lambda: column(page, 2) == sorted(scene.addresses), "sorted")


# ---- trouble ---------------------------------------------------------------------------------------------------------


def test_what_others_say_is_text(page, scene):
    """Markup in an agent's id, in its identifiers and in a destination is shown as text and never executed."""
    page.until(lambda: any(NASTY in text for text in column(page, 2)), "the id, letter for letter")
    assert any("<script>alert(1)" in text for text in column(page, 3))
    open_tab(page, "failures")
    page.until(lambda: any("onerror" in text for text in column(page, 3)), "the destination")
    assert page.run("return document.querySelectorAll('main img, main script').length") == 0
    assert "owned" not in page.driver.title


def test_nothing_is_asked_while_nobody_looks(page):
    asked = "return performance.getEntriesByType('resource').filter(each => each.name.includes('/api/')).length"
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.run(hide, True)
    assert page.texts("#live") == ["Paused"]
    time.sleep(1)
    before = page.run(asked)
    time.sleep(5)
    assert page.run(asked) == before
    page.run(hide, False)
    page.until(lambda: page.run(asked) > before and page.texts("#live") == ["Live"], "on again")


def test_a_server_that_goes_and_comes_back(fresh, window):
    server = fresh.start_server("--server-id=first")
    fresh.start_agent("--agent-id=node-1")
    visit(window, f"http://127.0.0.1:{fresh.admin_port}/")
    window.until(lambda: window.texts("#ready .mark") == ["Ready"] and column(window, 2), "ready")
    server.stop()
    window.until(lambda: window.texts("#live") == ["No answer"], "that it is gone")
    assert "The server does not answer" in window.find("#lost").text
    assert "node-1" in column(window, 2)[0], "what was known stays"
    assert window.run("return getComputedStyle(document.querySelector('main')).opacity") == "0.5"
    fresh.start_server("--server-id=second")
    window.until(lambda: window.texts("#live") == ["Live"], "that it is back")
    assert not window.find("#lost").is_displayed()
    assert window.texts("#server-id") == ["second"]
    assert all("ERR_CONNECTION" in each for each in window.complaints())


def test_agents_that_are_not_well(fresh, window):
    fresh.start_server("--heartbeat-interval=500ms")
    silent, leaving = fresh.start_agent("--agent-id=node-1"), fresh.start_agent("--agent-id=node-2")
    fresh.start_agent("--agent-id=node-3")
    visit(window, f"http://127.0.0.1:{fresh.admin_port}/")
    leaving.stop()
    silent.send(signal.SIGSTOP)
    window.until(lambda: column(window, 1)[:1] == ["silent"], "the silent one first")
    assert "node-1" in column(window, 2)[0]
    concerns = "\n".join(window.texts("#attention li"))
    assert "1 agent silent (does not answer pings): node-1" in concerns
    assert "1 agent left and did not return" in concerns
    assert "node-2" in window.texts(".more")[0]
    silent.send(signal.SIGCONT)
    window.until(lambda: set(column(window, 1)) == {"ready"}, "well again")
    assert window.complaints() == []


def test_no_agent_at_all(fresh, window):
    fresh.start_server()
    visit(window, f"http://127.0.0.1:{fresh.admin_port}/")
    window.until(lambda: window.texts("#ready .mark"), "health")
    assert "Not ready" in window.texts("#ready .mark")[0]
    assert "no connection to any proxy agent" in window.texts("#ready .mark")[0]
    assert window.texts(".note") == ["No agent is connected. Nothing can pass through this server."]
    assert window.driver.title.startswith("Not ready, ")


def test_workers_are_one_server(fresh, window):
    server = fresh.start_package("konnectivity_server", fresh.server_arguments("--workers=2", "--server-id=both"))
    server.wait_for("Proxy server started", times=2)
    fresh.start_agent("--agent-id=node-1").wait_for("Connected to server", times=2)
    visit(window, f"http://127.0.0.1:{fresh.admin_port}/")
    window.until(lambda: len(column(window, 2)) == 2, "both streams")
    assert window.texts("thead th")[-1] == "Worker"
    assert sorted(row[-1] for row in (text.split() for text in window.texts("tbody tr"))) == ["0", "1"]
    assert window.texts("#server-id") == ["both"]
    open_tab(window, "server")
    window.until(lambda: "Worker 1" in window.texts("dt"), "the workers")
    assert window.complaints() == []


def test_texts_of_peers_show_what_cannot_be_seen(page):
    script = "return import('./dashboard/api.js').then((api) => api.visible(arguments[0]))"
    seen = page.run(script, "a\u202eb\u200bc\x1b[2J\u2028d\u2066e\n\U000e0041\xad")
    assert seen == "a\\u202eb\\u200bc\\u001b[2J\\u2028d\\u2066e\\u000a\\ue0041\\u00ad"
    assert page.run(script, "node-1 <b>ä 中 😀") == "node-1 <b>ä 中 😀"


@pytest.mark.parametrize("width", [320, 390, 721, 1024, 1280, 1600])
def test_a_long_server_id_is_cut_before_it_meets_what_stands_beside_it(page, width):
    page.size(width, 844)
    script = """
        const id = document.getElementById("server-id");
        id.textContent = "3f9c2a51-8f5c-4d3f-9c3e-2d6f4d3b7a10-a-long-name";
        const live = document.getElementById("live").getBoundingClientRect();
        const here = id.getBoundingClientRect();
        return here.right <= live.left && document.documentElement.scrollWidth <= innerWidth"""
    assert page.run(script)


@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("tab", ["agents", "connections", "failures"])
def test_all_columns_are_seen_without_scrolling(page, width, tab):
    page.size(width, 844)
    page.find(f"#tab-{tab}").click()
    page.until(lambda: page.texts("tbody tr"), "rows")
    script = """
        const frame = document.querySelector(".frame");
        return [frame.scrollWidth - frame.clientWidth, document.documentElement.scrollWidth - innerWidth]"""
    assert max(page.run(script)) <= 0


# ---- paths -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """Server whose probes of one class fail through both agents, those of another through one."""
    deployment = Deployment(tmp_path_factory.mktemp("probed"))
    answering = f"--probe=health={{ipv4}}:{deployment.health_port},http:/healthz"
    deployment.start_server("--server-id=server-2", answering, "--probe=closed=127.0.0.1:1", "--probe-interval=2s")
    deployment.start_agent("--agent-id=node-1", "--agent-identifiers=ipv4=127.0.0.1")
    deployment.start_agent(f"--agent-id={NASTY}")
    yield deployment
    deployment.stop()


def test_the_paths_are_a_matrix_of_agents_and_probes_the_worst_first(probed, window, tmp_path):
    visit(window, f"http://localhost:{probed.admin_port}/")
    window.until(lambda: "2 paths failing" in " ".join(window.texts("#attention")), "the failing paths")
    assert window.texts("#tab-paths")[0].split() == ["Paths", "4"]
    [button] = [
        each for each in window.driver.find_elements("css selector", "#attention button") if "path" in each.text
    ]
    button.click()
    window.until(lambda: len(window.texts("tbody tr")) == 2, "both agents")
    assert [text.strip() for text in window.texts("thead th")] == ["State", "Agent", "Since", "health", "closed"]
    window.until(lambda: column(window, 1) == ["failing", "failing"], "the states")
    place = next(number for number, text in enumerate(column(window, 2)) if text.startswith("node-1"))
    assert column(window, 4)[place].endswith("ms"), "a path that passes shows its time"
    assert column(window, 4)[1 - place] == "no such identifier"
    assert column(window, 5)[place].split("\n")[0] == "TCP refused"
    assert "connect: connection refused" in column(window, 5)[place]
    assert window.driver.title != "owned"
    window.picture(tmp_path / "paths.png")
    window.size(390, 844, phone=True)
    assert window.run("return document.documentElement.scrollWidth - innerWidth") <= 0
    window.picture(tmp_path / "phone.png")
    assert window.complaints() == []


def test_a_server_without_probes_has_no_tab_of_paths(page):
    assert page.run("return document.getElementById('tab-paths').hidden")


# ---- many tenants ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tenants(tmp_path):
    """Yield a server of two healthy tenants, of which neither has agents, and one that is refused."""
    site = TenantSite(tmp_path)
    for name in ("a", "b", "c"):
        site.add(name)
    site.declare("c", "cluster-ca-cert: none.crt")
    site.start_server("--server-id=server-1")
    yield site
    site.deployment.stop()


def test_the_page_of_many_tenants_lists_them_by_trouble_and_leads_to_each(tenants, window):
    visit(window, f"http://localhost:{tenants.deployment.admin_port}/")
    window.until(lambda: len(window.texts("tbody tr")) == 3, "three tenants")
    assert [each.split()[0] for each in column(window, 2)] == ["c", "a", "b"]
    assert column(window, 1) == ["refused", "not ready", "not ready"]
    assert "none.crt" in column(window, 8)[0]
    type_filter(window, "b.tenants")
    window.until(lambda: len(window.texts("tbody tr")) == 1, "one tenant")
    assert window.texts("#summary") == ["1 of 3 tenants."]
    window.find("tbody a").click()
    window.until(lambda: window.texts("#server-id") == ["b on server-1"], "the page of the tenant")
    assert window.texts("#ready .mark")[0].startswith("Not ready")
    window.find("#others").click()
    window.until(lambda: len(window.texts("tbody tr")) == 3, "three tenants")
    assert window.complaints() == []


@pytest.fixture
def guarded(tmp_path):
    """Server of two tenants whose admin port asks for a token."""
    site = TenantSite(tmp_path)
    for name in ("a", "b"):
        digest = sha256(f"the-token-of-{name}".encode()).hexdigest()
        site.add(name, f"admin-token-sha256: {digest}")
    (tmp_path / "tokens").write_text("the-token-of-the-server")
    site.start_server("--server-id=server-1", f"--admin-token-file={tmp_path / 'tokens'}")
    yield site
    site.deployment.stop()


def give(window, token):
    window.find("#token").send_keys(f"{token}\ue007")  # Enter


def locked(window, why):
    window.until(lambda: window.texts("#why") == [why], why)
    assert window.find("#access").is_displayed()
    assert window.texts("#live") == ["Locked"]
    assert not window.find("main").is_displayed()


def test_the_page_asks_for_a_token_and_shows_what_the_token_covers(guarded, window):
    """Without a token, with a wrong one, with the server's, and with a tenant's at its own page and at another's."""
    address = f"http://localhost:{guarded.deployment.admin_port}/"
    visit(window, address)
    locked(window, "This server asks for a token.")
    assert window.run("return document.activeElement.id") == "token"
    give(window, "a wrong one")
    locked(window, "A token has printable ASCII characters without spaces.")
    window.find("#token").clear()
    give(window, "a-wrong-one")
    locked(window, "The server does not accept this token.")
    give(window, "the-token-of-the-server")
    window.until(lambda: len(window.texts("tbody tr")) == 2, "both tenants")
    assert not window.find("#access").is_displayed()
    window.driver.refresh()
    window.until(lambda: len(window.texts("tbody tr")) == 2, "both tenants after a reload")
    window.find("#forget").click()
    locked(window, "The token is forgotten.")
    give(window, "the-token-of-b")
    window.until(lambda: window.texts("#server-id") == ["b on server-1"], "the page of the token's tenant")
    assert not window.find("#others").is_displayed()
    assert window.driver.current_url == f"{address}?tenant=b#agents"
    window.open(f"{address}?tenant=a")
    locked(window, "This token does not cover this page: it belongs to another tenant.")
    give(window, "the-token-of-a")
    window.until(lambda: window.texts("#server-id") == ["a on server-1"], "the page of the other token's tenant")
    assert window.run("return Object.keys(localStorage).filter(key => key.includes('token'))") == []
    assert all("401" in each or "403" in each for each in window.complaints())
    window.run("sessionStorage.clear()")
