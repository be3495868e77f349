#!/usr/bin/env python3
"""Drives the Azure doubles with Microsoft's own clients, through a proxy that validates every request and every answer.

Between a client and a double stands prism with an extract of Microsoft's published description (azure-*.yaml beside this file): a
request that strays from it is refused with 422, an answer of the double that strays from it becomes a 500. Either ends a story.

    azure_clients.py --doubles target/debug/meridian-doubles --prism target/clouds/node/node_modules/.bin/prism
    azure_clients.py … --journals DIR      also holds to it what doubles wrote down there under MERIDIAN_TEST_JOURNALS
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from azure.appconfiguration import AzureAppConfigurationClient, ConfigurationSetting, FeatureFlagConfigurationSetting
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.core import MatchConditions
from azure.appconfiguration import ResourceReadOnlyError
from azure.mgmt.web import WebSiteManagementClient
from azure.mgmt.web import models

HERE = pathlib.Path(__file__).resolve().parent
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP, SITE, SLOT = "shop", "shop", "staging"
SITE_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Web/sites/{SITE}"
V1, V2, SILENT = (f"registry.example.com/shop:{tag}" for tag in ("v1", "v2", "silent"))
# Virtual seconds of the doubles in a real one.
PACE = 100

told = 0


def check(is_so, what):
    global told
    if not is_so:
        raise AssertionError(what)
    told += 1
    print(f"  ok  {what}")


def refused(kind, status, words, what, call):
    """The call is refused in this way."""
    try:
        call()
    except kind as error:
        said = f"{error.status_code} {error}"
        check(error.status_code == status and words in str(error), f"{what}: {status} ({said.splitlines()[0][:100]})")
    else:
        raise AssertionError(f"{what}: not refused")


def until(holds, what, seconds=20):
    """Waits on a condition of the double, which lives `PACE` times as fast."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    check(True, what)


