"""The manifests, against the schemas of Kubernetes and against each other.

KubeRay's own kinds have no schema here: their fields are held against a list, and the
pods in them against the schema of a pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from data_contracts.run_config import parse_config, read_config_file
from flows.deployments import WORK_POOL

FOLDER = Path(__file__).parents[3] / "infra/kubernetes"
KUBERNETES = "1.31"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))
NO_MANIFESTS = {"kustomization.yaml", "federation_config.yaml"}
MANIFESTS: dict[str, dict[str, Any]] = {
    f"{document['kind']} {document['metadata']['name']}": document
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name not in NO_MANIFESTS
    for document in yaml.safe_load_all(path.read_text("utf-8"))
}
OF_KUBERAY = {"RayCluster federation", "RayJob training"}
RAY_FIELDS = {
    "RayCluster": {"rayVersion", "headGroupSpec", "workerGroupSpecs"},
    "RayJob": {
        "entrypoint", "submissionMode", "clusterSelector", "submitterPodTemplate",
        "backoffLimit", "ttlSecondsAfterFinished",
    },
}  # fmt: skip
GROUP_FIELDS = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template",
}  # fmt: skip


def pod_templates(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of Kubernetes' own kinds and of KubeRay's."""
    spec = manifest.get("spec", {})
    if "template" in spec:
        yield spec["template"]
    if "submitterPodTemplate" in spec:
        yield spec["submitterPodTemplate"]
    for group in (spec.get("headGroupSpec"), *spec.get("workerGroupSpecs", ())):
        if group:
            yield group["template"]


TEMPLATES = {
    f"{name} {number}": template
    for name, manifest in MANIFESTS.items()
    for number, template in enumerate(pod_templates(manifest))
}
CLUSTER = MANIFESTS["RayCluster federation"]["spec"]
LABELS = [template["metadata"]["labels"] for template in TEMPLATES.values()]


@pytest.mark.parametrize("name", sorted(set(MANIFESTS) - OF_KUBERAY))
def test_a_manifest_fits_the_schema_of_kubernetes(name):
    kubernetes_validate.validate(MANIFESTS[name], KUBERNETES, strict=True)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_pod_fits_the_schema_of_kubernetes(name):
    wrapped = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "any"},
        "template": TEMPLATES[name],
    }
    kubernetes_validate.validate(wrapped, KUBERNETES, strict=True)


def test_the_check_sees_a_field_that_there_is_not():
    wrong = {**MANIFESTS["Service postgresql"], "spec": {"selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_kinds_of_kuberay_have_only_fields_that_they_know():
    for name in OF_KUBERAY:
        manifest = MANIFESTS[name]
        assert manifest["apiVersion"] == "ray.io/v1"
        assert set(manifest["spec"]) <= RAY_FIELDS[manifest["kind"]]
    for group in CLUSTER["workerGroupSpecs"]:
        assert set(group) == GROUP_FIELDS


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_pod_has_no_rights_that_it_does_not_need(name):
    spec = TEMPLATES[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


def test_every_silo_has_a_group_with_its_resource_a_gpu_and_its_own_volumes():
    config = parse_config(
        read_config_file(FOLDER / "federation_config.yaml"), origin="federation"
    )
    groups = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
    assert set(groups) == {silo.name for silo in config.cohort.silos}
    claims = []
    for silo in config.cohort.silos:
        group = groups[silo.name]
        # Ray takes JSON, as a shell would hand it over.
        told = yaml.safe_load(yaml.safe_load(group["rayStartParams"]["resources"]))
        assert told == silo.compute.custom_resources
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == (
            silo.compute.num_gpus
        )
        claims += [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in group["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
    assert len(set(claims)) == len(claims) == 2 * len(groups)


def test_the_tables_of_a_silo_are_mounted_to_be_read():
    for group in CLUSTER["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert mounts["tables"]["readOnly"] is True


def test_ray_has_the_version_of_the_constraints():
    constraints = (FOLDER.parent / "constraints.txt").read_text("utf-8").splitlines()
    assert f"ray=={CLUSTER['rayVersion']}" in constraints


def test_every_volume_is_claimed_here_or_by_a_silo():
    made = {
        document["metadata"]["name"]
        for document in MANIFESTS.values()
        if document["kind"] == "PersistentVolumeClaim"
    }
    named = {
        volume["persistentVolumeClaim"]["claimName"]
        for template in TEMPLATES.values()
        for volume in template["spec"].get("volumes", ())
        if "persistentVolumeClaim" in volume
    }
    assert made == {name for name in named if not name.startswith("tables-")}


def chooses(selector: dict[str, Any]) -> bool:
    """Whether some pod has these labels."""
    wanted = selector.get("matchLabels", selector)
    apps = {
        value for one in selector.get("matchExpressions", ()) for value in one["values"]
    }
    if apps:
        return apps <= {labels["app"] for labels in LABELS}
    return any(wanted.items() <= labels.items() for labels in LABELS)


def selectors(node: Any) -> Iterator[dict[str, Any]]:
    """Every selector of pods below."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"podSelector", "selector", "labelSelector"} and value:
                yield value
            else:
                yield from selectors(value)
    elif isinstance(node, list):
        for one in node:
            yield from selectors(one)


def test_every_selector_chooses_a_pod():
    chosen = [
        (name, selector)
        for name, manifest in MANIFESTS.items()
        if name not in OF_KUBERAY
        for selector in selectors(manifest.get("spec", {}))
    ]
    assert chosen
    assert [name for name, selector in chosen if not chooses(selector)] == []


def test_everything_is_refused_that_no_policy_allows():
    nothing = MANIFESTS["NetworkPolicy nothing-by-default"]["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_a_silo_is_allowed_to_reach_ray_and_names_only():
    allowed = {
        name
        for name, manifest in MANIFESTS.items()
        if manifest["kind"] == "NetworkPolicy"
        and manifest["spec"].get("egress")
        and "silo" in str(manifest["spec"]["podSelector"])
    }
    assert allowed == {"NetworkPolicy ray"}


def test_coordinator_and_silos_are_not_drained_under_a_run():
    budgets = {
        str(document["spec"]["selector"]["matchLabels"]["app"])
        for document in MANIFESTS.values()
        if document["kind"] == "PodDisruptionBudget"
        and document["spec"]["maxUnavailable"] == 0
    }
    assert budgets == {"coordinator", "silo"}


def test_the_worker_serves_the_pool_that_deployments_name():
    (head,) = CLUSTER["headGroupSpec"]["template"]["spec"]["containers"]
    assert f"--pool {WORK_POOL} " in head["args"][0]


def test_kustomize_takes_every_manifest_but_the_one_for_a_single_run():
    files = {path.name for path in FOLDER.glob("*.yaml")} - NO_MANIFESTS
    assert set(KUSTOMIZATION["resources"]) == files - {"training_job.yaml"}
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert all((FOLDER / name).exists() for name in generated["files"])
