"""Renders the chart with Helm's own code, and checks what comes out; `cargo xtask kubernetes` runs this.

Arguments: the chart's folder, the file of plain manifests, and `check` or `write`.
"""

import re
import sys
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

# The oldest release that this version of the package has a schema of, the newest, and one between.
RELEASES = ["1.25", "1.31", "1.37"]
# Kinds of the Prometheus operator, of which Kubernetes has no schema.
OPERATOR = {"PodMonitor", "ServiceMonitor"}
HEADER = """\
# The chart packaging/helm/droptrace with its default values: `cargo xtask kubernetes --write` makes this file.
# kubectl create namespace droptrace
# kubectl label namespace droptrace pod-security.kubernetes.io/enforce=privileged
# kubectl apply -f droptrace.yaml
"""
WEB = {"secretName": "droptrace-web", "tls": True}

# Values beside the defaults, and capabilities and volumes that the pod then has.
BASE = ["BPF", "PERFMON", "SYSLOG"]
VARIANTS = {
    "defaults": ({}, BASE + ["DAC_READ_SEARCH"], ["netns", "cgroup", "pods"]),
    "least": ({"agent": {"owners": []}, "counters": {"enabled": False}}, BASE, ["netns"]),
    "counters of pods": (
        {"counters": {"otherNamespaces": True}, "hostPID": True},
        BASE + ["DAC_READ_SEARCH", "SYS_ADMIN", "SYS_PTRACE"],
        ["netns", "cgroup", "pods"],
    ),
    "drop monitor": (
        {"dropMonitor": True, "agent": {"owners": [], "filter": 'unusual and not reason "X"'}},
        BASE + ["SYS_ADMIN", "NET_ADMIN"],
        ["netns", "state"],
    ),
    "everything else": (
        {
            "image": {"repository": "registry.example/droptrace", "digest": "sha256:" + "0" * 64},
            "imagePullSecrets": [{"name": "registry"}],
            "fullnameOverride": "drops",
            "agent": {"extraArgs": ["--offset-label", "--otlp=http://collector.example:4318"], "maxSeries": 2000000},
            "hostNetwork": False,
            "webConfig": WEB,
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "system-node-critical",
            "podLabels": {"team": "network"},
            "podAnnotations": {"example.com/a": "b"},
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "serviceMonitor": {"enabled": True},
            "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {}}]},
        },
        BASE + ["DAC_READ_SEARCH"],
        ["netns", "cgroup", "pods", "web"],
    ),
}
# Values that the schema, or the chart itself, refuses, with a part of the message.
REFUSED = [
    ({"port": 0}, "port"),
    ({"agent": {"owners": ["pods"]}}, "owners"),
    ({"agent": {"interval": "10"}}, "interval"),
    ({"tolerance": []}, "tolerance"),
    ({"networkPolicy": {"enabled": True}}, "hostNetwork: false"),
]


def render(chart, values):
    files = chart.render(values, name="droptrace", namespace="droptrace")
    texts = [text.strip() for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return "\n---\n".join(text for text in texts if text) + "\n"


def validate(name, documents):
    for release in RELEASES:
        for document in documents:
            if document["kind"] in OPERATOR:
                continue
            try:
                kubernetes_validate.validate(document, release, strict=True)
            except kubernetes_validate.ValidationError as error:
                sys.exit(f"{name}, Kubernetes {release}, {document['kind']}: {error.message}")


def of_kind(documents, kind):
    return next(document for document in documents if document["kind"] == kind)


def check_pod(name, documents, capabilities, volumes):
    daemon = of_kind(documents, "DaemonSet")
    pod = daemon["spec"]["template"]
    container = pod["spec"]["containers"][0]
    found = container["securityContext"]["capabilities"]
    expect(name, "capabilities", found, {"drop": ["ALL"], "add": capabilities})
    expect(name, "volumes", [volume["name"] for volume in pod["spec"]["volumes"]], volumes)
    expect(name, "mounts", [mount["name"] for mount in container["volumeMounts"]], volumes)
    labels = pod["metadata"]["labels"].items()
    selector = daemon["spec"]["selector"]["matchLabels"].items()
    if not selector <= labels:
        sys.exit(f"{name}: the selector {selector} does not select the pod's labels {labels}")
    check_monitors(name, documents, selector, [port["name"] for port in container["ports"]])


def check_monitors(name, documents, selector, ports):
    """A monitor selects the pods, or the service, and a port that there is."""
    for document in documents:
        if document["kind"] not in OPERATOR:
            continue
        spec = document["spec"]
        for endpoint in spec.get("podMetricsEndpoints") or spec["endpoints"]:
            expect(name, "port of the " + document["kind"], endpoint["port"] in ports, True)
            expect(name, "labels of the drops", endpoint["honorLabels"], True)
        expect(name, "selector of the " + document["kind"], spec["selector"]["matchLabels"].items(), selector)


def expect(name, what, found, expected):
    if found != expected:
        sys.exit(f"{name}: {what}: {found}, expected {expected}")


def check_refused(chart):
    for values, part in REFUSED:
        try:
            chart.validate_schema(values)
            render(chart, values)
        except helm_python.HelmError as error:
            expect(values, "message", part in str(error), True)
        else:
            sys.exit(f"the chart accepts {values}")


def check_documented(folder):
    """Each value has a comment above it, or above the value that it is a part of."""
    lines = (folder / "values.yaml").read_text().splitlines()
    for before, line in zip([""] + lines, lines):
        if re.match(r"[a-z]\w*:", line) and before == "":
            sys.exit(f"values.yaml does not say what this is: {line}")


def main():
    folder, plain, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    found = [it for it in helm_python.lint(folder, strict=True)["messages"] if it["severity"] > 1]
    expect("helm lint", "messages", found, [])
    check_documented(folder)
    chart = helm_python.Chart.load(folder)
    for name, (values, capabilities, volumes) in VARIANTS.items():
        chart.validate_schema(values)
        documents = [document for document in yaml.safe_load_all(render(chart, values)) if document]
        validate(name, documents)
        check_pod(name, documents, capabilities, volumes)
    check_refused(chart)
    text = HEADER + render(chart, {})
    if mode == "write":
        plain.write_text(text)
    elif not plain.exists() or plain.read_text() != text:
        sys.exit(f"{plain} is not the chart with its default values: `cargo xtask kubernetes --write` makes it anew")
    print(f"{len(VARIANTS)} sets of values by Helm {helm_python.helm_sdk_version()}, for Kubernetes {', '.join(RELEASES)}")


main()