# ---------------------------------------------------------------------------------------------------------------- processes


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def process(command, **options):
    child = subprocess.Popen(command, **options)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def double(args, name, state):
    """A double as a process of its own; gives its address."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(state, file)
        file.flush()
        command = [args.doubles, name, "--port", "0", "--pace", str(PACE), "--state", file.name]
        with process(command, stdout=subprocess.PIPE, text=True) as child:
            line = child.stdout.readline()
            if not line:
                raise AssertionError(f"the double {name} did not start")
            yield json.loads(line)["url"]


@contextlib.contextmanager
def proxy(args, description, upstream):
    """The validating proxy in front of an address; gives its own."""
    port = free_port()
    command = [args.prism, "proxy", "--errors", "-h", "127.0.0.1", "-p", str(port), str(HERE / description), upstream]
    with tempfile.TemporaryFile("w+") as log:
        with process(command, stdout=log, stderr=subprocess.STDOUT) as child:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if child.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise AssertionError("the proxy did not start: " + log.read()[-2000:])
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"


# ------------------------------------------------------------------------------------------------------------------ clients


class Token:
    def get_token(self, *scopes, **options):
        return AccessToken("a token", int(time.time()) + 3600)


class Manners(SansIOHTTPPolicy):
    """Sends a bearer token over http, which the client's own policy does on https only; follows links to the double through the
    proxy; waits as long as it is told to in the double's time, not in ours."""

    def __init__(self, upstream, through):
        super().__init__()
        self.upstream, self.through = upstream, through

    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer a-token"

    def on_response(self, request, response):
        headers = response.http_response.headers
        if "Location" in headers:
            headers["Location"] = headers["Location"].replace(self.upstream, self.through)
        if "Retry-After" in headers:
            # Whole seconds are all that a client reads here; the polling interval says the rest.
            headers["Retry-After"] = str(int(headers["Retry-After"]) // PACE)


class Compact(SansIOHTTPPolicy):
    """Writes address and body as the proxy will write them again: a signature is one of bytes, and it is made after this."""

    def on_request(self, request):
        request.http_request.url = request.http_request.url.replace("%2A", "*")
        if request.http_request.body:
            body = json.dumps(json.loads(request.http_request.body), separators=(",", ":"), ensure_ascii=False)
            request.http_request.body = body
            request.http_request.headers["Content-Length"] = str(len(body.encode()))


class Through(RequestsTransport):
    """Takes requests that are signed for the store's own host to it through the proxy."""

    def __init__(self, upstream, through):
        super().__init__()
        self.upstream, self.through = upstream, through

    def send(self, request, **options):
        request.url = request.url.replace(self.upstream, self.through)
        return super().send(request, **options)


# ------------------------------------------------------------------------------------------------------------------ stories


def app_service(args):
    state = {
        "sites": [{"name": SITE, "slots": [SLOT], "settings": {"DATABASE": "live"}, "sticky": ["DATABASE"]}],
        "behaviours": {SILENT: "never-ready"},
    }
    with double(args, "app-service", state) as upstream, proxy(args, "azure-app-service.yaml", upstream) as through:
        client = WebSiteManagementClient(
            Token(),
            SUBSCRIPTION,
            base_url=through,
            authentication_policy=Manners(upstream, through),
            polling_interval=0.1,
            retry_total=0,
        )
        apps = client.web_apps
        story = Sites(client, apps)
        for tell in (story.look, story.swap, story.preview, story.cancel, story.hang, story.ramp, story.settings, story.tags):
            print(f"app service: {tell.__name__}")
            tell()


class Sites:
    def __init__(self, client, apps):
        self.client, self.apps = client, apps

    def image(self, slot=None):
        if slot is None:
            config = self.apps.get_configuration(GROUP, SITE)
        else:
            config = self.apps.get_configuration_slot(GROUP, SITE, slot)
        return config.properties.linux_fx_version.removeprefix("DOCKER|")

    def release(self, image):
        config = models.SiteConfig(linux_fx_version=f"DOCKER|{image}")
        patch = models.SitePatchResource(properties=models.SitePatchResourceProperties(site_config=config))
        self.apps.update_slot(GROUP, SITE, SLOT, patch)

    def is_up(self):
        states = [instance.properties.state for instance in self.apps.list_instance_identifiers_slot(GROUP, SITE, SLOT)]
        return bool(states) and all(state == "READY" for state in states)

    def pair(self, target=SLOT):
        return models.CsmSlotEntity(target_slot=target, preserve_vnet=True)

    def look(self):
        site = self.apps.get(GROUP, SITE)
        check(site.properties.state == "Running" and site.properties.sku == "Standard", "a site is shown")
        slots = [slot.name for slot in self.apps.list_slots(GROUP, SITE)]
        check(slots == [f"{SITE}/{SLOT}"], "its slots are listed")
        plan = self.client.app_service_plans.get(GROUP, site.properties.server_farm_id.rsplit("/", 1)[1])
        check(plan.sku.tier == "Standard", "its plan has a tier")
        refused(ResourceNotFoundError, 404, "ResourceNotFound", "a slot that is not there", lambda: self.apps.get_slot(GROUP, SITE, "blue"))
        refused(ResourceNotFoundError, 404, "ResourceNotFound", "production below slots", lambda: self.apps.get_slot(GROUP, SITE, "production"))

    def swap(self):
        self.release(V2)
        until(self.is_up, "the candidate comes up in its slot")
        differences = {each.properties.setting_name: each.properties.diff_rule for each in self.apps.list_slot_differences_slot(GROUP, SITE, SLOT, self.pair("production"))}
        check(differences.get("linuxFxVersion") == "SettingsWillBeModifiedInDestination", "what a swap would change is told")
        poller = self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair())
        refused(ResourceExistsError, 409, "another operation is in progress", "a second swap", lambda: self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair()))
        poller.result(60)
        check((self.image(), self.image(SLOT)) == (V2, V1), "the swap has moved the content")
        status = self.apps.get(GROUP, SITE).properties.slot_swap_status
        check((status.source_slot_name, status.destination_slot_name) == (SLOT, "production"), "the site says who swapped with whom")
        self.apps.begin_swap_slot(GROUP, SITE, SLOT, self.pair("production")).result(60)
        check((self.image(), self.image(SLOT)) == (V1, V2), "the same swap again has brought it back")

    def preview(self):
        self.apps.apply_slot_config_to_production(GROUP, SITE, self.pair())
        check(self.apps.get_slot(GROUP, SITE, SLOT).properties.target_swap_slot == "production", "a swap is prepared")
        settings = models.StringDictionary(properties={"A": "b"})
        refused(ResourceExistsError, 409, "prepared for swap", "a change while it is prepared", lambda: self.apps.update_application_settings_slot(GROUP, SITE, SLOT, settings))
        check(self.image() == V1, "users see the old version meanwhile")
        self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair()).result(60)
        check(self.image() == V2, "the prepared swap is completed")
        self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair()).result(60)
        check(self.image() == V1, "and swapped back")

    def cancel(self):
        self.apps.apply_slot_configuration_slot(GROUP, SITE, SLOT, self.pair("production"))
        self.apps.reset_production_slot_config(GROUP, SITE)
        self.apps.reset_slot_configuration_slot(GROUP, SITE, SLOT)
        check(self.apps.get_slot(GROUP, SITE, SLOT).properties.target_swap_slot is None, "both resets call a prepared swap off")
        check(self.image() == V1, "nothing has moved")
        auth = models.SiteAuthSettingsV2(properties=models.SiteAuthSettingsV2Properties(platform=models.AuthPlatform(enabled=True)))
        self.apps.update_auth_settings_v2_slot(GROUP, SITE, SLOT, auth)
        refused(ResourceExistsError, 409, "site authentication enabled", "a preview with site authentication", lambda: self.apps.apply_slot_config_to_production(GROUP, SITE, self.pair()))
        auth.properties.platform.enabled = False
        self.apps.update_auth_settings_v2_slot(GROUP, SITE, SLOT, auth)
        check(self.apps.get_auth_settings_v2_without_secrets_slot(GROUP, SITE, SLOT).properties.platform.enabled is False, "site authentication is off again")

    def hang(self):
        self.release(SILENT)
        poller = self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair())
        refused(HttpResponseError, 417, "did not respond to http ping", "a swap that nobody answers", lambda: poller.result(60))
        check(self.image() == V1, "production is as it was")

        def is_told():
            logs = b"".join(self.apps.get_web_site_container_logs_slot(GROUP, SITE, SLOT)).decode()
            return "warmup" in logs or "HTTP pings" in logs

        # The refused swap has started the container once more, and it says nothing yet.
        until(is_told, "the container's log says why")
        poller = self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair())
        self.apps.reset_slot_configuration_slot(GROUP, SITE, SLOT)
        refused(HttpResponseError, 409, "was cancelled", "a swap that is called off", lambda: poller.result(60))
        self.release(V2)
        until(self.is_up, "the slot is well again")

    def ramp(self):
        host = self.apps.get_slot(GROUP, SITE, SLOT).properties.default_host_name
        for percentage in (0.01, 5.0, 33.33, 100.0, 0.0):
            rules = [models.RampUpRule(name=SLOT, action_host_name=host, reroute_percentage=percentage)]
            self.write_rules(rules)
            read = self.apps.get_configuration(GROUP, SITE).properties.experiments.ramp_up_rules
            check([rule.reroute_percentage for rule in read] == [percentage], f"{percentage} % of the requests go to the slot")
        wrong = [models.RampUpRule(name=SLOT, action_host_name=host, reroute_percentage=100.5)]
        refused(HttpResponseError, 400, "reroutePercentage", "more than all", lambda: self.write_rules(wrong))
        unknown = [models.RampUpRule(name=SLOT, action_host_name="other.azurewebsites.net", reroute_percentage=1.0)]
        refused(HttpResponseError, 400, "actionHostName", "a host that is no slot", lambda: self.write_rules(unknown))
        self.write_rules([])
        check(not self.apps.get_configuration(GROUP, SITE).properties.experiments.ramp_up_rules, "no rule is left")

    def write_rules(self, rules):
        config = models.SiteConfig(experiments=models.Experiments(ramp_up_rules=rules))
        self.apps.update_configuration(GROUP, SITE, models.SiteConfigResource(properties=config))

    def settings(self):
        names = self.apps.list_slot_configuration_names(GROUP, SITE).properties.app_setting_names
        check(names == ["DATABASE"], "sticky settings are named")
        names = models.SlotConfigNames(app_setting_names=["DATABASE", "QUEUE"])
        self.apps.update_slot_configuration_names(GROUP, SITE, models.SlotConfigNamesResource(properties=names))
        self.apps.update_application_settings_slot(GROUP, SITE, SLOT, models.StringDictionary(properties={"DATABASE": "test", "COLOUR": "green"}))
        until(self.is_up, "the slot restarts with its new settings")
        self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair()).result(60)
        settings = self.apps.list_application_settings(GROUP, SITE).properties
        check(settings == {"DATABASE": "live", "COLOUR": "green"}, "sticky settings stay, the others go with the content")
        self.apps.begin_swap_slot_with_production(GROUP, SITE, self.pair()).result(60)
        self.apps.stop_slot(GROUP, SITE, SLOT)
        check(self.apps.get_slot(GROUP, SITE, SLOT).properties.state == "Stopped", "a slot is stopped")
        self.apps.start_slot(GROUP, SITE, SLOT)
        until(self.is_up, "and started")
        self.apps.restart_slot(GROUP, SITE, SLOT)
        until(self.is_up, "and restarted")

    def tags(self):
        site = self.apps.get(GROUP, SITE)
        self.apps.begin_create_or_update(GROUP, SITE, models.Site(location=site.location, tags={"owner": "checkout"})).result(60)
        check(self.apps.get(GROUP, SITE).tags == {"owner": "checkout"}, "tags are written with the site")
        path = f"{SITE_ID}/providers/Microsoft.Resources/tags/default?api-version=2021-04-01"
        merge = {"operation": "Merge", "properties": {"tags": {"fence": "1.2.3"}}}
        answer = self.client.send_request(HttpRequest("PATCH", path, json=merge))
        answer.raise_for_status()
        check(self.apps.get(GROUP, SITE).tags == {"owner": "checkout", "fence": "1.2.3"}, "and merged by their own resource")


def app_configuration(args):
    with double(args, "app-configuration", {}) as upstream, proxy(args, "azure-app-configuration.yaml", upstream) as through:
        secret = "YSBzZWNyZXQgdGhhdCBvbmx5IGRvdWJsZXMga25vdw=="
        connect = lambda secret: AzureAppConfigurationClient.from_connection_string(
            f"Endpoint={upstream};Id=double-l0-s0:key;Secret={secret}",
            transport=Through(upstream, through),
            headers_policy=Compact(),
            retry_total=0,
        )
        client = connect(secret)
        for tell in (flags, concurrency, locks, lists):
            print(f"app configuration: {tell.__name__}")
            tell(client)
        print("app configuration: strangers")
        stranger = connect("Z3Vlc3NlZA==")
        refused(ClientAuthenticationError, 401, "", "a guessed secret", lambda: stranger.get_configuration_setting("a"))


def percentage(value):
    return {"name": "Microsoft.Percentage", "parameters": {"Value": value}}


def flags(client):
    flag = client.set_configuration_setting(FeatureFlagConfigurationSetting("cart", enabled=False, tags={"fence": "1.1.1"}))
    check(flag.enabled is False and flag.etag, "a flag is made, off")
    for value in (0.01, 10, 50, 100):
        flag.enabled, flag.filters = True, [percentage(value)]
        flag = client.set_configuration_setting(flag, match_condition=MatchConditions.IfNotModified)
        read = client.get_configuration_setting(flag.key)
        check(read.enabled and read.filters[0]["parameters"]["Value"] == value, f"the flag is on for {value} %")
        check(read.tags == {"fence": "1.1.1"}, "its tags are kept")
    audience = {"Users": ["ann"], "Groups": [{"Name": "beta", "RolloutPercentage": 50}], "DefaultRolloutPercentage": 10}
    flag.filters = [{"name": "Microsoft.Targeting", "parameters": {"Audience": audience}}]
    flag = client.set_configuration_setting(flag)
    check(client.get_configuration_setting(flag.key).filters[0]["parameters"]["Audience"] == audience, "the flag has an audience")
    flag.enabled = False
    check(client.set_configuration_setting(flag).enabled is False, "the flag is off at once")
    wrong = FeatureFlagConfigurationSetting("cart", enabled=True, filters=[percentage(101)])
    refused(HttpResponseError, 400, "no percentage", "a percentage that is none", lambda: client.set_configuration_setting(wrong))


def concurrency(client):
    mine = client.get_configuration_setting(".appconfig.featureflag/cart")
    theirs = client.get_configuration_setting(".appconfig.featureflag/cart")
    theirs.enabled = True
    client.set_configuration_setting(theirs, match_condition=MatchConditions.IfNotModified)
    mine.filters = [percentage(100)]
    refused(ResourceModifiedError, 412, "", "a write on a stale ETag", lambda: client.set_configuration_setting(mine, match_condition=MatchConditions.IfNotModified))
    refused(ResourceModifiedError, 412, "", "a delete on a stale ETag", lambda: client.delete_configuration_setting(mine.key, etag=mine.etag, match_condition=MatchConditions.IfNotModified))
    refused(ResourceExistsError, 412, "", "making what is there", lambda: client.add_configuration_setting(FeatureFlagConfigurationSetting("cart")))
    fresh = client.get_configuration_setting(theirs.key)
    check(client.get_configuration_setting(fresh.key, etag=fresh.etag, match_condition=MatchConditions.IfModified) is None, "what has not changed is not sent again")


def locks(client):
    flag = client.get_configuration_setting(".appconfig.featureflag/cart")
    flag = client.set_read_only(flag, True)
    check(flag.read_only, "a flag is locked")
    refused(ResourceReadOnlyError, 409, "not allowed", "a write to a locked flag", lambda: client.set_configuration_setting(flag))
    refused(ResourceReadOnlyError, 409, "not allowed", "a delete of a locked flag", lambda: client.delete_configuration_setting(flag.key))
    flag = client.set_read_only(flag, False)
    check(not flag.read_only, "and unlocked")


def lists(client):
    for index in range(103):
        client.set_configuration_setting(ConfigurationSetting(key=f"app/{index:03}", value=str(index), label="eu"))
    found = [setting.key for setting in client.list_configuration_settings(key_filter="app/*", label_filter="eu")]
    check(len(found) == 103 and found == sorted(found), "a list of 103 comes in pages")
    check(not list(client.list_configuration_settings(key_filter="app/*", label_filter="us")), "labels keep values apart")
    states = list(client.list_revisions(key_filter=".appconfig.featureflag/cart"))
    check(len(states) > 5, "the states of a flag are kept")
    refused(ResourceNotFoundError, 404, "", "a key that is not there", lambda: client.get_configuration_setting("app/000"))
    check(client.delete_configuration_setting("app/000", label="eu").value == "0", "a key is deleted")
    check(client.delete_configuration_setting("app/000", label="eu") is None, "and was deleted")


# ---------------------------------------------------------------------------------------------------------------- validation


class Canned(http.server.BaseHTTPRequestHandler):
    """Answers with what the test has put there, whatever is asked."""

    answer = (200, {}, b"")

    def do(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        status, headers, body = type(self).answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def canned():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def asked(url, method="GET", body=None, headers=None):
    """Status and text of one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Authorization": "Bearer x", **(headers or {})})
    if data is not None and not request.has_header("Content-type"):
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def validation(args):
    """The proxy finds what strays: without this, a green story would prove nothing."""
    print("validation")
    with canned() as upstream, proxy(args, "azure-app-service.yaml", upstream) as through:
        site = f"{through}{SITE_ID}"
        good = {"id": SITE_ID, "name": SITE, "type": "Microsoft.Web/sites", "location": "West Europe", "properties": {"state": "Running"}}
        show = lambda body: setattr(Canned, "answer", (200, {"content-type": "application/json"}, json.dumps(body).encode()))
        show(good)
        check(asked(f"{site}?api-version=2025-05-01")[0] == 200, "a good answer passes")
        show({**good, "properties": {"State": "Running"}})
        check(asked(f"{site}?api-version=2025-05-01")[0] == 500, "an answer with a misspelt field does not")
        show({**good, "properties": {"enabled": "yes"}})
        check(asked(f"{site}?api-version=2025-05-01")[0] == 500, "an answer with a wrong type does not")
        Canned.answer = (202, {}, b"")
        swap = f"{site}/slotsswap?api-version=2025-05-01"
        check(asked(swap, "POST", {"targetSlot": SLOT, "preserveVnet": True})[0] == 500, "an accepted swap without Location does not")
        check(asked(swap, "POST", {"targetSlot": SLOT})[0] == 422, "a request without a required field does not")
        check(asked(f"{site}?api-version=2016-08-01")[0] == 422, "a request in another version does not")
        rules = {"properties": {"experiments": {"rampUpRules": [{"name": SLOT, "reroutePercentage": "5"}]}}}
        check(asked(f"{site}/config/web?api-version=2025-05-01", "PATCH", rules)[0] == 422, "a percentage that is text does not")


# What tells two exchanges apart that are of one shape: operations, instants, states, ports.
ONCE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|\d\d \w{3} \d{4} [\d:]+ GMT"
    r"|[0-9A-F]{16}|[\w-]{43}|127\.0\.0\.1:\d+|sn=\d+|MDo\d+"
)


def replay(through, journal, seen):
    """Holds recorded exchanges to the description: each request goes through the proxy again, to an upstream that gives the
    recorded answer. A request that the double refused may stray; one that it took may not, nor may any of its answers."""
    count = 0
    for number, line in enumerate(journal.read_text().splitlines(), 1):
        exchange = json.loads(line)
        count += 1
        shape = hash(ONCE.sub("", line))
        if shape in seen:
            continue
        seen.add(shape)
        # The front end that users reach is none of the API.
        if exchange["path"].startswith("/-/"):
            continue
        answer, request = exchange["response"], exchange["request"]
        body = b"" if answer == "" else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        kept = ("content-type", "etag", "sync-token", "location", "retry-after", "www-authenticate")
        Canned.answer = (exchange["status"], {name: value for name, value in exchange["headers"].items() if name in kept}, body)
        sent = {"Content-Type": exchange["contentType"], "If-Match": exchange["ifMatch"], "If-None-Match": exchange["ifNoneMatch"]}
        got, text = asked(
            through + exchange["path"],
            exchange["method"],
            None if request == "" else request,
            {name: value for name, value in sent.items() if value is not None},
        )
        is_refused_twice = exchange["status"] >= 400 and got == 422
        if got != exchange["status"] and not is_refused_twice:
            said = f"{exchange['method']} {exchange['path']}: {exchange['status']} became {got}"
            raise AssertionError(f"{journal.name}:{number}: {said}: {text[:800]}\n  {line[:800]}")
    return count


def journals(args):
    print("journals")
    for description in ("azure-app-service.yaml", "azure-app-configuration.yaml"):
        name = description.removeprefix("azure-").removesuffix(".yaml")
        found = sorted(pathlib.Path(args.journals).glob(f"{name}-*.jsonl"))
        seen = set()
        with canned() as upstream, proxy(args, description, upstream) as through:
            count = sum(replay(through, journal, seen) for journal in found)
        check(count > 0, f"{name}: {count} exchanges of {len(seen)} shapes are as described")


def main():
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--doubles", required=True, help="the binary meridian-doubles")
    reader.add_argument("--prism", required=True, help="the validating proxy")
    reader.add_argument("--journals", help="a folder of recorded exchanges")
    reader.add_argument("--only", choices=["validation", "app-service", "app-configuration", "journals"], help="one part")
    args = reader.parse_args()
    os.environ.setdefault("NO_COLOR", "1")
    parts = {"validation": validation, "app-service": app_service, "app-configuration": app_configuration}
    if args.journals:
        parts["journals"] = journals
    for name, part in parts.items():
        if args.only in (None, name):
            part(args)
    print(f"{told} checks passed")


if __name__ == "__main__":
    sys.exit(main())
